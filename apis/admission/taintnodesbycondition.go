package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

// taintNodes creates nodes with the not-ready taint, so that nothing is scheduled
// there before the node lifecycle controller has seen them ready.
type taintNodes struct{ *admission.Handler }

func newTaintNodes() *taintNodes { return &taintNodes{admission.NewHandler(admission.Create)} }

// Admit implements admission.MutationInterface.
func (*taintNodes) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	node, ok := a.GetObject().(*corev1.Node)
	if !ok || a.GetSubresource() != "" || a.GetResource().GroupResource() != corev1.Resource("nodes") {
		return nil
	}
	for _, t := range node.Spec.Taints {
		if t.Key == corev1.TaintNodeNotReady && t.Effect == corev1.TaintEffectNoSchedule {
			return nil
		}
	}
	node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
	return nil
}
