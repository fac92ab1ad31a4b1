package admission

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// podTopologyLabels copies the zone and region of a node to the pods that are
// put on it (KEP-4742): onto the Binding, whose labels the pod gets, or onto a
// pod that is made with its node.
type podTopologyLabels struct {
	*admission.Handler
	nodes corelisters.NodeLister
}

func newPodTopologyLabels(o Options) *podTopologyLabels {
	i := o.Informers.Core().V1().Nodes()
	p := &podTopologyLabels{admission.NewHandler(admission.Create), i.Lister()}
	p.SetReadyFunc(i.Informer().HasSynced)
	return p
}

// Admit implements admission.MutationInterface.
func (p *podTopologyLabels) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil
	}
	var node string
	var meta *metav1.ObjectMeta
	switch o := a.GetObject().(type) {
	case *corev1.Pod:
		if a.GetSubresource() == "" {
			node, meta = o.Spec.NodeName, &o.ObjectMeta
		}
	case *corev1.Binding:
		if a.GetSubresource() == "binding" && o.Target.Kind == "Node" {
			node, meta = o.Target.Name, &o.ObjectMeta
		}
	}
	if node == "" {
		return nil
	}
	if !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	n, err := p.nodes.Get(node)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, key := range []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion} {
		if v, ok := n.Labels[key]; ok {
			if meta.Labels == nil {
				meta.Labels = map[string]string{}
			}
			meta.Labels[key] = v
		}
	}
	return nil
}
