package policy

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control/controltest"
)

func want(t *testing.T, got, want string) {
	t.Helper()
	if d := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(got), "\n")); d != "" {
		t.Errorf("transcript differs (-want +got):\n%s", d)
	}
}

func budget(change func(*policyv1.PodDisruptionBudgetSpec)) *policyv1.PodDisruptionBudget {
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
	}
	change(&pdb.Spec)
	return pdb
}

func webPod(name string, owner *metav1.OwnerReference) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "web"}}}
	if owner != nil {
		p.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return p
}

func disruptionWorld(t *testing.T, objs ...client.Object) (*controltest.World, *Disruption) {
	w := controltest.New(t)
	r := &Disruption{Client: w.Client, Recorder: w.Recorder(), Clock: w.Clock,
		Scale: func(_ context.Context, ref *metav1.OwnerReference, _ string) (*int32, error) {
			if ref.Kind == "Custom" {
				return ptr.To(int32(5)), nil
			}
			return nil, nil
		}}
	w.WatchSelf(&policyv1.PodDisruptionBudget{})
	w.Watch(&corev1.Pod{}, r.podEvents())
	w.Do(func() {
		for _, obj := range objs {
			if err := w.Client.Create(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
		}
	})
	return w, r
}

func TestDisruptionMinAvailable(t *testing.T) {
	w, r := disruptionWorld(t, budget(func(s *policyv1.PodDisruptionBudgetSpec) { s.MinAvailable = ptr.To(intstr.FromInt32(1)) }),
		webPod("a", nil), webPod("b", nil))
	want(t, w.Run(r), `status PodDisruptionBudget web: status.conditions[DisruptionAllowed]="False/InsufficientPods" status.desiredHealthy=1 status.expectedPods=2 status.observedGeneration=1`)
	w.SetReady(w.Pods("default")[0])
	w.SetReady(w.Pods("default")[1])
	want(t, w.Run(r), `status PodDisruptionBudget web: status.conditions[DisruptionAllowed]="True/SufficientPods" status.currentHealthy=2 status.disruptionsAllowed=1`)

	// An eviction was allowed, but the pod stays.
	at := metav1.NewTime(w.Clock.Now())
	controltest.Update(w, budget(func(*policyv1.PodDisruptionBudgetSpec) {}), func(pdb *policyv1.PodDisruptionBudget) {
		pdb.Status.DisruptedPods = map[string]metav1.Time{"a": at, "gone": at}
		pdb.Status.DisruptionsAllowed = 0
	})
	want(t, w.Run(r), `status PodDisruptionBudget web: status.conditions[DisruptionAllowed]="False/InsufficientPods" status.currentHealthy=1 status.disruptedPods.gone=-`)
	w.Advance(deletionTimeout + time.Second)
	want(t, w.Run(r), `
status PodDisruptionBudget web: status.conditions[DisruptionAllowed]="True/SufficientPods" status.currentHealthy=2 status.disruptedPods.a=- status.disruptionsAllowed=1
event Warning NotDeleted Pod was expected by PDB default/default to be deleted but it wasn't`)
	if log := w.Run(r); log != "" {
		t.Errorf("writes without a cause:\n%s", log)
	}
}

func TestDisruptionCounts(t *testing.T) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "d", UID: "d"}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(4))}}
	ref := func(apiVersion, kind, name string) *metav1.OwnerReference {
		return &metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(name), Controller: ptr.To(true)}
	}
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "rs", UID: "rs", OwnerReferences: []metav1.OwnerReference{*ref("apps/v1", "Deployment", "d")}},
		Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(1))}}
	ss := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ss", UID: "ss"}, Spec: appsv1.StatefulSetSpec{Replicas: ptr.To(int32(3))}}
	rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "rc", UID: "rc"}, Spec: corev1.ReplicationControllerSpec{Replicas: ptr.To(int32(2))}}
	half := func(s *policyv1.PodDisruptionBudgetSpec) { s.MinAvailable = ptr.To(intstr.FromString("50%")) }
	for _, c := range []struct {
		name              string
		spec              func(*policyv1.PodDisruptionBudgetSpec)
		owner             *metav1.OwnerReference
		expected, desired int32
		reason            string
	}{
		{"deployment", half, ref("apps/v1", "ReplicaSet", "rs"), 4, 2, policyv1.InsufficientPodsReason},
		{"stateful set, rounded up", half, ref("apps/v1", "StatefulSet", "ss"), 3, 2, policyv1.InsufficientPodsReason},
		{"replication controller", half, ref("v1", "ReplicationController", "rc"), 2, 1, policyv1.SufficientPodsReason},
		{"custom", half, ref("x/v1", "Custom", "c"), 5, 3, policyv1.InsufficientPodsReason},
		{"max unavailable", func(s *policyv1.PodDisruptionBudgetSpec) { s.MaxUnavailable = ptr.To(intstr.FromInt32(3)) }, ref("apps/v1", "ReplicaSet", "rs"), 4, 1, policyv1.SufficientPodsReason},
		{"owner gone", half, ref("apps/v1", "ReplicaSet", "other"), 0, 0, policyv1.SyncFailedReason},
		{"no owner", half, nil, 0, 0, policyv1.InsufficientPodsReason},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, r := disruptionWorld(t, d.DeepCopy(), rs.DeepCopy(), ss.DeepCopy(), rc.DeepCopy(), budget(c.spec), webPod("a", c.owner), webPod("b", c.owner))
			for _, p := range w.Pods("default") {
				w.SetReady(p)
			}
			w.Run(r)
			got := controltest.Get(w, "default", "web", &policyv1.PodDisruptionBudget{}).Status
			reason := ""
			if len(got.Conditions) == 1 {
				reason = got.Conditions[0].Reason
			}
			if got.ExpectedPods != c.expected || got.DesiredHealthy != c.desired || reason != c.reason {
				t.Errorf("expected %d, desired %d, %s; want %d, %d, %s", got.ExpectedPods, got.DesiredHealthy, reason, c.expected, c.desired, c.reason)
			}
		})
	}
}

func TestStaleDisruption(t *testing.T) {
	w := controltest.New(t)
	r := &StaleDisruption{Client: w.Client, Clock: w.Clock}
	w.WatchSelf(&corev1.Pod{})
	pod := webPod("a", nil)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", LastTransitionTime: metav1.NewTime(w.Clock.Now())}}}
	w.Do(func() {
		if err := w.Client.Create(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	})
	want(t, w.Run(r), "")
	w.Advance(staleDisruption)
	want(t, w.Run(r), `status Pod a: status.conditions[DisruptionTarget]="False"`)
}
