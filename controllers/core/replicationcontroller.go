package core

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"proa/controllers/apps"
	"proa/controllers/control"
)

var replicationControllerKind = corev1.SchemeGroupVersion.WithKind("ReplicationController")

// NewReplicationController returns the reconciler of ReplicationControllers: the
// one of ReplicaSets, which sees each of them as a ReplicaSet.
func NewReplicationController(c client.Client, live client.Reader, recorder record.EventRecorder, clk clock.PassiveClock) *apps.ReplicaSet {
	r := apps.NewReplicaSet(replicationClient{Client: c, replicationReader: replicationReader{c}}, replicationReader{live}, replicationRecorder{recorder}, clk)
	r.Kind = replicationControllerKind
	return r
}

// SetupReplicationController registers the controller.
func SetupReplicationController(env *control.Env) error {
	r := NewReplicationController(env.Client(), env.Live(), env.Recorder("replication-controller"), env.Clock)
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("replicationcontroller").
		WithOptions(controller.Options{MaxConcurrentReconciles: 5}).
		For(&corev1.ReplicationController{}).
		Watches(&corev1.Pod{}, r.PodEvents()).
		Complete(r)
}

// asReplicaSet shows a ReplicationController as a ReplicaSet. The two share
// what they point to.
func asReplicaSet(rc *corev1.ReplicationController) appsv1.ReplicaSet {
	rs := appsv1.ReplicaSet{
		ObjectMeta: rc.ObjectMeta,
		Spec: appsv1.ReplicaSetSpec{
			Replicas:        rc.Spec.Replicas,
			MinReadySeconds: rc.Spec.MinReadySeconds,
			Selector:        &metav1.LabelSelector{MatchLabels: rc.Spec.Selector},
		},
		Status: appsv1.ReplicaSetStatus{
			Replicas:             rc.Status.Replicas,
			FullyLabeledReplicas: rc.Status.FullyLabeledReplicas,
			ReadyReplicas:        rc.Status.ReadyReplicas,
			AvailableReplicas:    rc.Status.AvailableReplicas,
			ObservedGeneration:   rc.Status.ObservedGeneration,
		},
	}
	if rc.Spec.Template != nil {
		rs.Spec.Template = *rc.Spec.Template
	}
	for _, c := range rc.Status.Conditions {
		rs.Status.Conditions = append(rs.Status.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return rs
}

// asReplicationController is the way back.
func asReplicationController(rs *appsv1.ReplicaSet) *corev1.ReplicationController {
	rc := &corev1.ReplicationController{
		ObjectMeta: rs.ObjectMeta,
		Spec: corev1.ReplicationControllerSpec{
			Replicas:        rs.Spec.Replicas,
			MinReadySeconds: rs.Spec.MinReadySeconds,
			Template:        &rs.Spec.Template,
		},
		Status: corev1.ReplicationControllerStatus{
			Replicas:             rs.Status.Replicas,
			FullyLabeledReplicas: rs.Status.FullyLabeledReplicas,
			ReadyReplicas:        rs.Status.ReadyReplicas,
			AvailableReplicas:    rs.Status.AvailableReplicas,
			ObservedGeneration:   rs.Status.ObservedGeneration,
		},
	}
	if rs.Spec.Selector != nil {
		rc.Spec.Selector = rs.Spec.Selector.MatchLabels
	}
	for _, c := range rs.Status.Conditions {
		rc.Status.Conditions = append(rc.Status.Conditions, corev1.ReplicationControllerCondition{
			Type: corev1.ReplicationControllerConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return rc
}

// replicationReader reads ReplicationControllers where ReplicaSets are asked for.
type replicationReader struct{ reader client.Reader }

// Get reads one object.
func (r replicationReader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	rs, ok := obj.(*appsv1.ReplicaSet)
	if !ok {
		return r.reader.Get(ctx, key, obj, opts...)
	}
	var rc corev1.ReplicationController
	if err := r.reader.Get(ctx, key, &rc, opts...); err != nil {
		return err
	}
	*rs = asReplicaSet(&rc)
	return nil
}

// List lists objects. Of the field selectors only the owner's index is known for
// ReplicationControllers, which are few: it is applied here.
func (r replicationReader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	sets, ok := list.(*appsv1.ReplicaSetList)
	if !ok {
		return r.reader.List(ctx, list, opts...)
	}
	options := (&client.ListOptions{}).ApplyOptions(opts)
	owner, owned := "", false
	if options.FieldSelector != nil {
		owner, owned = options.FieldSelector.RequiresExactMatch(control.OwnerIndex)
	}
	var rcs corev1.ReplicationControllerList
	if err := r.reader.List(ctx, &rcs, client.InNamespace(options.Namespace)); err != nil {
		return err
	}
	sets.Items = nil
	for i := range rcs.Items {
		if !owned || control.ByOwner(&rcs.Items[i])[0] == owner {
			sets.Items = append(sets.Items, asReplicaSet(&rcs.Items[i]))
		}
	}
	return nil
}

// replicationClient also writes the status of ReplicaSets to ReplicationControllers.
type replicationClient struct {
	client.Client
	replicationReader
}

// Get reads one object.
func (c replicationClient) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	return c.replicationReader.Get(ctx, key, obj, opts...)
}

// List lists objects.
func (c replicationClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return c.replicationReader.List(ctx, list, opts...)
}

// Status returns the writer of statuses.
func (c replicationClient) Status() client.SubResourceWriter {
	return replicationStatus{c.Client.Status()}
}

type replicationStatus struct{ client.SubResourceWriter }

// Update writes a status.
func (w replicationStatus) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	if rs, ok := obj.(*appsv1.ReplicaSet); ok {
		return w.SubResourceWriter.Update(ctx, asReplicationController(rs), opts...)
	}
	return w.SubResourceWriter.Update(ctx, obj, opts...)
}

// replicationRecorder records on the ReplicationController.
type replicationRecorder struct{ recorder record.EventRecorder }

func replicationOf(obj runtime.Object) runtime.Object {
	if rs, ok := obj.(*appsv1.ReplicaSet); ok {
		return asReplicationController(rs)
	}
	return obj
}

// Event records an event.
func (r replicationRecorder) Event(obj runtime.Object, kind, reason, message string) {
	r.recorder.Event(replicationOf(obj), kind, reason, message)
}

// Eventf records an event with a formatted message.
func (r replicationRecorder) Eventf(obj runtime.Object, kind, reason, format string, args ...any) {
	r.recorder.Event(replicationOf(obj), kind, reason, fmt.Sprintf(format, args...))
}

// AnnotatedEventf records an event with annotations.
func (r replicationRecorder) AnnotatedEventf(obj runtime.Object, annotations map[string]string, kind, reason, format string, args ...any) {
	r.recorder.AnnotatedEventf(replicationOf(obj), annotations, kind, reason, format, args...)
}
