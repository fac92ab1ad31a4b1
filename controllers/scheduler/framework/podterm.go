package framework

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TermKind says what a PodTerm asks for.
type TermKind uint8

const (
	RequiredAffinity TermKind = iota
	RequiredAntiAffinity
	PreferredAffinity
	PreferredAntiAffinity
)

// PodTerm is one term of a pod's affinity to, or anti-affinity against, other
// pods. It is never changed.
type PodTerm struct {
	Kind TermKind
	// Weight is set for preferred terms, 1 to 100.
	Weight int64
	// TopologyKey is the node label whose values are the domains.
	TopologyKey string
	// Key is equal for terms that say the same.
	Key string

	namespaces []string
	// namespaceSelector adds namespaces by their labels; nil adds none.
	namespaceSelector labels.Selector
	selector          labels.Selector
}

// Matches reports whether the term selects the pod, whose namespace has these labels.
func (t *PodTerm) Matches(pod *Pod, namespaceLabels map[string]string) bool {
	return (slices.Contains(t.namespaces, pod.Namespace) ||
		t.namespaceSelector != nil && t.namespaceSelector.Matches(labels.Set(namespaceLabels))) &&
		t.selector.Matches(labels.Set(pod.Labels))
}

// SelectsNamespaces reports whether the labels of namespaces matter.
func (t *PodTerm) SelectsNamespaces() bool {
	return t.namespaceSelector != nil && !t.namespaceSelector.Empty()
}

// podTerms lists the terms of the pod. matchLabelKeys and mismatchLabelKeys are
// not looked at: the API turns them into selectors when the pod is created.
func podTerms(pod *v1.Pod) []*PodTerm {
	a := pod.Spec.Affinity
	if a == nil || a.PodAffinity == nil && a.PodAntiAffinity == nil {
		return nil
	}
	var terms []*PodTerm
	add := func(kind TermKind, weight int32, t *v1.PodAffinityTerm) {
		terms = append(terms, newPodTerm(kind, int64(weight), t, pod.Namespace))
	}
	if a := a.PodAffinity; a != nil {
		for i := range a.RequiredDuringSchedulingIgnoredDuringExecution {
			add(RequiredAffinity, 0, &a.RequiredDuringSchedulingIgnoredDuringExecution[i])
		}
		for _, w := range a.PreferredDuringSchedulingIgnoredDuringExecution {
			add(PreferredAffinity, w.Weight, &w.PodAffinityTerm)
		}
	}
	if a := a.PodAntiAffinity; a != nil {
		for i := range a.RequiredDuringSchedulingIgnoredDuringExecution {
			add(RequiredAntiAffinity, 0, &a.RequiredDuringSchedulingIgnoredDuringExecution[i])
		}
		for _, w := range a.PreferredDuringSchedulingIgnoredDuringExecution {
			add(PreferredAntiAffinity, w.Weight, &w.PodAffinityTerm)
		}
	}
	return terms
}

func newPodTerm(kind TermKind, weight int64, t *v1.PodAffinityTerm, namespace string) *PodTerm {
	term := &PodTerm{Kind: kind, Weight: weight, TopologyKey: t.TopologyKey, namespaces: t.Namespaces}
	if len(t.Namespaces) == 0 && t.NamespaceSelector == nil {
		term.namespaces = []string{namespace}
	}
	term.namespaces = slices.Sorted(slices.Values(term.namespaces))
	term.selector = selectorOf(t.LabelSelector)
	selected := "none"
	if t.NamespaceSelector != nil {
		term.namespaceSelector = selectorOf(t.NamespaceSelector)
		selected = selectorKey(term.namespaceSelector)
	}
	term.Key = fmt.Sprintf("%d %d %s in %s or %s: %s", kind, weight, t.TopologyKey,
		strings.Join(term.namespaces, ","), selected, selectorKey(term.selector))
	return term
}

// selectorOf returns a selector that selects nothing if s cannot be parsed,
// which the API does not let through.
func selectorOf(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

func selectorKey(s labels.Selector) string {
	if _, selectable := s.Requirements(); !selectable {
		return "nothing"
	}
	return "(" + s.String() + ")"
}

// termIndex has the distinct terms of all pods in the cluster, so that it is
// known at once whether any of them concerns a pod. The zero value is empty.
type termIndex struct {
	byKey map[string]*indexedTerm
	// byNamespace finds terms by each namespace they name; those with a
	// namespace selector are under "".
	byNamespace map[string]map[*indexedTerm]bool
}

type indexedTerm struct {
	*PodTerm
	pods int
}

func (x *termIndex) places(t *PodTerm) []string {
	if t.namespaceSelector != nil {
		return []string{""}
	}
	return t.namespaces
}

func (x *termIndex) add(p *Pod, by int) {
	for _, t := range p.Terms {
		e := x.byKey[t.Key]
		if e == nil {
			e = &indexedTerm{PodTerm: t}
			if x.byKey == nil {
				x.byKey, x.byNamespace = map[string]*indexedTerm{}, map[string]map[*indexedTerm]bool{}
			}
			x.byKey[t.Key] = e
			for _, namespace := range x.places(t) {
				if x.byNamespace[namespace] == nil {
					x.byNamespace[namespace] = map[*indexedTerm]bool{}
				}
				x.byNamespace[namespace][e] = true
			}
		}
		if e.pods += by; e.pods > 0 {
			continue
		}
		delete(x.byKey, t.Key)
		for _, namespace := range x.places(t) {
			if delete(x.byNamespace[namespace], e); len(x.byNamespace[namespace]) == 0 {
				delete(x.byNamespace, namespace)
			}
		}
	}
}

// TermsAbout returns the keys of the terms, of any kind, of pods in the cluster
// that select the pod, sorted.
func (c *Cluster) TermsAbout(pod *Pod) []string {
	if len(c.terms.byKey) == 0 {
		return nil
	}
	var keys []string
	namespaceLabels := c.namespaces[pod.Namespace]
	for _, namespace := range []string{pod.Namespace, ""} {
		for e := range c.terms.byNamespace[namespace] {
			if e.Matches(pod, namespaceLabels) {
				keys = append(keys, e.Key)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// SetNamespace takes over the labels of a namespace; it reports whether they changed.
func (c *Cluster) SetNamespace(name string, labels map[string]string) bool {
	if old, ok := c.namespaces[name]; ok && maps.Equal(old, labels) {
		return false
	}
	c.namespaces[name] = labels
	c.namespacesVersion++
	return true
}

// RemoveNamespace forgets the labels of a namespace.
func (c *Cluster) RemoveNamespace(name string) {
	delete(c.namespaces, name)
	c.namespacesVersion++
}

// NamespaceLabels returns the labels of a namespace.
func (c *Cluster) NamespaceLabels(name string) map[string]string { return c.namespaces[name] }

// NamespacesVersion changes whenever the labels of a namespace did.
func (c *Cluster) NamespacesVersion() uint64 { return c.namespacesVersion }
