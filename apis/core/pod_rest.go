package core

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"proa/apis/kind"
)

func extendPod(d *kind.Deps, r *kind.REST) (rest.Storage, map[string]rest.Storage, error) {
	pods := podGetter{r}
	return nil, map[string]rest.Storage{
		"binding":             &podBindingREST{store: r.Store},
		"eviction":            &podEvictionREST{store: r.Store, pods: pods, deps: d},
		"ephemeralcontainers": newEphemeralContainersREST(r),
		"resize":              newResizeREST(r),
		"log":                 &podLogREST{pods: pods, nodes: d.Nodes},
		"exec":                &podStreamREST{pods: pods, deps: d, verb: execStream},
		"attach":              &podStreamREST{pods: pods, deps: d, verb: attachStream},
		"portforward":         &podStreamREST{pods: pods, deps: d, verb: portForwardStream},
		"proxy":               &podProxyREST{pods: pods, nodes: d.Nodes},
	}, nil
}

// podGetter reads pods from their storage.
type podGetter struct{ *kind.REST }

func (g podGetter) get(ctx context.Context, name string) (*corev1.Pod, error) {
	obj, err := g.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("pod storage holds a %T", obj))
	}
	return p, nil
}

// newEphemeralContainersREST lets debugging containers be added to a running pod (KEP-277).
func newEphemeralContainersREST(r *kind.REST) *PartialREST {
	return newPartialREST(r.Store, partial[*corev1.Pod]{
		prepare: func(p, old *corev1.Pod) {
			added := p.Spec.EphemeralContainers
			p.Spec = *old.Spec.DeepCopy()
			p.Spec.EphemeralContainers = added
			p.Status = old.Status
			metav1.ResetObjectMetaForStatus(&p.ObjectMeta, &old.ObjectMeta)
			dropDisabledSpec(&p.Spec, &old.Spec)
			bumpPodGeneration(p, old)
		},
		validate: validateEphemeralUpdate,
		filter: podFields(
			fieldpath.MakePrefixMatcherOrDie("spec", "ephemeralContainers")),
	})
}

// newResizeREST changes the resources of a running pod's containers in place (KEP-1287).
func newResizeREST(r *kind.REST) *PartialREST {
	return newPartialREST(r.Store, partial[*corev1.Pod]{
		prepare:  prepareResize,
		validate: validateResize,
		filter: podFields(
			fieldpath.MakePrefixMatcherOrDie("spec", "containers", fieldpath.MatchAnyPathElement(), "resources"),
			fieldpath.MakePrefixMatcherOrDie("spec", "containers", fieldpath.MatchAnyPathElement(), "resizePolicy"),
			fieldpath.MakePrefixMatcherOrDie("spec", "initContainers", fieldpath.MatchAnyPathElement(), "resources"),
			fieldpath.MakePrefixMatcherOrDie("spec", "initContainers", fieldpath.MatchAnyPathElement(), "resizePolicy")),
	})
}

func podFields(m ...*fieldpath.SetMatcher) map[fieldpath.APIVersion]fieldpath.Filter {
	return map[fieldpath.APIVersion]fieldpath.Filter{"v1": fieldpath.NewIncludeMatcherFilter(m...)}
}

// prepareResize keeps nothing of the change but resources and resize policies.
func prepareResize(p, old *corev1.Pod) {
	keep := func(now, before []corev1.Container) ([]corev1.Container, bool) {
		if len(now) != len(before) {
			return now, false
		}
		out := make([]corev1.Container, len(before))
		for i := range before {
			if now[i].Name != before[i].Name {
				return now, false // validation says that containers cannot change
			}
			out[i] = *before[i].DeepCopy()
			out[i].Resources, out[i].ResizePolicy = now[i].Resources, now[i].ResizePolicy
		}
		return out, true
	}
	containers, ok1 := keep(p.Spec.Containers, old.Spec.Containers)
	inits, ok2 := keep(p.Spec.InitContainers, old.Spec.InitContainers)
	if ok1 && ok2 {
		resources := p.Spec.Resources
		p.Spec = *old.Spec.DeepCopy()
		p.Spec.Containers, p.Spec.InitContainers, p.Spec.Resources = containers, inits, resources
		if len(inits) == 0 {
			p.Spec.InitContainers = old.Spec.InitContainers
		}
		p.Status = old.Status
		metav1.ResetObjectMetaForStatus(&p.ObjectMeta, &old.ObjectMeta)
	}
	bumpPodGeneration(p, old)
}
