package nodeagent

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
	"proa/nodeagent/probe"
	"proa/nodeagent/status"
)

// podWatch follows the pods bound to this node.
type podWatch struct {
	store      cache.Store
	controller cache.Controller
}

func newPodWatch(a *Agent) *podWatch {
	selector := fields.OneTermEqualSelector("spec.nodeName", a.o.NodeName).String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return a.client.CoreV1().Pods("").List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return a.client.CoreV1().Pods("").Watch(ctx, o)
		},
	}
	p := &podWatch{}
	p.store, p.controller = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(lw, a.client), ObjectType: &v1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { a.podSeen(obj.(*v1.Pod)) },
			UpdateFunc: func(_, obj any) { a.podSeen(obj.(*v1.Pod)) },
			DeleteFunc: func(obj any) {
				if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
					obj = d.Obj
				}
				if pod, ok := obj.(*v1.Pod); ok {
					a.podGone(pod)
				}
			},
		},
	})
	return p
}

// runPods waits for the runtime, adopts what it has, then follows the API.
func (a *Agent) runPods(ctx context.Context) error {
	if a.waitRuntime(ctx) != nil {
		return nil
	}
	var have map[types.UID]*cri.Pod
	for {
		var err error
		if have, err = a.observer.ObserveAll(ctx, nil); err == nil {
			break
		}
		klog.FromContext(ctx).Info("Cannot read the runtime's containers; trying again", "err", err)
		if !a.sleep(ctx, time.Second) {
			return nil
		}
	}
	a.mu.Lock()
	a.adopted = have
	a.mu.Unlock()
	go a.pods.controller.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), a.pods.controller.HasSynced) {
		return nil
	}
	a.orphans(ctx, have)
	a.mu.Lock()
	a.adopted = nil
	a.mu.Unlock()
	for a.sleep(ctx, a.o.RelistInterval) {
		a.relist(ctx)
	}
	return nil
}

func (a *Agent) sleep(ctx context.Context, d time.Duration) bool {
	t := a.o.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// podSeen takes a pod in as the API has it.
func (a *Agent) podSeen(pod *v1.Pod) {
	a.mu.Lock()
	w := a.workers[pod.UID]
	fresh := w == nil
	var observed *cri.Pod
	if fresh {
		observed = a.adopted[pod.UID]
		if observed == nil {
			// A pod just bound has nothing in the runtime yet; one that the
			// agent has known before was read at start.
			observed = &cri.Pod{UID: pod.UID, Namespace: pod.Namespace, Name: pod.Name}
		}
		w = newWorker(a, a.ctx, pod)
		a.workers[pod.UID] = w
	}
	a.mu.Unlock()
	w.writer.saw(pod)
	a.objects.Register(pod)
	if !fresh {
		a.volumes.PodUpdated(pod)
	}
	w.update(func(s *planner.State) {
		if fresh {
			s.Observed = observed
			if st := pod.Status.StartTime; st != nil {
				s.StartTime = st.Time
			}
			if f := a.admit(pod, observed); f != nil {
				s.Failed = f
			}
			s.Adopt()
		}
		if !w.known || newer(pod, s.Pod) {
			s.Follow(pod)
		}
		w.known = true
	})
}

// podGone takes in that the API has the pod no more.
func (a *Agent) podGone(pod *v1.Pod) {
	a.release(pod.UID)
	if w := a.worker(pod.UID); w != nil {
		w.writer.stop()
		w.update(func(s *planner.State) {
			if newer(pod, s.Pod) {
				s.Pod = pod
			}
			s.Gone = true
		})
	}
}

// orphans ends what runs here without a pod in the API.
func (a *Agent) orphans(ctx context.Context, have map[types.UID]*cri.Pod) {
	known := map[types.UID]bool{}
	for _, obj := range a.pods.store.List() {
		known[obj.(*v1.Pod).UID] = true
	}
	begin := func(uid types.UID, observed *cri.Pod) {
		if known[uid] {
			return
		}
		known[uid] = true
		a.mu.Lock()
		if a.workers[uid] != nil {
			a.mu.Unlock()
			return
		}
		if observed == nil {
			observed = &cri.Pod{UID: uid}
		}
		w := newWorker(a, a.ctx, orphan(uid, observed))
		a.workers[uid] = w
		a.mu.Unlock()
		klog.FromContext(ctx).Info("Removing a pod that the API does not have", "pod", klog.KRef(observed.Namespace, observed.Name), "podUID", uid)
		w.update(func(s *planner.State) { s.Observed, s.Gone = observed, true })
	}
	for uid, p := range have {
		begin(uid, p)
	}
	for _, uid := range a.volumes.Pods() {
		begin(uid, nil)
	}
	if a.cgroups != nil {
		for _, uid := range a.cgroups.Pods() {
			begin(uid, nil)
		}
	}
}

// orphan is the pod that observed containers must have belonged to.
func orphan(uid types.UID, p *cri.Pod) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: uid}}
	seen := map[string]bool{}
	for _, c := range p.Containers {
		if !seen[c.Name] {
			seen[c.Name] = true
			pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: c.Name})
		}
		if c.TerminationGracePeriod != nil {
			pod.Spec.TerminationGracePeriodSeconds = c.TerminationGracePeriod
		}
	}
	return pod
}

// relist reads everything the runtime has and mends what events have missed.
func (a *Agent) relist(ctx context.Context) {
	previous := map[types.UID]*cri.Pod{}
	for _, w := range a.all() {
		if p := w.observed(); p != nil {
			previous[w.uid] = p
		}
	}
	have, err := a.observer.ObserveAll(ctx, previous)
	if err != nil {
		if ctx.Err() == nil {
			klog.FromContext(ctx).Info("Cannot read the runtime's containers", "err", err)
		}
		return
	}
	sandboxes, containers := 0, 0
	for uid, p := range have {
		if sb := p.Sandbox(); sb != nil && sb.Ready {
			sandboxes++
		}
		for _, c := range p.Containers {
			if c.State == cri.Running {
				containers++
			}
		}
		if w := a.worker(uid); w != nil && !p.Same(previous[uid]) {
			w.mu.Lock()
			if !w.state.Busy() {
				w.observe()
			}
			w.mu.Unlock()
		}
	}
	for _, w := range a.all() {
		if have[w.uid] == nil && !previous[w.uid].Empty() {
			w.mu.Lock()
			if !w.state.Busy() {
				w.observe()
			}
			w.mu.Unlock()
		}
	}
	for _, obj := range a.pods.store.List() {
		if pod := obj.(*v1.Pod); a.worker(pod.UID) == nil {
			a.podSeen(pod)
		}
	}
	a.metrics.running(sandboxes, containers)
	a.orphans(ctx, have)
}

// runEvents follows the runtime's events; after a lost stream it relists.
func (a *Agent) runEvents(ctx context.Context) error {
	for first := true; ctx.Err() == nil; first = false {
		if !first {
			if !a.sleep(ctx, 100*time.Millisecond) || a.waitRuntime(ctx) != nil {
				return nil
			}
			go a.relist(ctx)
		}
		err := a.runtime.Events(ctx, func(e *runtimeapi.ContainerEventResponse) {
			uid := types.UID(e.GetPodSandboxStatus().GetMetadata().GetUid())
			if w := a.worker(uid); w != nil {
				w.event(e)
			}
		})
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).V(1).Info("The runtime's event stream ended", "err", err)
			if first && !a.sleep(ctx, 200*time.Millisecond) {
				return nil
			}
		}
	}
	return nil
}

// targets are the running containers whose probes are to run. The lock is held.
func (w *worker) targets() []probe.Target {
	s := &w.state
	if s.Gone || s.Observed == nil || !hasProbes(s.Pod) {
		return nil
	}
	ip := ""
	if s.Pod.Spec.HostNetwork {
		if ips := w.agent.hostIPs(); len(ips) > 0 {
			ip = ips[0]
		}
	} else if ips := s.Observed.IPs(); len(ips) > 0 {
		ip = ips[0]
	}
	var out []probe.Target
	add := func(c *v1.Container, statuses []v1.ContainerStatus) {
		if c.LivenessProbe == nil && c.ReadinessProbe == nil && c.StartupProbe == nil {
			return
		}
		got := s.Observed.Container(c.Name)
		if got == nil || got.State != cri.Running || s.Starting(c.Name) {
			return
		}
		if s.Ending() && c.ReadinessProbe == nil {
			return
		}
		t := probe.Target{Container: c, ID: got.ID, StartedAt: got.StartedAt, PodIP: ip}
		if s.Ending() {
			// Only readiness is of interest now.
			ready := *c
			ready.LivenessProbe, ready.StartupProbe = nil, nil
			t.Container = &ready
		}
		p, known := s.Probes[got.ID]
		if !known {
			// A container that ran before this agent did keeps what was reported of it.
			p = probe.Initial(c)
			for i := range statuses {
				if st := &statuses[i]; st.Name == c.Name && status.TrimID(st.ContainerID) == got.ID {
					p.Ready = st.Ready
					p.Started = st.Started != nil && *st.Started
				}
			}
			s.Probes[got.ID] = p
		}
		t.Seed = &p
		out = append(out, t)
	}
	for i := range s.Pod.Spec.InitContainers {
		if c := &s.Pod.Spec.InitContainers[i]; planner.IsSidecar(c) {
			add(c, s.Pod.Status.InitContainerStatuses)
		}
	}
	for i := range s.Pod.Spec.Containers {
		add(&s.Pod.Spec.Containers[i], s.Pod.Status.ContainerStatuses)
	}
	// Forget containers that are no more.
	for id := range s.Probes {
		if !s.Observed.Has(id) {
			delete(s.Probes, id)
		}
	}
	return out
}

func hasProbes(pod *v1.Pod) bool {
	for _, list := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if c := &list[i]; c.LivenessProbe != nil || c.ReadinessProbe != nil || c.StartupProbe != nil {
				return true
			}
		}
	}
	return false
}
