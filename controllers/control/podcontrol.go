package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Reasons of the events, and of the conditions made from them.
const (
	FailedCreate     = "FailedCreate"
	SuccessfulCreate = "SuccessfulCreate"
	FailedDelete     = "FailedDelete"
	SuccessfulDelete = "SuccessfulDelete"
)

// Pods creates and deletes pods for an owner and records that on the owner.
type Pods struct {
	Client   client.Client
	Recorder record.EventRecorder
}

// PodFromTemplate makes the pod that the owner's template describes. Its name
// is generated from the owner's.
func PodFromTemplate(template *corev1.PodTemplateSpec, owner metav1.Object, kind schema.GroupVersionKind) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       owner.GetNamespace(),
			GenerateName:    NamePrefix(owner.GetName()),
			Labels:          maps.Clone(template.Labels),
			Annotations:     maps.Clone(template.Annotations),
			Finalizers:      slices.Clone(template.Finalizers),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
		},
		Spec: *template.Spec.DeepCopy(),
	}
}

// NamePrefix is the generateName of pods of an owner: its name and a dash, the
// dash left out where the result could not begin a name.
func NamePrefix(owner string) string {
	prefix := owner + "-"
	if len(validation.NameIsDNSSubdomain(prefix, true)) != 0 {
		return owner
	}
	return prefix
}

// Create creates the pod and records SuccessfulCreate or FailedCreate on the
// owner. In a namespace that is being deleted a failure is not recorded.
func (c *Pods) Create(ctx context.Context, pod *corev1.Pod, owner client.Object) error {
	if len(pod.Labels) == 0 {
		return errors.New("unable to create pods, no labels")
	}
	if err := c.Client.Create(ctx, pod); err != nil {
		if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			c.Recorder.Eventf(owner, corev1.EventTypeWarning, FailedCreate, "Error creating: %v", err)
		}
		return err
	}
	klog.FromContext(ctx).V(4).Info("Created pod", "owner", klog.KObj(owner), "pod", klog.KObj(pod))
	c.Recorder.Eventf(owner, corev1.EventTypeNormal, SuccessfulCreate, "Created pod: %v", pod.Name)
	return nil
}

// Delete deletes the pod and records SuccessfulDelete or FailedDelete on the
// owner. A pod that is gone already is an error that apierrors.IsNotFound
// recognizes, and is not recorded.
func (c *Pods) Delete(ctx context.Context, pod *corev1.Pod, owner client.Object) error {
	klog.FromContext(ctx).V(2).Info("Deleting pod", "owner", klog.KObj(owner), "pod", klog.KObj(pod))
	err := c.Client.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}})
	if apierrors.IsNotFound(err) {
		return err
	}
	if err != nil {
		c.Recorder.Eventf(owner, corev1.EventTypeWarning, FailedDelete, "Error deleting: %v", err)
		return fmt.Errorf("unable to delete pods: %w", err)
	}
	c.Recorder.Eventf(owner, corev1.EventTypeNormal, SuccessfulDelete, "Deleted pod: %v", pod.Name)
	return nil
}
