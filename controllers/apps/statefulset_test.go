package apps

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"proa/controllers/control/controltest"
)

func testStatefulSet(replicas int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas:            ptr.To(replicas),
			ServiceName:         "dbs",
			PodManagementPolicy: appsv1.OrderedReadyPodManagement,
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{
				Type:          appsv1.RollingUpdateStatefulSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To(int32(0))},
			},
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "db"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "one"}}},
			},
		},
	}
}

func statefulWorld(t *testing.T, set *appsv1.StatefulSet) (*controltest.World, *StatefulSet) {
	w := controltest.New(t)
	r := NewStatefulSet(w.Client, w.Client, w.Recorder(), w.Clock)
	w.WatchSelf(&appsv1.StatefulSet{})
	w.Watch(&corev1.Pod{}, r.podEvents())
	w.Do(func() {
		if err := w.Client.Create(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	})
	return w, r
}

// settleSet makes all pods ready until the controller has nothing to do.
func settleSet(w *controltest.World, r *StatefulSet) {
	for range 20 {
		w.Run(r)
		changed := false
		for _, p := range w.Pods("default") {
			if p.Status.Phase != corev1.PodRunning {
				w.SetReady(p)
				changed = true
			}
		}
		if !changed {
			return
		}
	}
}

// images maps the pods to their images.
func images(w *controltest.World) map[string]string {
	out := map[string]string{}
	for _, p := range w.Pods("default") {
		out[p.Name] = p.Spec.Containers[0].Image
	}
	return out
}

func TestStatefulSetOrdered(t *testing.T) {
	set := testStatefulSet(2)
	w, r := statefulWorld(t, set)
	want(t, w.Run(r), `
create ControllerRevision db-774477d5b4: owner=db
create Pod db-0: owner=db
status StatefulSet db: status.collisionCount=0 status.currentRevision="db-774477d5b4" status.observedGeneration=1 status.updateRevision="db-774477d5b4"
event Normal SuccessfulCreate Create Pod db-0 in StatefulSet db successful
status StatefulSet db: status.currentReplicas=1 status.replicas=1 status.updatedReplicas=1`)
	p := w.Pods("default")[0]
	if p.Spec.Hostname != "db-0" || p.Spec.Subdomain != "dbs" || p.Labels[appsv1.StatefulSetPodNameLabel] != "db-0" || p.Labels[appsv1.PodIndexLabel] != "0" {
		t.Errorf("identity of db-0: hostname %q, subdomain %q, labels %v", p.Spec.Hostname, p.Spec.Subdomain, p.Labels)
	}
	// The second pod waits for the first.
	w.SetReady(p)
	want(t, w.Run(r), `
create Pod db-1: owner=db
status StatefulSet db: status.availableReplicas=1 status.readyReplicas=1
event Normal SuccessfulCreate Create Pod db-1 in StatefulSet db successful
status StatefulSet db: status.currentReplicas=2 status.replicas=2 status.updatedReplicas=2`)
	w.SetReady(w.Pods("default")[1])
	want(t, w.Run(r), `status StatefulSet db: status.availableReplicas=2 status.readyReplicas=2`)

	// Another template: from the highest ordinal down, one at a time.
	controltest.Update(w, set, func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Image = "two" })
	want(t, w.Run(r), `
create ControllerRevision db-54bf955cfd: owner=db
delete Pod db-1: (gone)
status StatefulSet db: status.currentReplicas=1 status.observedGeneration=2 status.updateRevision="db-54bf955cfd" status.updatedReplicas=-
event Normal SuccessfulDelete Delete Pod db-1 in StatefulSet db successful
create Pod db-1: owner=db
status StatefulSet db: status.availableReplicas=1 status.readyReplicas=1 status.replicas=1
event Normal SuccessfulCreate Create Pod db-1 in StatefulSet db successful
status StatefulSet db: status.replicas=2 status.updatedReplicas=1`)
	settleSet(w, r)
	got := controltest.Get(w, "default", "db", &appsv1.StatefulSet{}).Status
	if got.CurrentRevision != "db-54bf955cfd" || got.UpdatedReplicas != 2 || got.CurrentReplicas != 2 {
		t.Errorf("status after the rollout: %+v", got)
	}

	// Back to the first template: its revision is taken again.
	controltest.Update(w, set, func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Image = "one" })
	settleSet(w, r)
	if rev := controltest.Get(w, "default", "db-774477d5b4", &appsv1.ControllerRevision{}); rev.Revision != 3 {
		t.Errorf("revision of the first template is %d, want 3", rev.Revision)
	}

	// Down to nothing, highest first.
	controltest.Update(w, set, func(s *appsv1.StatefulSet) { s.Spec.Replicas = ptr.To(int32(0)) })
	want(t, w.Run(r), `
delete Pod db-1: (gone)
status StatefulSet db: status.observedGeneration=4
event Normal SuccessfulDelete Delete Pod db-1 in StatefulSet db successful
delete Pod db-0: (gone)
status StatefulSet db: status.availableReplicas=1 status.currentReplicas=1 status.readyReplicas=1 status.replicas=1 status.updatedReplicas=1
event Normal SuccessfulDelete Delete Pod db-0 in StatefulSet db successful
status StatefulSet db: status.availableReplicas=0 status.currentReplicas=- status.readyReplicas=- status.replicas=0 status.updatedReplicas=-`)
}

func TestStatefulSetParallelAndStart(t *testing.T) {
	set := testStatefulSet(3)
	set.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
	set.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: 5}
	w, r := statefulWorld(t, set)
	want(t, w.Run(r), `
create ControllerRevision db-774477d5b4: owner=db
create Pod db-5: owner=db
create Pod db-6: owner=db
create Pod db-7: owner=db
status StatefulSet db: status.collisionCount=0 status.currentRevision="db-774477d5b4" status.observedGeneration=1 status.updateRevision="db-774477d5b4"
event Normal SuccessfulCreate Create Pod db-5 in StatefulSet db successful
event Normal SuccessfulCreate Create Pod db-6 in StatefulSet db successful
event Normal SuccessfulCreate Create Pod db-7 in StatefulSet db successful
status StatefulSet db: status.currentReplicas=3 status.replicas=3 status.updatedReplicas=3`)
	controltest.Update(w, set, func(s *appsv1.StatefulSet) { s.Spec.Ordinals.Start, s.Spec.Replicas = 6, ptr.To(int32(1)) })
	w.Run(r)
	if pods := w.Pods("default"); len(pods) != 1 || pods[0].Name != "db-6" {
		t.Errorf("pods after start=6 replicas=1: %v", images(w))
	}
}

func TestStatefulSetStrategies(t *testing.T) {
	for _, c := range []struct {
		name     string
		strategy appsv1.StatefulSetUpdateStrategy
		want     string
	}{
		{"partition", appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType,
			RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To(int32(2))}}, "one one two"},
		{"on delete", appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}, "one one one"},
		{"max unavailable", appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType,
			RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To(int32(1)), MaxUnavailable: ptr.To(intstr.FromInt32(2))}}, "one two two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := testStatefulSet(3)
			set.Spec.UpdateStrategy = c.strategy
			w, r := statefulWorld(t, set)
			settleSet(w, r)
			controltest.Update(w, set, func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Image = "two" })
			settleSet(w, r)
			i := images(w)
			if got := i["db-0"] + " " + i["db-1"] + " " + i["db-2"]; got != c.want {
				t.Errorf("images %q, want %q", got, c.want)
			}
			// A deleted pod comes back at the revision its ordinal belongs to.
			w.Delete(w.Pods("default")[0])
			settleSet(w, r)
			back := "one"
			if c.strategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
				back = "two"
			}
			if got := images(w)["db-0"]; got != back {
				t.Errorf("db-0 came back with image %q, want %q", got, back)
			}
		})
	}
}

func TestStatefulSetMinReadySeconds(t *testing.T) {
	set := testStatefulSet(2)
	set.Spec.MinReadySeconds = 10
	w, r := statefulWorld(t, set)
	w.Run(r)
	w.SetReady(w.Pods("default")[0])
	want(t, w.Run(r), `status StatefulSet db: status.readyReplicas=1`)
	w.Advance(10 * time.Second)
	want(t, w.Run(r), `
create Pod db-1: owner=db
status StatefulSet db: status.availableReplicas=1
event Normal SuccessfulCreate Create Pod db-1 in StatefulSet db successful
status StatefulSet db: status.currentReplicas=2 status.replicas=2 status.updatedReplicas=2`)
}

func TestStatefulSetReplacesFailedPod(t *testing.T) {
	w, r := statefulWorld(t, testStatefulSet(1))
	settleSet(w, r)
	w.SetPhase(w.Pods("default")[0], corev1.PodFailed)
	want(t, w.Run(r), `
delete Pod db-0: (gone)
status StatefulSet db: status.availableReplicas=0 status.readyReplicas=-
event Normal SuccessfulDelete Delete Pod db-0 in StatefulSet db successful
create Pod db-0: owner=db
status StatefulSet db: status.currentReplicas=- status.replicas=0 status.updatedReplicas=-
event Normal SuccessfulCreate Create Pod db-0 in StatefulSet db successful
status StatefulSet db: status.currentReplicas=1 status.replicas=1 status.updatedReplicas=1`)
}

func TestStatefulSetClaims(t *testing.T) {
	set := testStatefulSet(2)
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
	set.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
		WhenDeleted: appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
		WhenScaled:  appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
	}
	w, r := statefulWorld(t, set)
	want(t, w.Run(r), `
create ControllerRevision db-774477d5b4: owner=db
create PersistentVolumeClaim data-db-0
create Pod db-0: owner=db
status StatefulSet db: status.collisionCount=0 status.currentRevision="db-774477d5b4" status.observedGeneration=1 status.updateRevision="db-774477d5b4"
event Normal SuccessfulCreate Create Claim data-db-0 Pod db-0 in StatefulSet db success
event Normal SuccessfulCreate Create Pod db-0 in StatefulSet db successful
status StatefulSet db: status.currentReplicas=1 status.replicas=1 status.updatedReplicas=1`)
	settleSet(w, r)
	if v := w.Pods("default")[1].Spec.Volumes; len(v) != 1 || v[0].PersistentVolumeClaim.ClaimName != "data-db-1" {
		t.Errorf("volumes of db-1: %v", v)
	}
	// The pod that is scaled away takes its claim with it.
	controltest.Update(w, set, func(s *appsv1.StatefulSet) { s.Spec.Replicas = ptr.To(int32(1)) })
	w.Run(r)
	claim := controltest.Get(w, "default", "data-db-1", &corev1.PersistentVolumeClaim{})
	if len(claim.OwnerReferences) != 1 || claim.OwnerReferences[0].Kind != "Pod" || claim.OwnerReferences[0].Name != "db-1" {
		t.Errorf("owners of data-db-1: %v", claim.OwnerReferences)
	}
	// Until the claim is gone its pod is not made again.
	controltest.Update(w, set, func(s *appsv1.StatefulSet) { s.Spec.Replicas = ptr.To(int32(2)) })
	w.Run(r)
	if n := len(w.Pods("default")); n != 1 {
		t.Errorf("%d pods while data-db-1 belongs to the old pod, want 1", n)
	}
}

// Pods that are created in parallel are not touched again before the cache shows them.
func TestStatefulSetParallelClaims(t *testing.T) {
	set := testStatefulSet(2)
	set.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
	set.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
		WhenDeleted: appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
		WhenScaled:  appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
	}
	w, r := statefulWorld(t, set)
	for _, line := range strings.Split(w.Run(r), "\n") {
		if strings.HasPrefix(line, "update Pod") || strings.Contains(line, "Failed") {
			t.Errorf("unexpected: %s", line)
		}
	}
	claim := controltest.Get(w, "default", "data-db-1", &corev1.PersistentVolumeClaim{})
	if len(claim.OwnerReferences) != 1 || claim.OwnerReferences[0].Kind != "StatefulSet" {
		t.Errorf("owners of data-db-1: %v", claim.OwnerReferences)
	}
}

func TestClaimOwners(t *testing.T) {
	const keep, drop = appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	for _, c := range []struct {
		scaled, deleted appsv1.PersistentVolumeClaimRetentionPolicyType
		pod, want       string
	}{
		{keep, keep, "db-0", ""}, {keep, keep, "db-9", ""},
		{keep, drop, "db-0", "StatefulSet"}, {keep, drop, "db-9", "StatefulSet"},
		{drop, keep, "db-0", ""}, {drop, keep, "db-9", "Pod"},
		{drop, drop, "db-0", "StatefulSet"}, {drop, drop, "db-9", "Pod"},
	} {
		set := testStatefulSet(1)
		set.UID = "s"
		set.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenScaled: c.scaled, WhenDeleted: c.deleted}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: c.pod, UID: "p"}}
		claim := &corev1.PersistentVolumeClaim{}
		setClaimOwners(claim, set, pod)
		got := ""
		for _, ref := range claim.OwnerReferences {
			got += ref.Kind
		}
		if got != c.want || !claimOwnersMatch(claim, set, pod) {
			t.Errorf("scaled %s, deleted %s, %s: owners %q, want %q", c.scaled, c.deleted, c.pod, got, c.want)
		}
		// Another controller is left alone.
		other := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "x/v1", Kind: "X", Name: "x", UID: "x", Controller: ptr.To(true)}}}}
		setClaimOwners(other, set, pod)
		if c.scaled == drop || c.deleted == drop {
			if len(other.OwnerReferences) != 1 || !claimOwnersMatch(other, set, pod) {
				t.Errorf("claim of another controller: owners %v", other.OwnerReferences)
			}
		}
	}
}

func TestPodOrdinal(t *testing.T) {
	for name, want := range map[string]struct {
		parent  string
		ordinal int
	}{"db-0": {"db", 0}, "a-b-12": {"a-b", 12}, "db": {"", -1}, "db-": {"", -1}, "db-x1": {"", -1}, "db-99999999999": {"db", -1}} {
		parent, ordinal := podOrdinal(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if parent != want.parent || ordinal != want.ordinal {
			t.Errorf("%s: %q %d, want %q %d", name, parent, ordinal, want.parent, want.ordinal)
		}
	}
}
