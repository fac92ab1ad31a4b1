package storage

import (
	"context"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// preResizeCapacity is a volume's size before it was expanded, as long as the
// file system on it is not.
const preResizeCapacity = "volume.alpha.kubernetes.io/pre-resize-capacity"

// ClaimBinder binds claims to volumes, or asks for one to be made.
type ClaimBinder struct {
	Client client.Client
	Live   client.Reader
	Events record.EventRecorder

	mu sync.Mutex
	// given are volumes written but not seen so in the cache: by name the
	// version that the cache had.
	given map[string]string
}

// SetupBinder registers the two halves of the binder: that of the claims and
// that of the volumes.
func SetupBinder(env *control.Env) error {
	if err := setupClaimBinder(env); err != nil {
		return err
	}
	return setupVolumeBinder(env)
}

func setupClaimBinder(env *control.Env) error {
	r := &ClaimBinder{Client: env.Client(), Live: env.Live(), Events: env.Recorder("persistentvolume-controller")}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("persistentvolumeclaim-binder").
		For(&corev1.PersistentVolumeClaim{}).
		Watches(&corev1.PersistentVolume{}, r.volumeEvents()).
		Watches(&storagev1.StorageClass{}, handler.EnqueueRequestsFromMapFunc(r.unboundOfClass)).
		Watches(&corev1.Pod{}, consumers()).
		Complete(r)
}

// unbound queues the claims without a complete binding that match.
func (r *ClaimBinder) unbound(ctx context.Context, matches func(*corev1.PersistentVolumeClaim) bool) []reconcile.Request {
	var list corev1.PersistentVolumeClaimList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		c := &list.Items[i]
		if !metav1.HasAnnotation(c.ObjectMeta, volumehelpers.AnnBindCompleted) && matches(c) {
			out = append(out, reconcile.Request{NamespacedName: control.Key(c)})
		}
	}
	return out
}

// unboundOfClass are the claims that a class may help: its own, and those without one.
func (r *ClaimBinder) unboundOfClass(ctx context.Context, class client.Object) []reconcile.Request {
	return r.unbound(ctx, func(c *corev1.PersistentVolumeClaim) bool {
		return !volumehelpers.PersistentVolumeClaimHasClass(c) || volumehelpers.GetPersistentVolumeClaimClass(c) == class.GetName()
	})
}

// volumeEvents queues the claim of a volume, and those that may now have it.
func (r *ClaimBinder) volumeEvents() handler.EventHandler {
	queue := func(ctx context.Context, v *corev1.PersistentVolume, q control.Queue) {
		if ref := v.Spec.ClaimRef; ref != nil {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}})
			return
		}
		for _, req := range r.unbound(ctx, func(c *corev1.PersistentVolumeClaim) bool {
			return c.Spec.VolumeName == v.Name || c.Spec.VolumeName == "" &&
				volumehelpers.GetPersistentVolumeClaimClass(c) == volumehelpers.GetPersistentVolumeClass(v)
		}) {
			q.Add(req)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q control.Queue) {
			if v, ok := e.Object.(*corev1.PersistentVolume); ok {
				queue(ctx, v, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q control.Queue) {
			if v, ok := e.ObjectNew.(*corev1.PersistentVolume); ok {
				queue(ctx, v, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q control.Queue) {
			if v, ok := e.Object.(*corev1.PersistentVolume); ok && v.Spec.ClaimRef != nil {
				queue(ctx, v, q)
			}
		},
	}
}

// consumers queues the claims of new pods: what a claim waits for changes.
func consumers() handler.EventHandler {
	return handler.Funcs{CreateFunc: func(_ context.Context, e event.CreateEvent, q control.Queue) {
		p, ok := e.Object.(*corev1.Pod)
		if !ok || p.Spec.NodeName != "" {
			return
		}
		for i := range p.Spec.Volumes {
			if name := claimName(p, &p.Spec.Volumes[i]); name != "" {
				q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: p.Namespace, Name: name}})
			}
		}
	}}
}

// Reconcile carries the plan of one claim out.
func (r *ClaimBinder) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var claim corev1.PersistentVolumeClaim
	if err := r.Client.Get(ctx, req.NamespacedName, &claim); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	view, err := r.view(ctx, &claim)
	if err != nil {
		return reconcile.Result{}, err
	}
	plan, err := planClaim(&claim, view)
	if err != nil {
		return reconcile.Result{}, err
	}
	err = r.carryOut(ctx, &claim, plan)
	if apierrors.IsConflict(err) {
		return reconcile.Result{Requeue: true}, nil //nolint:staticcheck // with backoff
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

func (r *ClaimBinder) view(ctx context.Context, claim *corev1.PersistentVolumeClaim) (claimView, error) {
	var v claimView
	if name := claim.Spec.VolumeName; name != "" {
		var named corev1.PersistentVolume
		err := r.Client.Get(ctx, types.NamespacedName{Name: name}, &named)
		if apierrors.IsNotFound(err) && metav1.HasAnnotation(claim.ObjectMeta, volumehelpers.AnnBindCompleted) {
			err = r.Live.Get(ctx, types.NamespacedName{Name: name}, &named) // a claim is lost for good
		}
		if client.IgnoreNotFound(err) != nil {
			return v, err
		}
		if err == nil {
			v.named = &named
		}
		return v, nil
	}
	var volumes corev1.PersistentVolumeList
	var classes storagev1.StorageClassList
	var pods corev1.PodList
	for _, list := range []client.ObjectList{&volumes, &classes} {
		if err := r.Client.List(ctx, list); err != nil {
			return v, err
		}
	}
	if err := r.Client.List(ctx, &pods, client.InNamespace(claim.Namespace)); err != nil {
		return v, err
	}
	r.mu.Lock()
	for i := range volumes.Items {
		volume := &volumes.Items[i]
		if version, ok := r.given[volume.Name]; ok {
			if version == volume.ResourceVersion && !volumehelpers.IsVolumeBoundToClaim(volume, claim) {
				continue
			}
			delete(r.given, volume.Name)
		}
		v.volumes = append(v.volumes, volume)
	}
	r.mu.Unlock()
	var newest *storagev1.StorageClass
	for i := range classes.Items {
		c := &classes.Items[i]
		if c.Name == volumehelpers.GetPersistentVolumeClaimClass(claim) {
			v.class = c
		}
		if isDefault(c) && (newest == nil || newest.CreationTimestamp.Before(&c.CreationTimestamp) ||
			newest.CreationTimestamp.Equal(&c.CreationTimestamp) && c.Name < newest.Name) {
			newest = c
			v.defaultClass = c.Name
		}
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Spec.NodeName == "" && !control.PodTerminal(p) && slices.ContainsFunc(p.Spec.Volumes, func(pv corev1.Volume) bool { return claimName(p, &pv) == claim.Name }) {
			v.waiting = append(v.waiting, p.Name)
		}
	}
	slices.SortFunc(v.waiting, strings.Compare)
	return v, nil
}

func isDefault(c *storagev1.StorageClass) bool {
	return c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" || c.Annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true"
}

func (r *ClaimBinder) carryOut(ctx context.Context, claim *corev1.PersistentVolumeClaim, plan claimPlan) error {
	switch {
	case plan.bind != nil:
		return r.bind(ctx, claim, plan)
	case plan.class != "":
		next := claim.DeepCopy()
		next.Spec.StorageClassName = &plan.class
		return r.Client.Update(ctx, next)
	case plan.provisioner != "":
		next := claim.DeepCopy()
		for _, a := range []string{volumehelpers.AnnBetaStorageProvisioner, volumehelpers.AnnStorageProvisioner} {
			metav1.SetMetaDataAnnotation(&next.ObjectMeta, a, plan.provisioner)
		}
		if claim.Annotations[volumehelpers.AnnStorageProvisioner] != plan.provisioner || claim.Annotations[volumehelpers.AnnBetaStorageProvisioner] != plan.provisioner {
			if err := r.Client.Update(ctx, next); err != nil {
				return err
			}
		}
	}
	changes := plan.phase != "" && plan.phase != claim.Status.Phase
	if plan.phase != "" {
		if err := r.setStatus(ctx, claim, plan.phase, nil); err != nil {
			return err
		}
	}
	if plan.event != nil && (changes || plan.phase != corev1.ClaimLost) {
		r.Events.Event(claim, plan.event.kind, plan.event.reason, plan.event.message)
	}
	return nil
}

// bind writes the binding to the volume, then to the claim, and marks both.
func (r *ClaimBinder) bind(ctx context.Context, claim *corev1.PersistentVolumeClaim, plan claimPlan) error {
	if plan.fresh {
		// A claim that has a volume by now must not get another.
		var now corev1.PersistentVolumeClaim
		if err := r.Live.Get(ctx, control.Key(claim), &now); err != nil {
			return err
		}
		if now.UID != claim.UID || now.Spec.VolumeName != claim.Spec.VolumeName || now.DeletionTimestamp != nil && claim.DeletionTimestamp == nil {
			return nil // its event comes
		}
	}
	volume, changed, err := volumehelpers.GetBindVolumeToClaim(plan.bind, claim)
	if err != nil {
		return err
	}
	if changed {
		if err := r.Client.Update(ctx, volume); err != nil {
			return err
		}
		r.mu.Lock()
		if r.given == nil {
			r.given = map[string]string{}
		}
		r.given[volume.Name] = plan.bind.ResourceVersion
		r.mu.Unlock()
	}
	if volume.Status.Phase != corev1.VolumeBound {
		volume.Status.Phase, volume.Status.Message = corev1.VolumeBound, ""
		if err := r.Client.Status().Update(ctx, volume); err != nil {
			return err
		}
	}
	next := claim.DeepCopy()
	if next.Spec.VolumeName != volume.Name {
		next.Spec.VolumeName = volume.Name
		if !metav1.HasAnnotation(next.ObjectMeta, volumehelpers.AnnBoundByController) {
			metav1.SetMetaDataAnnotation(&next.ObjectMeta, volumehelpers.AnnBoundByController, "yes")
		}
	}
	if complete := metav1.HasAnnotation(next.ObjectMeta, volumehelpers.AnnBindCompleted); !complete || claim.Spec.VolumeName != volume.Name {
		metav1.SetMetaDataAnnotation(&next.ObjectMeta, volumehelpers.AnnBindCompleted, "yes")
		if err := r.Client.Update(ctx, next); err != nil {
			return err
		}
	}
	return r.setStatus(ctx, next, corev1.ClaimBound, volume)
}

// setStatus writes the claim's phase and what it has of the volume, if that changes.
func (r *ClaimBinder) setStatus(ctx context.Context, claim *corev1.PersistentVolumeClaim, phase corev1.PersistentVolumeClaimPhase, volume *corev1.PersistentVolume) error {
	next := claim.DeepCopy()
	next.Status = claimStatus(claim, phase, volume)
	if equal(claim.Status, next.Status) {
		return nil
	}
	return r.Client.Status().Update(ctx, next)
}

// claimStatus is the status of a claim that enters the phase, with the volume
// or, where that is nil, with none.
func claimStatus(claim *corev1.PersistentVolumeClaim, phase corev1.PersistentVolumeClaimPhase, volume *corev1.PersistentVolume) corev1.PersistentVolumeClaimStatus {
	s := *claim.Status.DeepCopy()
	entered := s.Phase != phase
	from := s.Phase
	s.Phase = phase
	if volume == nil {
		s.AccessModes, s.Capacity, s.CurrentVolumeAttributesClassName = nil, nil, nil
		return s
	}
	s.AccessModes = volume.Spec.AccessModes
	if !entered {
		// Later, size and class are the resizer's.
		return s
	}
	size := volume.Spec.Capacity[corev1.ResourceStorage]
	if before, ok := volume.Annotations[preResizeCapacity]; ok {
		if q, err := resource.ParseQuantity(before); err == nil {
			size = q
		}
		if s.Capacity == nil {
			s.Capacity = corev1.ResourceList{}
		}
		s.Capacity[corev1.ResourceStorage] = size
	} else if has, ok := s.Capacity[corev1.ResourceStorage]; !ok || has.Cmp(size) != 0 {
		s.Capacity = volume.Spec.Capacity.DeepCopy()
	}
	if from == corev1.ClaimPending && phase == corev1.ClaimBound {
		s.CurrentVolumeAttributesClassName = volume.Spec.VolumeAttributesClassName
	}
	return s
}
