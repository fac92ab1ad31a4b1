package storage

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"proa/controllers/control/controltest"
)

func testVolume(name, size string, change func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
	}, Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable}}
	if change != nil {
		change(v)
	}
	return v
}

func testClaim(change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", UID: "u"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}}
	if change != nil {
		change(c)
	}
	return c
}

func referring(uid types.UID) func(*corev1.PersistentVolume) {
	return func(v *corev1.PersistentVolume) {
		v.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: "ns", Name: "c", UID: uid}
	}
}

func (n *note) String() string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf(" %s %s: %s", n.kind, n.reason, n.message)
}

func TestPlanClaim(t *testing.T) {
	class := func(mode storagev1.VolumeBindingMode, provisioner string) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "s"}, VolumeBindingMode: &mode, Provisioner: provisioner}
	}
	now, later := storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer
	classed := func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = ptr.To("s") }
	names := func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "v" }
	bound := func(c *corev1.PersistentVolumeClaim) {
		c.Spec.VolumeName, c.Annotations = "v", map[string]string{volumehelpers.AnnBindCompleted: "yes"}
	}
	rwx := func(v *corev1.PersistentVolume) {
		v.Spec.AccessModes = append(v.Spec.AccessModes, corev1.ReadWriteMany)
	}
	volumes := func(v ...*corev1.PersistentVolume) claimView { return claimView{volumes: v} }
	for _, c := range []struct {
		name  string
		claim *corev1.PersistentVolumeClaim
		view  claimView
		want  string
	}{
		{"smallest", testClaim(nil), volumes(testVolume("big", "5Gi", nil), testVolume("fits", "2Gi", nil), testVolume("small", "1Mi", nil)), "bind fits fresh"},
		{"fewest modes", testClaim(nil), volumes(testVolume("a", "1Gi", rwx), testVolume("b", "3Gi", nil)), "bind b fresh"},
		{"reserved", testClaim(nil), volumes(testVolume("a", "1Gi", nil), testVolume("mine", "9Gi", referring(""))), "bind mine fresh"},
		{"of another", testClaim(nil), volumes(testVolume("a", "1Gi", referring("other"))), "phase Pending Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"},
		{"default class", testClaim(nil), claimView{defaultClass: "d"}, "class d"},
		{"no class wanted", testClaim(func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = ptr.To("") }), claimView{defaultClass: "d"}, "phase Pending Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"},
		{"waits", testClaim(classed), claimView{class: class(later, "x.io/p"), volumes: []*corev1.PersistentVolume{testVolume("a", "1Gi", func(v *corev1.PersistentVolume) { v.Spec.StorageClassName = "s" })}},
			"phase Pending Normal WaitForFirstConsumer: waiting for first consumer to be created before binding"},
		{"waits for pods", testClaim(classed), claimView{class: class(later, "x.io/p"), waiting: []string{"p", "q"}}, "phase Pending Normal WaitForPodScheduled: waiting for pods p,q to be scheduled"},
		{"node chosen", testClaim(func(c *corev1.PersistentVolumeClaim) {
			classed(c)
			c.Annotations = map[string]string{volumehelpers.AnnSelectedNode: "n"}
		}), claimView{class: class(later, "x.io/p")}, "provisioner x.io/p Normal ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'x.io/p' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."},
		{"not in tree", testClaim(classed), claimView{class: class(now, volumehelpers.NotSupportedProvisioner)}, " Warning ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner"},
		{"no such class", testClaim(classed), claimView{}, ` Warning ProvisioningFailed: storageclass.storage.k8s.io "s" not found`},
		{"names nothing", testClaim(names), claimView{}, "phase Pending"},
		{"names one", testClaim(names), claimView{named: testVolume("v", "1Gi", nil)}, "bind v fresh"},
		{"names a small one", testClaim(names), claimView{named: testVolume("v", "1Mi", nil)}, `phase Pending Warning VolumeMismatch: Cannot bind to requested volume "v": requested PV is too small`},
		{"names its own", testClaim(names), claimView{named: testVolume("v", "1Gi", referring("u"))}, "bind v"},
		{"names another's", testClaim(names), claimView{named: testVolume("v", "1Gi", referring("x"))}, `phase Pending Warning FailedBinding: volume "v" already bound to a different claim.`},
		{"bound", testClaim(bound), claimView{named: testVolume("v", "1Gi", referring("u"))}, "bind v"},
		{"volume gone", testClaim(bound), claimView{}, "phase Lost Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"},
		{"volume has another", testClaim(bound), claimView{named: testVolume("v", "1Gi", referring("x"))}, "phase Lost Warning ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly"},
	} {
		p, err := planClaim(c.claim, c.view)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := ""
		switch {
		case p.bind != nil:
			got = "bind " + p.bind.Name
			if p.fresh {
				got += " fresh"
			}
		case p.class != "":
			got = "class " + p.class
		case p.provisioner != "":
			got = "provisioner " + p.provisioner
		case p.phase != "":
			got = "phase " + string(p.phase)
		}
		if got += p.event.String(); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestPlanVolume(t *testing.T) {
	claim := func(volume string) *corev1.PersistentVolumeClaim {
		return testClaim(func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = volume })
	}
	released := func(policy corev1.PersistentVolumeReclaimPolicy, change func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
		return testVolume("v", "1Gi", func(v *corev1.PersistentVolume) {
			referring("u")(v)
			v.Spec.PersistentVolumeReclaimPolicy, v.Status.Phase = policy, corev1.VolumeReleased
			if change != nil {
				change(v)
			}
		})
	}
	csi := func(v *corev1.PersistentVolume) { v.Spec.CSI = &corev1.CSIPersistentVolumeSource{} }
	for _, c := range []struct {
		name  string
		v     *corev1.PersistentVolume
		claim *corev1.PersistentVolumeClaim
		want  string
	}{
		{"free", testVolume("v", "1Gi", nil), nil, "phase Available"},
		{"reserved", testVolume("v", "1Gi", referring("")), nil, "phase Available"},
		{"bound", testVolume("v", "1Gi", referring("u")), claim("v"), "phase Bound"},
		{"half bound", testVolume("v", "1Gi", referring("u")), claim(""), "claim"},
		{"bound elsewhere", testVolume("v", "1Gi", referring("u")), claim("w"), "unbind phase Available"},
		{"claim gone", testVolume("v", "1Gi", referring("u")), nil, "phase Released"},
		{"kept", released(corev1.PersistentVolumeReclaimRetain, nil), nil, ""},
		{"deleted outside", released(corev1.PersistentVolumeReclaimDelete, csi), nil, ""},
		{"cannot delete", released(corev1.PersistentVolumeReclaimDelete, nil), nil, `phase Failed Warning VolumeFailedDelete: error getting deleter volume plugin for volume "v": no deletable volume plugin matched`},
		{"cannot recycle", released(corev1.PersistentVolumeReclaimRecycle, nil), nil, "phase Failed Warning VolumeFailedRecycle: No recycler plugin found for the volume!"},
		{"other mode", testVolume("v", "1Gi", func(v *corev1.PersistentVolume) {
			referring("u")(v)
			v.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock)
		}), claim(""), ` Warning VolumeMismatch: Cannot bind PersistentVolume to requested PersistentVolumeClaim "c" due to incompatible volumeMode.`},
	} {
		p := planVolume(c.v, c.claim)
		got := ""
		if p.unbind {
			got = "unbind "
		}
		if p.claim {
			got += "claim"
		}
		if p.phase != "" {
			got += "phase " + string(p.phase)
		}
		if got += p.event.String(); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// TestBinding: a claim gets a volume, keeps it, and releases it.
func TestBinding(t *testing.T) {
	claim := testClaim(func(c *corev1.PersistentVolumeClaim) { c.UID = "u" })
	v := testVolume("v", "2Gi", func(v *corev1.PersistentVolume) { v.Status.Phase = "" })
	w := controltest.New(t, claim)
	claims := &ClaimBinder{Client: w.Client, Live: w.Client, Events: w.Recorder()}
	volumes := &VolumeBinder{w.Client, w.Client, w.Recorder()}
	step := func(want string) {
		t.Helper()
		w.Queue.Add(request("ns", "c"))
		got := w.Run(claims)
		w.Queue.Add(request("", "v"))
		if got += "\n" + w.Run(volumes); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	step("event Normal FailedBinding no persistent volumes available for this claim and no storage class is set\n")
	w.Do(func() {
		if err := w.Client.Create(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	})
	step("event Normal FailedBinding no persistent volumes available for this claim and no storage class is set\nstatus PersistentVolume v: status.phase=\"Available\"")
	step(`update PersistentVolume v: annotations.pv.kubernetes.io/bound-by-controller="yes" spec.claimRef.apiVersion="v1" spec.claimRef.kind="PersistentVolumeClaim" spec.claimRef.name="c" spec.claimRef.namespace="ns" spec.claimRef.resourceVersion="2" spec.claimRef.uid="u"
status PersistentVolume v: status.phase="Bound"
update PersistentVolumeClaim c: annotations.pv.kubernetes.io/bind-completed="yes" annotations.pv.kubernetes.io/bound-by-controller="yes" spec.volumeName="v"
status PersistentVolumeClaim c: status.accessModes=["ReadWriteOnce"] status.capacity.storage="2Gi" status.phase="Bound"
`)
	step("\n")
	w.Delete(claim)
	step("\nstatus PersistentVolume v: status.phase=\"Released\"")
}
