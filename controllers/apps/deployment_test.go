package apps

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control/controltest"
)

func testDeployment(replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", Annotations: map[string]string{"note": "x"}},
		Spec: appsv1.DeploymentSpec{
			Replicas:                ptr.To(replicas),
			Selector:                &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			ProgressDeadlineSeconds: ptr.To(int32(600)),
			RevisionHistoryLimit:    ptr.To(int32(1)),
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxSurge:       ptr.To(intstr.FromInt32(1)),
					MaxUnavailable: ptr.To(intstr.FromInt32(0)),
				},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "v1"}}},
			},
		},
	}
}

func deploymentWorld(t *testing.T, d *appsv1.Deployment) (*controltest.World, *Deployment) {
	w := controltest.New(t)
	r := &Deployment{Client: w.Client, Live: w.Client, Recorder: w.Recorder(), Clock: w.Clock}
	w.WatchSelf(&appsv1.Deployment{})
	w.Watch(&appsv1.ReplicaSet{}, r.replicaSetEvents())
	w.Do(func() {
		if err := w.Client.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	})
	return w, r
}

// settle acts as the ReplicaSet controller and the pods: every ReplicaSet has
// what its spec asks for, all of it available.
func settle(t *testing.T, w *controltest.World) {
	t.Helper()
	var list appsv1.ReplicaSetList
	if err := w.Client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		controltest.Update(w, &list.Items[i], func(rs *appsv1.ReplicaSet) {
			n := *rs.Spec.Replicas
			rs.Status = appsv1.ReplicaSetStatus{Replicas: n, ReadyReplicas: n, AvailableReplicas: n, ObservedGeneration: rs.Generation, TerminatingReplicas: ptr.To(int32(0))}
		})
	}
}

// sizes prints every ReplicaSet by image and size.
func sizes(t *testing.T, w *controltest.World) string {
	t.Helper()
	var list appsv1.ReplicaSetList
	if err := w.Client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, image := range []string{"v1", "v2", "v3"} {
		for i := range list.Items {
			if rs := &list.Items[i]; rs.Spec.Template.Spec.Containers[0].Image == image {
				out = append(out, fmt.Sprintf("%s=%d(r%s)", image, *rs.Spec.Replicas, rs.Annotations[revisionAnnotation]))
			}
		}
	}
	return strings.Join(out, " ")
}

func TestDeploymentCreate(t *testing.T) {
	w, r := deploymentWorld(t, testDeployment(3))
	want(t, w.Run(r), `
create ReplicaSet web-59dc47d8b8: replicas=3 owner=web
status Deployment web: annotations.deployment.kubernetes.io/revision="1" status.conditions[Available]="False/MinimumReplicasUnavailable/Deployment does not have minimum availability." status.conditions[Progressing]="True/NewReplicaSetCreated/Created new replica set \"web-59dc47d8b8\"" status.observedGeneration=1 status.terminatingReplicas=0 status.unavailableReplicas=3
event Normal ScalingReplicaSet Scaled up replica set web-59dc47d8b8 from 0 to 3`)
	settle(t, w)
	want(t, w.Run(r), `
status Deployment web: status.availableReplicas=3 status.conditions[Available]="True/MinimumReplicasAvailable/Deployment has minimum availability." status.conditions[Progressing]="True/NewReplicaSetAvailable/ReplicaSet \"web-59dc47d8b8\" has successfully progressed." status.readyReplicas=3 status.replicas=3 status.unavailableReplicas=- status.updatedReplicas=3`)
}

func setImage(w *controltest.World, d *appsv1.Deployment, image string) {
	controltest.Update(w, d, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image })
}

// rollout runs controller and pods in turn and notes the sizes after each step.
func rollout(t *testing.T, w *controltest.World, r reconcile.Reconciler) string {
	t.Helper()
	var out []string
	for range 20 {
		w.Run(r)
		s := sizes(t, w)
		if len(out) > 0 && out[len(out)-1] == s {
			break
		}
		out = append(out, s)
		settle(t, w)
	}
	return strings.Join(out, "\n")
}

func TestDeploymentRollsUndoesAndKeepsHistory(t *testing.T) {
	d := testDeployment(3)
	w, r := deploymentWorld(t, d)
	rollout(t, w, r)
	setImage(w, d, "v2")
	want(t, rollout(t, w, r), `
v1=3(r1) v2=1(r2)
v1=2(r1) v2=2(r2)
v1=1(r1) v2=3(r2)
v1=0(r1) v2=3(r2)`)
	// Undo: the old ReplicaSet gets the next revision.
	setImage(w, d, "v1")
	want(t, rollout(t, w, r), `
v1=1(r3) v2=3(r2)
v1=2(r3) v2=2(r2)
v1=3(r3) v2=1(r2)
v1=3(r3) v2=0(r2)`)
	// With a history of one, the ReplicaSet of v2 goes after v3 is out.
	setImage(w, d, "v3")
	got := rollout(t, w, r)
	if !strings.HasSuffix(got, "v1=0(r3) v3=3(r4)") {
		t.Errorf("history was not cut: %s", got)
	}
	fresh := controltest.Get(w, "default", "web", &appsv1.Deployment{})
	if fresh.Annotations[revisionAnnotation] != "4" {
		t.Errorf("revision %q, want 4", fresh.Annotations[revisionAnnotation])
	}
}

func TestDeploymentRecreate(t *testing.T) {
	d := testDeployment(2)
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	w, r := deploymentWorld(t, d)
	rollout(t, w, r)
	setImage(w, d, "v2")
	want(t, rollout(t, w, r), `
v1=0(r1)
v1=0(r1) v2=2(r2)`)
}

func TestDeploymentProgressDeadline(t *testing.T) {
	w, r := deploymentWorld(t, testDeployment(1))
	w.Run(r)
	if got := w.Queue.Waiting(); got != 601*time.Second {
		t.Errorf("progress is checked in %v, want 601s", got)
	}
	w.Advance(601 * time.Second)
	want(t, w.Run(r), `
status Deployment web: status.conditions[Progressing]="False/ProgressDeadlineExceeded/ReplicaSet \"web-59dc47d8b8\" has timed out progressing."`)
	settle(t, w)
	want(t, w.Run(r), `
status Deployment web: status.availableReplicas=1 status.conditions[Available]="True/MinimumReplicasAvailable/Deployment has minimum availability." status.conditions[Progressing]="True/NewReplicaSetAvailable/ReplicaSet \"web-59dc47d8b8\" has successfully progressed." status.readyReplicas=1 status.replicas=1 status.unavailableReplicas=- status.updatedReplicas=1`)
}

func TestDeploymentPausedIsScaledInProportion(t *testing.T) {
	d := testDeployment(4)
	d.Spec.Strategy.RollingUpdate.MaxSurge = ptr.To(intstr.FromInt32(2))
	w, r := deploymentWorld(t, d)
	rollout(t, w, r)
	setImage(w, d, "v2")
	w.Run(r)
	if got := sizes(t, w); got != "v1=4(r1) v2=2(r2)" {
		t.Fatalf("half way: %s", got)
	}
	controltest.Update(w, d, func(d *appsv1.Deployment) { d.Spec.Paused = true; d.Spec.Replicas = ptr.To(int32(10)) })
	got := w.Run(r)
	if !strings.Contains(got, `status.conditions[Progressing]="Unknown/DeploymentPaused/Deployment is paused"`) {
		t.Errorf("no paused condition: %s", got)
	}
	if got := sizes(t, w); got != "v1=8(r1) v2=4(r2)" {
		t.Errorf("scaled while paused: %s", got)
	}
	// Resumed, it goes on to the end.
	controltest.Update(w, d, func(d *appsv1.Deployment) { d.Spec.Paused = false })
	if got := rollout(t, w, r); !strings.HasSuffix(got, "v1=0(r1) v2=10(r2)") {
		t.Errorf("resumed: %s", got)
	}
}

func TestDeploymentHashCollision(t *testing.T) {
	d := testDeployment(1)
	w, r := deploymentWorld(t, d)
	w.Do(func() {
		other := testReplicaSet("web-59dc47d8b8", 1)
		other.Spec.Selector.MatchLabels = map[string]string{"app": "else"}
		if err := w.Client.Create(context.Background(), other); err != nil {
			t.Fatal(err)
		}
	})
	got := w.Run(r)
	if !strings.Contains(got, "status.collisionCount=1") {
		t.Errorf("no collision count: %s", got)
	}
	if !strings.Contains(got, "create ReplicaSet web-") || strings.Contains(got, "create ReplicaSet web-59dc47d8b8") {
		t.Errorf("no other name was tried: %s", got)
	}
}
