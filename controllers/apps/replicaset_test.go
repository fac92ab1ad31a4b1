package apps

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control/controltest"
)

func testReplicaSet(name string, replicas int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: ptr.To(replicas),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			},
		},
	}
}

func replicaSetWorld(t *testing.T, objs ...client.Object) (*controltest.World, *ReplicaSet) {
	w := controltest.New(t)
	r := NewReplicaSet(w.Client, w.Client, w.Recorder(), w.Clock)
	w.WatchSelf(&appsv1.ReplicaSet{})
	w.Watch(&corev1.Pod{}, r.PodEvents())
	w.Do(func() {
		for _, obj := range objs {
			if err := w.Client.Create(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
		}
	})
	return w, r
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if d := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(got), "\n")); d != "" {
		t.Errorf("transcript differs (-want +got):\n%s", d)
	}
}

func TestReplicaSetCreatesAndDeletes(t *testing.T) {
	rs := testReplicaSet("web", 3)
	w, r := replicaSetWorld(t, rs)
	want(t, w.Run(r), `
create Pod web-2: owner=web
create Pod web-3: owner=web
create Pod web-4: owner=web
status ReplicaSet web: status.observedGeneration=1 status.terminatingReplicas=0
event Normal SuccessfulCreate Created pod: web-2
event Normal SuccessfulCreate Created pod: web-3
event Normal SuccessfulCreate Created pod: web-4
status ReplicaSet web: status.fullyLabeledReplicas=3 status.replicas=3`)

	w.SetReady(w.Pods("default")[0])
	want(t, w.Run(r), `status ReplicaSet web: status.availableReplicas=1 status.readyReplicas=1`)

	// The ready pod stays.
	controltest.Update(w, rs, func(rs *appsv1.ReplicaSet) { rs.Spec.Replicas = ptr.To(int32(1)) })
	want(t, w.Run(r), `
delete Pod web-3: (gone)
delete Pod web-4: (gone)
status ReplicaSet web: status.observedGeneration=2
event Normal SuccessfulDelete Deleted pod: web-3
event Normal SuccessfulDelete Deleted pod: web-4
status ReplicaSet web: status.fullyLabeledReplicas=1 status.replicas=1`)

	// A failed pod is replaced and not deleted.
	w.SetPhase(w.Pods("default")[0], corev1.PodFailed)
	want(t, w.Run(r), `
create Pod web-5: owner=web
status ReplicaSet web: status.availableReplicas=- status.fullyLabeledReplicas=- status.readyReplicas=- status.replicas=0
event Normal SuccessfulCreate Created pod: web-5
status ReplicaSet web: status.fullyLabeledReplicas=1 status.replicas=1`)
}

func TestReplicaSetReportsFailureAndRecovers(t *testing.T) {
	w, r := replicaSetWorld(t, testReplicaSet("web", 4))
	w.Fail = func(verb string, obj client.Object) error {
		if _, ok := obj.(*corev1.Pod); ok && verb == "create" {
			return errors.New("quota exceeded")
		}
		return nil
	}
	want(t, w.Run(r), `
status ReplicaSet web: status.conditions[ReplicaFailure]="True/FailedCreate/quota exceeded" status.observedGeneration=1 status.terminatingReplicas=0
event Warning FailedCreate Error creating: quota exceeded
error web: quota exceeded
event Warning FailedCreate Error creating: quota exceeded
error web: quota exceeded`)
	w.Fail = nil
	w.Advance(time.Second)
	got := w.Run(r)
	if strings.Count(got, "create Pod") != 4 || !strings.Contains(got, "status.conditions[ReplicaFailure]=-") {
		t.Errorf("after the quota is gone: %s", got)
	}
}

func TestReplicaSetAdoptsAndReleases(t *testing.T) {
	rs := testReplicaSet("web", 1)
	orphan := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "orphan", Labels: map[string]string{"app": "web"}}}
	w, r := replicaSetWorld(t, rs, orphan)
	want(t, w.Run(r), `
patch Pod orphan: ownerReferences=[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"web","uid":"uid-1"}]
status ReplicaSet web: status.fullyLabeledReplicas=1 status.observedGeneration=1 status.replicas=1 status.terminatingReplicas=0`)
	controltest.Update(w, orphan, func(p *corev1.Pod) { p.Labels["app"] = "other" })
	want(t, w.Run(r), `
patch Pod orphan: ownerReferences=-
create Pod web-3: owner=web
status ReplicaSet web: status.fullyLabeledReplicas=- status.replicas=0
event Normal SuccessfulCreate Created pod: web-3
status ReplicaSet web: status.fullyLabeledReplicas=1 status.replicas=1`)
}

func TestReplicaSetWaitsForMinReadySeconds(t *testing.T) {
	rs := testReplicaSet("web", 1)
	rs.Spec.MinReadySeconds = 10
	w, r := replicaSetWorld(t, rs)
	w.Run(r)
	w.SetReady(w.Pods("default")[0])
	want(t, w.Run(r), `status ReplicaSet web: status.readyReplicas=1`)
	if got := w.Queue.Waiting(); got != 10*time.Second-podEventDelay {
		t.Errorf("next look in %v, want 10s after the pod was ready", got)
	}
	w.Advance(10 * time.Second)
	want(t, w.Run(r), `status ReplicaSet web: status.availableReplicas=1`)
}
