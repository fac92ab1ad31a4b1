package control

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Queue is the workqueue that event handlers fill.
type Queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// PodEvents maps pod events to their owners of one kind, closes the owners'
// expectations, and wakes those that may adopt an orphan.
type PodEvents struct {
	// Kind of the owners, such as "ReplicaSet".
	Kind string
	// Expectations to close; nil for controllers without.
	Expectations *Expectations
	// Adopters lists the owners whose selector matches the orphan. May be nil.
	Adopters func(ctx context.Context, pod *corev1.Pod) []types.NamespacedName
	// Updated, if set, is called for updates after the owner was queued, to
	// queue it again later.
	Updated func(ctx context.Context, old, pod *corev1.Pod, owner types.NamespacedName, q Queue)
	// Changed, if set, replaces the queueing of an owner, for instance to
	// collect several events into one reconciliation.
	Enqueue func(owner types.NamespacedName, q Queue)
}

// Handler returns the event handler for pods.
func (h PodEvents) Handler() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q Queue) {
			if pod, ok := e.Object.(*corev1.Pod); ok {
				h.created(ctx, pod, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) {
			old, ok1 := e.ObjectOld.(*corev1.Pod)
			pod, ok2 := e.ObjectNew.(*corev1.Pod)
			if ok1 && ok2 && old.ResourceVersion != pod.ResourceVersion {
				h.updated(ctx, old, pod, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q Queue) {
			if pod, ok := e.Object.(*corev1.Pod); ok {
				h.deleted(pod, q)
			}
		},
	}
}

func (h PodEvents) owner(pod *corev1.Pod) (types.NamespacedName, bool) {
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil || ref.Kind != h.Kind {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: pod.Namespace, Name: ref.Name}, true
}

func (h PodEvents) add(owner types.NamespacedName, q Queue) {
	if h.Enqueue != nil {
		h.Enqueue(owner, q)
		return
	}
	q.Add(reconcile.Request{NamespacedName: owner})
}

func (h PodEvents) wakeAdopters(ctx context.Context, pod *corev1.Pod, q Queue) {
	if h.Adopters == nil || metav1.GetControllerOfNoCopy(pod) != nil {
		return
	}
	for _, owner := range h.Adopters(ctx, pod) {
		h.add(owner, q)
	}
}

func (h PodEvents) created(ctx context.Context, pod *corev1.Pod, q Queue) {
	// After a restart a pod may first be seen when it is being deleted already.
	if pod.DeletionTimestamp != nil {
		h.deleted(pod, q)
		return
	}
	if owner, ok := h.owner(pod); ok {
		if h.Expectations != nil {
			h.Expectations.CreationObserved(owner)
		}
		h.add(owner, q)
		return
	}
	h.wakeAdopters(ctx, pod, q)
}

func (h PodEvents) updated(ctx context.Context, old, pod *corev1.Pod, q Queue) {
	labelsChanged := !labels.Equals(old.Labels, pod.Labels)
	// The deletion timestamp counts as the deletion: the pod is no replica any more.
	if pod.DeletionTimestamp != nil {
		h.deleted(pod, q)
		if labelsChanged {
			h.deleted(old, q)
		}
		return
	}
	oldOwner, hadOwner := h.owner(old)
	owner, hasOwner := h.owner(pod)
	ownerChanged := hadOwner != hasOwner || oldOwner != owner
	if ownerChanged && hadOwner {
		h.add(oldOwner, q)
	}
	if hasOwner {
		h.add(owner, q)
		if h.Updated != nil {
			h.Updated(ctx, old, pod, owner, q)
		}
		return
	}
	if labelsChanged || ownerChanged {
		h.wakeAdopters(ctx, pod, q)
	}
}

func (h PodEvents) deleted(pod *corev1.Pod, q Queue) {
	owner, ok := h.owner(pod)
	if !ok {
		return
	}
	if h.Expectations != nil {
		h.Expectations.DeletionObserved(owner, pod.UID)
	}
	h.add(owner, q)
}

// SelectorMatches reports whether a label selector selects the labels; an
// invalid or empty one selects nothing.
func SelectorMatches(selector *metav1.LabelSelector, l map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && !s.Empty() && s.Matches(labels.Set(l))
}
