package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/admission"
	"sigs.k8s.io/yaml"

	"proa/quota"
)

// Annotations on a namespace: what its pods tolerate by default, and at most.
const (
	defaultTolerations = "scheduler.alpha.kubernetes.io/defaultTolerations"
	allowedTolerations = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
)

// podTolerationRestriction gives pods the tolerations of their namespace and
// refuses those outside its whitelist.
type podTolerationRestriction struct {
	namespaceReader
	// cluster is what holds where a namespace says nothing.
	cluster struct {
		Default   []corev1.Toleration `json:"default"`
		Whitelist []corev1.Toleration `json:"whitelist"`
	}
}

func newPodTolerationRestriction(o Options, config io.Reader) (admission.Interface, error) {
	p := &podTolerationRestriction{namespaceReader: newNamespaceReader(o, admission.Create, admission.Update)}
	if config == nil {
		return p, nil
	}
	text, err := io.ReadAll(config)
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(text, &p.cluster); err != nil {
		return nil, fmt.Errorf("podtolerationrestriction.admission.k8s.io Configuration: %w", err)
	}
	return p, nil
}

// tolerations are those of an annotation of the namespace; nil if it has none.
func (p *podTolerationRestriction) tolerations(ctx context.Context, a admission.Attributes, annotation string) ([]corev1.Toleration, error) {
	ns, err := p.namespace(ctx, a)
	if err != nil {
		return nil, err
	}
	text, ok := ns.Annotations[annotation]
	if !ok {
		return nil, nil
	}
	out := []corev1.Toleration{}
	if text == "" {
		return out, nil
	}
	return out, json.Unmarshal([]byte(text), &out)
}

// Admit implements admission.MutationInterface.
func (p *podTolerationRestriction) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	var extra []corev1.Toleration
	if a.GetOperation() == admission.Create {
		own, err := p.tolerations(ctx, a, defaultTolerations)
		if err != nil {
			return err
		}
		if extra = own; own == nil {
			extra = slices.Clone(p.cluster.Default)
		}
	}
	if !quota.InScope(&corev1.ScopedResourceSelectorRequirement{ScopeName: corev1.ResourceQuotaScopeBestEffort, Operator: corev1.ScopeSelectorOpExists}, pod) {
		extra = append(extra, corev1.Toleration{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	}
	if len(extra) > 0 {
		pod.Spec.Tolerations = mergedTolerations(slices.Concat(pod.Spec.Tolerations, extra))
	}
	return p.Validate(ctx, a, o)
}

// Validate implements admission.ValidationInterface.
func (p *podTolerationRestriction) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok || len(pod.Spec.Tolerations) == 0 {
		return nil
	}
	allowed, err := p.tolerations(ctx, a, allowedTolerations)
	scope := "namespace"
	if err != nil {
		return err
	}
	if allowed == nil {
		allowed, scope = p.cluster.Whitelist, "cluster"
	}
	for _, t := range pod.Spec.Tolerations {
		if len(allowed) > 0 && !slices.ContainsFunc(allowed, func(w corev1.Toleration) bool { return superset(w, t) }) {
			return fmt.Errorf("pod tolerations (possibly merged with namespace default tolerations) conflict with its %s whitelist", scope)
		}
	}
	return nil
}

// mergedTolerations leaves out those that another one contains; of equal ones
// the first stays.
func mergedTolerations(all []corev1.Toleration) []corev1.Toleration {
	var out []corev1.Toleration
	for i, t := range all {
		contained := slices.ContainsFunc(out, func(o corev1.Toleration) bool { return superset(o, t) }) ||
			slices.ContainsFunc(all[i+1:], func(o corev1.Toleration) bool { return !equality.Semantic.DeepEqual(o, t) && superset(o, t) })
		if !contained {
			out = append(out, t)
		}
	}
	return out
}

// superset reports whether s tolerates all that t does.
func superset(s, t corev1.Toleration) bool {
	switch {
	case equality.Semantic.DeepEqual(s, t):
		return true
	case t.Key != s.Key && (s.Key != "" || s.Operator != corev1.TolerationOpExists):
		return false
	case t.Effect != s.Effect && s.Effect != "":
		return false
	case s.Effect == corev1.TaintEffectNoExecute && s.TolerationSeconds != nil && (t.TolerationSeconds == nil || *t.TolerationSeconds > *s.TolerationSeconds):
		return false
	}
	switch s.Operator {
	case corev1.TolerationOpEqual, "":
		return t.Operator == corev1.TolerationOpEqual && t.Value == s.Value
	case corev1.TolerationOpExists:
		return true
	}
	return false
}
