package storage

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control/controltest"
)

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func claimed(name, node, claim string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: node, Volumes: []corev1.Volume{
		{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}}}
}

func TestClaimProtection(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c"}}
	runs, waits := claimed("runs", "n", "c"), claimed("waits", "", "c")
	w := controltest.New(t, claim, runs, waits)
	w.WatchSelf(&corev1.PersistentVolumeClaim{})
	w.Watch(&corev1.Pod{}, releasedClaims())
	r := &ClaimProtection{w.Client, w.Client}
	w.Queue.Add(request("", "c"))
	want(t, w.Run(r), `update PersistentVolumeClaim c: finalizers=["kubernetes.io/pvc-protection"]`)
	w.Delete(claim)
	want(t, w.Run(r), "")
	w.Delete(runs)
	want(t, w.Run(r), "update PersistentVolumeClaim c: (gone)")
}

func TestUsesClaim(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "p-v"}}
	generic := claimed("p", "n", "")
	generic.UID = "u"
	generic.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}
	owned := claim.DeepCopy()
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u", Controller: ptr.To(true)}}
	gone := generic.DeepCopy()
	gone.DeletionTimestamp, gone.DeletionGracePeriodSeconds = &metav1.Time{Time: controltest.Start}, ptr.To(int64(0))
	for name, c := range map[string]struct {
		pod   *corev1.Pod
		claim *corev1.PersistentVolumeClaim
		want  bool
	}{
		"named": {claimed("x", "n", "p-v"), claim, true}, "other": {claimed("x", "n", "y"), claim, false},
		"not scheduled": {claimed("x", "", "p-v"), claim, false}, "ephemeral": {generic, owned, true},
		"of the same name": {generic, claim, false}, "shut down": {gone, owned, false},
	} {
		if got := usesClaim(c.pod, c.claim); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestVolumeProtection(t *testing.T) {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v", Finalizers: []string{volumeFinalizer}}}
	w := controltest.New(t, v)
	w.WatchSelf(&corev1.PersistentVolume{})
	phase := func(p corev1.PersistentVolumePhase) {
		controltest.Update(w, v, func(v *corev1.PersistentVolume) { v.Status.Phase = p })
	}
	r := &VolumeProtection{w.Client}
	phase(corev1.VolumeBound)
	w.Delete(v)
	want(t, w.Run(r), "")
	phase(corev1.VolumeReleased)
	want(t, w.Run(r), "update PersistentVolume v: (gone)")
}

func TestAttributesProtection(t *testing.T) {
	class := &storagev1.VolumeAttributesClass{ObjectMeta: metav1.ObjectMeta{Name: "fast", Finalizers: []string{attributesFinalizer}}}
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v"}, Spec: corev1.PersistentVolumeSpec{VolumeAttributesClassName: ptr.To("fast")}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Status: corev1.PersistentVolumeClaimStatus{
		ModifyVolumeStatus: &corev1.ModifyVolumeStatus{TargetVolumeAttributesClassName: "fast"}}}
	w := controltest.New(t, class, v, claim)
	w.WatchSelf(&storagev1.VolumeAttributesClass{})
	for _, o := range []client.Object{v, claim} {
		w.Watch(o, releasedClasses())
	}
	r := &AttributesProtection{w.Client}
	w.Delete(class)
	want(t, w.Run(r), "")
	w.Delete(claim)
	want(t, w.Run(r), "")
	controltest.Update(w, v, func(v *corev1.PersistentVolume) { v.Spec.VolumeAttributesClassName = ptr.To("slow") })
	want(t, w.Run(r), "update VolumeAttributesClass fast: (gone)")
}

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}
