package proxy

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// touch marks a Service dirty. since is when the change happened, if known.
func (p *Proxy) touch(key string, since time.Time) {
	p.mu.Lock()
	if at, ok := p.dirty[key]; !ok || at.IsZero() || !since.IsZero() && since.Before(at) {
		p.dirty[key] = since
	}
	p.mu.Unlock()
	p.poke()
	now := float64(p.opts.Clock.Now().UnixNano()) / 1e9
	for _, f := range p.families {
		p.metrics.lastQueued.WithLabelValues(string(f.facts.Family)).Set(now)
	}
}

func (p *Proxy) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// watch starts the informers and returns the stores of Services and EndpointSlices.
func (p *Proxy) watch(ctx context.Context) (services, slcs cache.Indexer, synced []cache.InformerSynced, err error) {
	factory := p.opts.Informers
	if factory == nil {
		factory = informers.NewSharedInformerFactoryWithOptions(p.opts.Client, 0, informers.WithTransform(trim),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.LabelSelector = "!" + LabelServiceProxyName + ",!" + corev1.IsHeadlessService
			}))
	}
	svcInformer, sliceInformer := factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer()
	if err := sliceInformer.AddIndexers(cache.Indexers{sliceIndex: func(obj any) ([]string, error) {
		if key := serviceKey(obj); key != "" {
			return []string{key}, nil
		}
		return nil, nil
	}}); err != nil {
		return nil, nil, nil, fmt.Errorf("proxy: indexing: %w", err)
	}
	svcReg, err := svcInformer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { p.onService(obj) },
		UpdateFunc: func(old, cur any) {
			if sameVersion(old, cur) {
				return
			}
			p.onService(cur)
		},
		DeleteFunc: func(obj any) { p.onService(obj) },
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("proxy: watching services: %w", err)
	}
	sliceReg, err := sliceInformer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { p.onSlice(obj) },
		UpdateFunc: func(old, cur any) {
			if sameVersion(old, cur) {
				return
			}
			if serviceKey(old) != serviceKey(cur) {
				p.onSlice(old)
			}
			p.onSlice(cur)
		},
		DeleteFunc: func(obj any) { p.onSlice(obj) },
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("proxy: watching endpointslices: %w", err)
	}
	// Of the Nodes only our own matters, and of that only the zone.
	own := informers.NewSharedInformerFactoryWithOptions(p.opts.Client, 0, informers.WithTransform(trim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + p.opts.NodeName }))
	nodeReg, err := own.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    p.onNode,
		UpdateFunc: func(_, cur any) { p.onNode(cur) },
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("proxy: watching the node: %w", err)
	}
	factory.Start(ctx.Done())
	own.Start(ctx.Done())
	return svcInformer.GetIndexer(), sliceInformer.GetIndexer(), []cache.InformerSynced{svcReg.HasSynced, sliceReg.HasSynced, nodeReg.HasSynced}, nil
}

func (p *Proxy) onService(obj any) {
	if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
		p.metrics.serviceChanges.Inc()
		p.touch(key, time.Time{})
	}
}

func (p *Proxy) onSlice(obj any) {
	if t, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = t.Obj
	}
	key := serviceKey(obj)
	if key == "" {
		return
	}
	p.metrics.endpointChanges.Inc()
	var since time.Time
	if s, ok := obj.(*discoveryv1.EndpointSlice); ok {
		if at, err := time.Parse(time.RFC3339Nano, s.Annotations[corev1.EndpointsLastChangeTriggerTime]); err == nil && at.After(p.started) {
			since = at
		}
	}
	p.touch(key, since)
}

func (p *Proxy) onNode(obj any) {
	node, ok := obj.(*corev1.Node)
	if !ok || node.Name != p.opts.NodeName {
		return
	}
	p.mu.Lock()
	changed := p.zone != node.Labels[corev1.LabelTopologyZone]
	p.zone = node.Labels[corev1.LabelTopologyZone]
	p.mu.Unlock()
	if changed {
		p.poke()
	}
}

func serviceKey(obj any) string {
	s, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok || s.Labels[discoveryv1.LabelServiceName] == "" {
		return ""
	}
	return s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]
}

func sameVersion(a, b any) bool {
	x, errX := meta.Accessor(a)
	y, errY := meta.Accessor(b)
	return errX == nil && errY == nil && x.GetResourceVersion() != "" && x.GetResourceVersion() == y.GetResourceVersion()
}

// trim drops from cached objects what nobody here reads.
func trim(obj any) (any, error) {
	if a, err := meta.Accessor(obj); err == nil {
		a.SetManagedFields(nil)
	}
	return obj, nil
}
