package core

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/control/controltest"
)

func TestReplicationController(t *testing.T) {
	w := controltest.New(t)
	r := NewReplicationController(w.Client, w.Client, w.Recorder(), w.Clock)
	w.WatchSelf(&corev1.ReplicationController{})
	w.Watch(&corev1.Pod{}, r.PodEvents())
	rc := &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "old"},
		Spec: corev1.ReplicationControllerSpec{
			Replicas: ptr.To(int32(2)),
			Selector: map[string]string{"app": "old"},
			Template: &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "old"}}},
		},
	}
	w.Do(func() {
		if err := w.Client.Create(t.Context(), rc); err != nil {
			t.Fatal(err)
		}
		// An orphan that matches is adopted.
		orphan := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "orphan", Labels: map[string]string{"app": "old"}}}
		if err := w.Client.Create(t.Context(), orphan); err != nil {
			t.Fatal(err)
		}
	})
	want(t, w.Run(r), `
patch Pod orphan: ownerReferences=[{"apiVersion":"v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicationController","name":"old","uid":"uid-1"}]
create Pod old-3: owner=old
status ReplicationController old: status.fullyLabeledReplicas=1 status.observedGeneration=1 status.replicas=1
event Normal SuccessfulCreate Created pod: old-3
status ReplicationController old: status.fullyLabeledReplicas=2 status.replicas=2`)
	for _, p := range w.Pods("default") {
		w.SetReady(p)
	}
	want(t, w.Run(r), `status ReplicationController old: status.availableReplicas=2 status.readyReplicas=2`)

	// A failure is a condition until it is over.
	refuse := errors.New("quota exceeded")
	w.Fail = func(verb string, obj client.Object) error {
		if _, ok := obj.(*corev1.Pod); ok && verb == "create" {
			return refuse
		}
		return nil
	}
	controltest.Update(w, rc, func(rc *corev1.ReplicationController) { rc.Spec.Replicas = ptr.To(int32(3)) })
	w.Run(r)
	got := controltest.Get(w, "default", "old", &corev1.ReplicationController{}).Status
	if len(got.Conditions) != 1 || got.Conditions[0].Type != corev1.ReplicationControllerReplicaFailure || got.Conditions[0].Message != "quota exceeded" {
		t.Errorf("conditions %v", got.Conditions)
	}
	w.Fail = nil
	w.Advance(time.Second)
	w.Run(r)
	got = controltest.Get(w, "default", "old", &corev1.ReplicationController{}).Status
	if len(got.Conditions) != 0 || got.Replicas != 3 {
		t.Errorf("status after the recovery: %+v", got)
	}

	controltest.Update(w, rc, func(rc *corev1.ReplicationController) { rc.Spec.Replicas = ptr.To(int32(0)) })
	w.Run(r)
	if n := len(w.Pods("default")); n != 0 {
		t.Errorf("%d pods, want 0", n)
	}
	if log := w.Run(r); log != "" {
		t.Errorf("writes without a cause:\n%s", log)
	}
}
