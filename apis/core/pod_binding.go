package core

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storeerr "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"

	"proa/apis/kind"
)

// podBindingREST assigns a pod to a node: pods/binding.
type podBindingREST struct {
	store *genericregistry.Store
}

// New implements rest.Storage.
func (r *podBindingREST) New() runtime.Object { return &corev1.Binding{} }

// Destroy implements rest.Storage.
func (r *podBindingREST) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (r *podBindingREST) NamespaceScoped() bool { return true }

// PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate implements
// rest.SubresourceObjectMetaPreserver: UID and resourceVersion are preconditions.
func (r *podBindingREST) PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() bool { return true }

// Create implements rest.NamedCreater.
func (r *podBindingREST) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	b, ok := obj.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %T", obj))
	}
	if name != b.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if errs := validateBinding(b); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	if validate != nil {
		if err := validate(ctx, b.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	if err := r.bind(ctx, b, dryrun.IsDryRun(options.DryRun)); err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

func validateBinding(b *corev1.Binding) (errs field.ErrorList) {
	target := field.NewPath("target")
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(target.Child("kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(target.Child("name"), ""))
	}
	return errs
}

func (r *podBindingREST) bind(ctx context.Context, b *corev1.Binding, dry bool) error {
	key, err := r.store.KeyFunc(ctx, b.Name)
	if err != nil {
		return err
	}
	var pre *storage.Preconditions
	if b.UID != "" || b.ResourceVersion != "" {
		pre = &storage.Preconditions{}
		if b.UID != "" {
			pre.UID = &b.UID
		}
		if b.ResourceVersion != "" {
			pre.ResourceVersion = &b.ResourceVersion
		}
	}
	err = r.store.Storage.GuaranteedUpdate(ctx, key, &corev1.Pod{}, false, pre, storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
		p, ok := obj.(*corev1.Pod)
		if !ok {
			return nil, fmt.Errorf("pod storage holds a %T", obj)
		}
		return p, bindPod(p, b)
	}), dry, nil)
	if err == nil {
		return nil
	}
	pods := r.store.DefaultQualifiedResource
	err = storeerr.InterpretGetError(err, pods, b.Name)
	err = storeerr.InterpretUpdateError(err, pods, b.Name)
	if status := apierrors.APIStatus(nil); !errors.As(err, &status) {
		pods.Resource = "pods/binding"
		err = apierrors.NewConflict(pods, b.Name, err)
	}
	return err
}

// bindPod assigns the node, or tells why the pod cannot be assigned.
func bindPod(p *corev1.Pod, b *corev1.Binding) error {
	switch {
	case p.DeletionTimestamp != nil:
		return fmt.Errorf("pod %s is being deleted, cannot be assigned to a host", p.Name)
	case p.Spec.NodeName != "":
		return fmt.Errorf("pod %v is already assigned to node %q", p.Name, p.Spec.NodeName)
	case len(p.Spec.SchedulingGates) > 0:
		return fmt.Errorf("pod %v has non-empty .spec.schedulingGates", p.Name)
	}
	p.Spec.NodeName = b.Target.Name
	p.Status.NominatedNodeName = ""
	p.Annotations = merged(p.Annotations, b.Annotations)
	p.Labels = merged(p.Labels, b.Labels)
	setPodCondition(&p.Status, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
	return nil
}

func merged(into, from map[string]string) map[string]string {
	if into == nil && len(from) > 0 {
		into = make(map[string]string, len(from))
	}
	maps.Copy(into, from)
	return into
}

// legacyBindingREST is the top-level resource "bindings", older than pods/binding.
type legacyBindingREST struct {
	deps *kind.Deps
}

// Binding assigns a pod to a node.
func Binding() *kind.Virtual {
	return &kind.Virtual{
		GVK:       corev1.SchemeGroupVersion.WithKind("Binding"),
		Resource:  "bindings",
		Prototype: &corev1.Binding{},
		New:       func(d *kind.Deps) (rest.Storage, error) { return &legacyBindingREST{deps: d}, nil },
	}
}

// New implements rest.Storage.
func (r *legacyBindingREST) New() runtime.Object { return &corev1.Binding{} }

// Destroy implements rest.Storage.
func (r *legacyBindingREST) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (r *legacyBindingREST) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider.
func (r *legacyBindingREST) GetSingularName() string { return "binding" }

// Create implements rest.Creater.
func (r *legacyBindingREST) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	b, ok := obj.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %T", obj))
	}
	pods := r.deps.StoreOf(corev1.Resource("pods"))
	if pods == nil {
		return nil, apierrors.NewServiceUnavailable("pods are not served")
	}
	return (&podBindingREST{store: pods.Store}).Create(ctx, b.Name, b, validate, options)
}
