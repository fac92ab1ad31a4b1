package authz

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func boundPod(name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: "app",
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
			Containers: []corev1.Container{{Env: []corev1.EnvVar{
				{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "env"}}}},
			}, EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "all"}}}}}},
			Volumes: []corev1.Volume{
				{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
				{Name: "p", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}}}}}}},
			},
		},
	}
}

func TestGraph(t *testing.T) {
	g := NewGraph()
	g.SetPod(boundPod("a", "n1"))
	g.SetPod(boundPod("b", "n1"))
	g.SetPod(boundPod("c", "n2"))
	mirror := boundPod("m", "n3")
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	g.SetPod(mirror)
	g.SetVolume(&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{
		ClaimRef: &corev1.ObjectReference{Namespace: "ns", Name: "data"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
			NodeStageSecretRef:         &corev1.SecretReference{Namespace: "store", Name: "stage"},
			ControllerPublishSecretRef: &corev1.SecretReference{Namespace: "store", Name: "controller"},
		}},
	}})
	g.SetOwned("volumeattachments", "", "va", "n2")

	type q struct{ node, resource, namespace, name string }
	check := func(when string, want map[q]bool) {
		t.Helper()
		for k, v := range want {
			if got := g.Related(k.node, k.resource, k.namespace, k.name); got != v {
				t.Errorf("%s: %v is %v", when, k, got)
			}
		}
	}
	check("start", map[q]bool{
		{"n1", "pods", "ns", "a"}: true, {"n2", "pods", "ns", "a"}: false,
		{"n1", "secrets", "ns", "env"}: true, {"n1", "secrets", "ns", "pull"}: true, {"n1", "secrets", "other", "env"}: false,
		{"n1", "configmaps", "ns", "all"}: true, {"n1", "configmaps", "ns", "kube-root-ca.crt"}: true,
		{"n1", "serviceaccounts", "ns", "app"}:         true,
		{"n1", "persistentvolumeclaims", "ns", "data"}: true,
		{"n1", "persistentvolumes", "", "pv"}:          true,
		{"n3", "persistentvolumes", "", "pv"}:          false,
		{"n1", "secrets", "store", "stage"}:            true,
		{"n1", "secrets", "store", "controller"}:       false,
		{"n3", "secrets", "store", "stage"}:            false,
		{"n2", "volumeattachments", "", "va"}:          true,
		{"n1", "volumeattachments", "", "va"}:          false,
		{"n3", "pods", "ns", "m"}:                      true,
		{"n3", "secrets", "ns", "env"}:                 false,
		{"nobody", "secrets", "ns", "env"}:             false,
		{"n1", "persistentvolumes", "", "another"}:     false,
		{"", "persistentvolumes", "", "another"}:       false,
	})
	g.DeletePod("ns", "a")
	check("one of two pods gone", map[q]bool{{"n1", "secrets", "ns", "env"}: true, {"n1", "pods", "ns", "a"}: false})
	g.DeletePod("ns", "b")
	check("both gone", map[q]bool{{"n1", "secrets", "ns", "env"}: false, {"n1", "secrets", "store", "stage"}: false, {"n2", "secrets", "store", "stage"}: true})
	g.DeleteVolume("pv")
	g.SetOwned("volumeattachments", "", "va", "")
	check("volume gone", map[q]bool{{"n2", "secrets", "store", "stage"}: false, {"n2", "persistentvolumes", "", "pv"}: false, {"n2", "volumeattachments", "", "va"}: false})
	g.DeletePod("ns", "c")
	g.DeletePod("ns", "m")
	if len(g.needs)+len(g.pods)+len(g.volumes)+len(g.volumeSecrets)+len(g.owned) != 0 {
		t.Errorf("left over: %+v", g)
	}
}

func TestNode(t *testing.T) {
	g := NewGraph()
	g.SetPod(boundPod("a", "n1"))
	g.SetOwned("resourceslices", "", "s1", "n1")
	g.SetOwned("podcertificaterequests", "ns", "r1", "n1")
	n := NewNode(g, []rbacv1.PolicyRule{{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"services"}}})
	n.patience = 0
	node1 := &user.DefaultInfo{Name: "system:node:n1", Groups: []string{"system:nodes"}}
	sel := func(v string) fields.Requirements {
		return fields.OneTermEqualSelector("spec.nodeName", v).Requirements()
	}
	tests := []struct {
		name                       string
		user                       user.Info
		verb, group, resource, sub string
		namespace, obj             string
		fields                     fields.Requirements
		allow                      bool
		reason                     string
	}{
		{name: "static rule", verb: "list", resource: "services", allow: true},
		{name: "nothing said", verb: "delete", resource: "services"},
		{name: "related secret", verb: "get", resource: "secrets", namespace: "ns", obj: "env", allow: true},
		{name: "watch related secret", verb: "watch", resource: "secrets", namespace: "ns", obj: "env", allow: true},
		{name: "unrelated secret", verb: "get", resource: "secrets", namespace: "ns", obj: "other", reason: "no relationship found between node 'n1' and this object"},
		{name: "all secrets", verb: "list", resource: "secrets", namespace: "ns", reason: "No Object name found"},
		{name: "write secret", verb: "update", resource: "secrets", namespace: "ns", obj: "env", reason: "can only read resources of this type"},
		{name: "own pods", verb: "watch", resource: "pods", fields: sel("n1"), allow: true},
		{name: "another's pods", verb: "list", resource: "pods", fields: sel("n2"), reason: "can only list/watch pods with spec.nodeName field selector"},
		{name: "own pod", verb: "get", resource: "pods", namespace: "ns", obj: "a", allow: true},
		{name: "pod status", verb: "patch", resource: "pods", sub: "status", namespace: "ns", obj: "a", allow: true},
		{name: "pod exec", verb: "create", resource: "pods", sub: "exec", namespace: "ns", obj: "a"},
		{name: "own node", verb: "get", resource: "nodes", obj: "n1", allow: true},
		{name: "another node", verb: "get", resource: "nodes", obj: "n2", reason: "node 'n1' cannot read 'n2', only its own Node object"},
		{name: "delete node", verb: "delete", resource: "nodes", obj: "n1"},
		{name: "token of own pod's account", verb: "create", resource: "serviceaccounts", sub: "token", namespace: "ns", obj: "app", allow: true},
		{name: "token of another account", verb: "create", resource: "serviceaccounts", sub: "token", namespace: "ns", obj: "x", reason: "no relationship found between node 'n1' and this object"},
		{name: "own lease", verb: "update", group: "coordination.k8s.io", resource: "leases", namespace: "kube-node-lease", obj: "n1", allow: true},
		{name: "another's lease", verb: "update", group: "coordination.k8s.io", resource: "leases", namespace: "kube-node-lease", obj: "n2", reason: "can only access node lease with the same name as the requesting node"},
		{name: "lease elsewhere", verb: "get", group: "coordination.k8s.io", resource: "leases", namespace: "ns", obj: "n1", reason: `can only access leases in the "kube-node-lease" system namespace`},
		{name: "own slice", verb: "update", group: "resource.k8s.io", resource: "resourceslices", obj: "s1", allow: true},
		{name: "another's slice", verb: "delete", group: "resource.k8s.io", resource: "resourceslices", obj: "s2", reason: "no relationship found between node 'n1' and this object"},
		{name: "new slice", verb: "create", group: "resource.k8s.io", resource: "resourceslices", allow: true},
		{name: "own slices", verb: "deletecollection", group: "resource.k8s.io", resource: "resourceslices", fields: sel("n1"), allow: true},
		{name: "all slices", verb: "list", group: "resource.k8s.io", resource: "resourceslices", reason: "can only list/watch/deletecollection resourceslices with nodeName field selector"},
		{name: "slice verb", verb: "bind", group: "resource.k8s.io", resource: "resourceslices", obj: "s1", reason: "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection"},
		{name: "own certificate request", verb: "get", group: "certificates.k8s.io", resource: "podcertificaterequests", namespace: "ns", obj: "r1", allow: true},
		{name: "another's certificate request", verb: "get", group: "certificates.k8s.io", resource: "podcertificaterequests", namespace: "ns", obj: "r2", reason: "no relationship found between node 'n1' and this object"},
		{name: "certificate request's status", verb: "update", group: "certificates.k8s.io", resource: "podcertificaterequests", sub: "status", namespace: "ns", obj: "r1", reason: "nodes may not access the status subresource of PodCertificateRequests"},
		{name: "delete certificate request", verb: "delete", group: "certificates.k8s.io", resource: "podcertificaterequests", namespace: "ns", obj: "r1", reason: "nodes may not delete podcertificaterequests"},
		{name: "no node", user: &user.DefaultInfo{Name: "ann"}, verb: "list", resource: "services"},
		{name: "node name without group", user: &user.DefaultInfo{Name: "system:node:n1"}, verb: "list", resource: "services"},
		{name: "node without name", user: &user.DefaultInfo{Name: "system:node:", Groups: []string{"system:nodes"}}, verb: "list", resource: "services", reason: `unknown node for user "system:node:"`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if tc.user == nil {
				tc.user = node1
			}
			got, reason, err := n.Authorize(context.Background(), authorizer.AttributesRecord{User: tc.user, Verb: tc.verb, APIGroup: tc.group, Resource: tc.resource, Subresource: tc.sub,
				Namespace: tc.namespace, Name: tc.obj, ResourceRequest: true, FieldSelectorRequirements: tc.fields})
			if err != nil || (got == authorizer.DecisionAllow) != tc.allow || got == authorizer.DecisionDeny || reason != tc.reason {
				t.Errorf("got %s %q %v", got, reason, err)
			}
		})
	}
}

func TestAwait(t *testing.T) {
	g := NewGraph()
	asked := make(chan bool)
	go func() { asked <- g.Await(context.Background(), "n1", "secrets", "ns", "env") }()
	g.SetPod(boundPod("other", "n2"))
	g.SetPod(boundPod("a", "n1"))
	if !<-asked {
		t.Error("must hear of the pod")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if g.Await(ctx, "n3", "secrets", "ns", "env") {
		t.Error("an unrelated node must be refused when its time is over")
	}
}
