package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/admission"
)

// alwaysPullImages has every image pulled at each start, so that credentials
// are checked each time.
type alwaysPullImages struct{ *admission.Handler }

func newAlwaysPullImages(Options) alwaysPullImages {
	return alwaysPullImages{admission.NewHandler(admission.Create, admission.Update)}
}

// image is a container's image and policy, and where they are.
type image struct {
	name   string
	policy *corev1.PullPolicy
	path   *field.Path
}

func images(pod *corev1.Pod) []image {
	spec := field.NewPath("spec")
	var out []image
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		out = append(out, image{c.Image, &c.ImagePullPolicy, spec.Child("initContainers").Index(i).Child("imagePullPolicy")})
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		out = append(out, image{c.Image, &c.ImagePullPolicy, spec.Child("containers").Index(i).Child("imagePullPolicy")})
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		out = append(out, image{c.Image, &c.ImagePullPolicy, spec.Child("ephemeralContainers").Index(i).Child("imagePullPolicy")})
	}
	return out
}

// images are those that a request brings in; an update without new ones has none.
func (alwaysPullImages) images(a admission.Attributes) []image {
	pod, ok := podOf(a)
	if !ok {
		return nil
	}
	now := images(pod)
	if old, ok := a.GetOldObject().(*corev1.Pod); ok && a.GetOperation() == admission.Update {
		known, fresh := sets.New[string](), false
		for _, i := range images(old) {
			known.Insert(i.name)
		}
		for _, i := range now {
			fresh = fresh || !known.Has(i.name)
		}
		if !fresh {
			return nil
		}
	}
	for i := range pod.Spec.Volumes {
		if v := pod.Spec.Volumes[i].Image; v != nil {
			now = append(now, image{v.Reference, &v.PullPolicy, field.NewPath("spec", "volumes").Index(i).Child("image", "pullPolicy")})
		}
	}
	return now
}

// Admit implements admission.MutationInterface.
func (p alwaysPullImages) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	for _, i := range p.images(a) {
		*i.policy = corev1.PullAlways
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p alwaysPullImages) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	var errs []error
	for _, i := range p.images(a) {
		if *i.policy != corev1.PullAlways {
			errs = append(errs, admission.NewForbidden(a, field.NotSupported(i.path, *i.policy, []string{string(corev1.PullAlways)})))
		}
	}
	return utilerrors.NewAggregate(errs)
}
