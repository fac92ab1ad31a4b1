package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

// tolerationSeconds is how long pods stay on a node that is not ready or not reachable.
const tolerationSeconds = 300

// defaultTolerationSeconds lets every pod tolerate the NoExecute taints not-ready
// and unreachable for a while, unless it says something of them itself.
type defaultTolerationSeconds struct{ *admission.Handler }

func newDefaultTolerationSeconds() *defaultTolerationSeconds {
	return &defaultTolerationSeconds{admission.NewHandler(admission.Create, admission.Update)}
}

// Admit implements admission.MutationInterface.
func (*defaultTolerationSeconds) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		has := false
		for _, t := range pod.Spec.Tolerations {
			has = has || ((t.Key == taint || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == ""))
		}
		if !has {
			seconds := int64(tolerationSeconds)
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
				Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds,
			})
		}
	}
	return nil
}
