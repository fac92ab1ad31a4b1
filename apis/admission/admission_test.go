package admission

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
)

// call is one admission request.
type call struct {
	resource, sub string
	group         string
	namespace     string
	name          string
	obj, old      runtime.Object
	op            admission.Operation
	user          user.Info
}

func (c call) attributes() admission.Attributes {
	gvr := schema.GroupVersionResource{Group: c.group, Version: "v1", Resource: c.resource}
	kinds := map[string]string{"pods": "Pod", "nodes": "Node", "namespaces": "Namespace", "priorityclasses": "PriorityClass"}
	var options runtime.Object = &metav1.CreateOptions{}
	if c.op == "" {
		c.op = admission.Create
	}
	if c.user == nil {
		c.user = &user.DefaultInfo{Name: "ann"}
	}
	return admission.NewAttributesRecord(c.obj, c.old, gvr.GroupVersion().WithKind(kinds[c.resource]), c.namespace, c.name, gvr, c.sub, c.op, options, false, c.user)
}

// world is a set of plugins over a fake API with objects.
type world struct {
	plugins map[string]admission.Interface
	client  kubernetes.Interface
}

func newWorld(t *testing.T, allow func(authorizer.Attributes) bool, objects ...runtime.Object) *world {
	t.Helper()
	client := fake.NewClientset(objects...)
	f := informers.NewSharedInformerFactory(client, 0)
	config := configs{
		"EventRateLimit":           "limits: [{type: Namespace, qps: 1, burst: 2}]",
		"PodNodeSelector":          "podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: 'env=prod', strict: 'env=prod'}",
		"PodTolerationRestriction": "whitelist: [{key: a, operator: Exists}]",
	}
	list, err := Plugins(Options{Context: t.Context(), Admits: func(string) bool { return true }, Config: config, Client: client, Informers: f,
		Served: func(schema.GroupVersionResource) bool { return true },
		Authorizer: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if allow != nil && allow(a) {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "", nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); f.Shutdown() })
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	w := &world{map[string]admission.Interface{}, client}
	for _, p := range list {
		w.plugins[p.Name] = p.Plugin
	}
	return w
}

// configs are plugins' own configurations.
type configs map[string]string

func (c configs) ConfigFor(plugin string) (io.Reader, error) {
	if text, ok := c[plugin]; ok {
		return strings.NewReader(text), nil
	}
	return nil, nil
}

// do runs one plugin, both phases, and returns its refusal.
func (w *world) do(t *testing.T, plugin string, c call) string {
	t.Helper()
	p, ok := w.plugins[plugin]
	if !ok {
		t.Fatalf("no plugin %s", plugin)
	}
	a := c.attributes()
	if !p.Handles(a.GetOperation()) {
		return ""
	}
	if m, ok := p.(admission.MutationInterface); ok {
		if err := m.Admit(context.Background(), a, nil); err != nil {
			return err.Error()
		}
	}
	if v, ok := p.(admission.ValidationInterface); ok {
		if err := v.Validate(context.Background(), a, nil); err != nil {
			return err.Error()
		}
	}
	return ""
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if (want == "") != (got == "") || !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func newPod(f func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c"}}, InitContainers: []corev1.Container{{Name: "i"}},
	}}
	if f != nil {
		f(p)
	}
	return p
}

func TestServiceAccount(t *testing.T) {
	w := newWorld(t, nil,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "default"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "silent"}, AutomountServiceAccountToken: ptr.To(false)},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "strict", Annotations: map[string]string{enforceMountable: "true"}}},
	)
	create := func(p *corev1.Pod) string {
		return w.do(t, "ServiceAccount", call{resource: "pods", namespace: "ns", obj: p})
	}
	t.Run("defaults", func(t *testing.T) {
		p := newPod(nil)
		expect(t, create(p), "")
		if p.Spec.ServiceAccountName != "default" || len(p.Spec.ImagePullSecrets) != 1 || len(p.Spec.Volumes) != 1 {
			t.Fatalf("%+v", p.Spec)
		}
		v := p.Spec.Volumes[0]
		if !strings.HasPrefix(v.Name, "kube-api-access-") || len(v.Projected.Sources) != 3 || *v.Projected.Sources[0].ServiceAccountToken.ExpirationSeconds != 3607 {
			t.Errorf("%+v", v)
		}
		for _, c := range append(p.Spec.Containers, p.Spec.InitContainers...) {
			if len(c.VolumeMounts) != 1 || c.VolumeMounts[0].Name != v.Name || c.VolumeMounts[0].MountPath != tokenMountPath || !c.VolumeMounts[0].ReadOnly {
				t.Errorf("%s: %+v", c.Name, c.VolumeMounts)
			}
		}
	})
	t.Run("own mount", func(t *testing.T) {
		p := newPod(func(p *corev1.Pod) {
			p.Spec.InitContainers = nil
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "mine", MountPath: tokenMountPath}}
		})
		expect(t, create(p), "")
		if len(p.Spec.Volumes) != 0 {
			t.Errorf("%+v", p.Spec.Volumes)
		}
	})
	t.Run("account says no", func(t *testing.T) {
		p := newPod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "silent" })
		expect(t, create(p), "")
		if len(p.Spec.Volumes) != 0 {
			t.Errorf("%+v", p.Spec.Volumes)
		}
	})
	t.Run("pod says yes", func(t *testing.T) {
		p := newPod(func(p *corev1.Pod) {
			p.Spec.ServiceAccountName, p.Spec.AutomountServiceAccountToken = "silent", ptr.To(true)
		})
		expect(t, create(p), "")
		if len(p.Spec.Volumes) != 1 {
			t.Errorf("%+v", p.Spec.Volumes)
		}
	})
	t.Run("missing account", func(t *testing.T) {
		expect(t, create(newPod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "gone" })), `error looking up service account ns/gone: serviceaccount "gone" not found`)
	})
	t.Run("secret of a strict account", func(t *testing.T) {
		expect(t, create(newPod(func(p *corev1.Pod) {
			p.Spec.ServiceAccountName = "strict"
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "x"}}}}
		})), `volume with secret.secretName="x" is not allowed because service account strict does not reference that secret`)
	})
	t.Run("mirror pod", func(t *testing.T) {
		mirror := map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		expect(t, create(newPod(func(p *corev1.Pod) { p.Annotations = mirror })), "")
		expect(t, create(newPod(func(p *corev1.Pod) { p.Annotations, p.Spec.ServiceAccountName = mirror, "default" })), "a mirror pod may not reference service accounts")
	})
}

func TestPriority(t *testing.T) {
	w := newWorld(t, nil,
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000, PreemptionPolicy: ptr.To(corev1.PreemptNever)},
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "usual"}, Value: 5, GlobalDefault: true},
	)
	create := func(p *corev1.Pod) string {
		return w.do(t, "Priority", call{resource: "pods", namespace: "ns", obj: p})
	}
	p := newPod(func(p *corev1.Pod) { p.Spec.PriorityClassName = "high" })
	expect(t, create(p), "")
	if *p.Spec.Priority != 1000 || *p.Spec.PreemptionPolicy != corev1.PreemptNever {
		t.Errorf("%+v", p.Spec)
	}
	p = newPod(nil)
	expect(t, create(p), "")
	if *p.Spec.Priority != 5 || p.Spec.PriorityClassName != "usual" {
		t.Errorf("%+v", p.Spec)
	}
	expect(t, create(newPod(func(p *corev1.Pod) { p.Spec.PriorityClassName = "gone" })), "no PriorityClass with name gone was found")
	expect(t, create(newPod(func(p *corev1.Pod) { p.Spec.Priority = ptr.To[int32](7) })), "the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 5 from the given PriorityClass name")
	class := func(op admission.Operation, name string) string {
		return w.do(t, "Priority", call{group: "scheduling.k8s.io", resource: "priorityclasses", op: op, obj: &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, GlobalDefault: true}})
	}
	expect(t, class(admission.Create, "other"), "PriorityClass usual is already marked as default. Only one default can exist")
	expect(t, class(admission.Update, "usual"), "")
	plain := newWorld(t, nil)
	p = newPod(nil)
	expect(t, plain.do(t, "Priority", call{resource: "pods", namespace: "ns", obj: p}), "")
	if *p.Spec.Priority != 0 || *p.Spec.PreemptionPolicy != corev1.PreemptLowerPriority {
		t.Errorf("%+v", p.Spec)
	}
}

func TestSmallDefaults(t *testing.T) {
	w := newWorld(t, nil)
	p := newPod(func(p *corev1.Pod) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}}
	})
	expect(t, w.do(t, "DefaultTolerationSeconds", call{resource: "pods", namespace: "ns", obj: p}), "")
	if len(p.Spec.Tolerations) != 2 || p.Spec.Tolerations[1].Key != corev1.TaintNodeUnreachable || *p.Spec.Tolerations[1].TolerationSeconds != 300 {
		t.Errorf("%+v", p.Spec.Tolerations)
	}
	n := &corev1.Node{}
	for range 2 { // the second time there is nothing to add
		expect(t, w.do(t, "TaintNodesByCondition", call{resource: "nodes", obj: n}), "")
	}
	if len(n.Spec.Taints) != 1 || n.Spec.Taints[0].Key != corev1.TaintNodeNotReady || n.Spec.Taints[0].Effect != corev1.TaintEffectNoSchedule {
		t.Errorf("%+v", n.Spec.Taints)
	}
}

func TestPodSecurity(t *testing.T) {
	w := newWorld(t, nil,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "strict", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}}})
	pod := newPod(func(p *corev1.Pod) { p.Spec.HostNetwork = true })
	expect(t, w.do(t, "PodSecurity", call{resource: "pods", namespace: "ns", obj: pod}), "")
	expect(t, w.do(t, "PodSecurity", call{resource: "pods", namespace: "strict", name: "p", obj: pod}), `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`)
}

func TestLimitRanger(t *testing.T) {
	q := resource.MustParse
	w := newWorld(t, nil, &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "l"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: corev1.LimitTypeContainer, Default: corev1.ResourceList{"cpu": q("500m")}, DefaultRequest: corev1.ResourceList{"cpu": q("100m")}, Max: corev1.ResourceList{"cpu": q("1")}, MaxLimitRequestRatio: corev1.ResourceList{"cpu": q("6")}},
		{Type: corev1.LimitTypePod, Min: corev1.ResourceList{"memory": q("1Gi")}},
	}}})
	create := func(p *corev1.Pod) string {
		return w.do(t, "LimitRanger", call{resource: "pods", namespace: "ns", obj: p})
	}
	one := func(requests, limits corev1.ResourceList) *corev1.Pod {
		return newPod(func(p *corev1.Pod) {
			p.Spec.InitContainers = nil
			p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: requests, Limits: limits}
		})
	}
	p := one(corev1.ResourceList{"memory": q("1Gi")}, nil)
	expect(t, create(p), "")
	if c := p.Spec.Containers[0].Resources; c.Limits.Cpu().Cmp(q("500m")) != 0 || c.Requests.Cpu().Cmp(q("100m")) != 0 {
		t.Errorf("%+v", c)
	}
	if a := p.Annotations[limitRangerAnnotation]; a != "LimitRanger plugin set: cpu request for container c; cpu limit for container c" {
		t.Errorf("%q", a)
	}
	expect(t, create(one(corev1.ResourceList{"memory": q("1Gi"), "cpu": q("1")}, corev1.ResourceList{"cpu": q("2")})), "maximum cpu usage per Container is 1, but limit is 2")
	expect(t, create(one(corev1.ResourceList{"memory": q("1Gi"), "cpu": q("10m")}, nil)), "cpu max limit to request ratio per Container is 6, but provided ratio is 50.000000")
	expect(t, create(one(nil, nil)), "minimum memory usage per Pod is 1Gi.  No request is specified")
	expect(t, create(one(corev1.ResourceList{"memory": q("1Mi")}, nil)), "minimum memory usage per Pod is 1Gi, but request is 1Mi")
}

func request(t *testing.T, cn string, org ...string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn, Organization: org}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestCertificates(t *testing.T) {
	w := newWorld(t, func(a authorizer.Attributes) bool {
		return a.GetUser().GetName() == "approver" && a.GetVerb() == "approve" && a.GetName() == "example.com/*" || a.GetUser().GetName() == "signer" && a.GetVerb() == "sign"
	})
	csr := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: "example.com/s"}}
	issued := csr.DeepCopy()
	issued.Status.Certificate = []byte("x")
	as := func(n string) user.Info { return &user.DefaultInfo{Name: n} }
	base := call{group: "certificates.k8s.io", resource: "certificatesigningrequests", op: admission.Update, obj: csr, old: csr}
	c := base
	c.sub, c.user = "approval", as("approver")
	expect(t, w.do(t, "CertificateApproval", c), "")
	c.user = as("signer")
	expect(t, w.do(t, "CertificateApproval", c), `user not permitted to approve requests with signerName "example.com/s"`)
	c = base
	c.sub, c.user = "status", as("ann")
	expect(t, w.do(t, "CertificateSigning", c), "") // nothing changed
	c.obj = issued
	expect(t, w.do(t, "CertificateSigning", c), `user not permitted to sign requests with signerName "example.com/s"`)
	c.user = as("signer")
	expect(t, w.do(t, "CertificateSigning", c), "")
	client := csr.DeepCopy()
	client.Spec = certificatesv1.CertificateSigningRequestSpec{SignerName: certificatesv1.KubeAPIServerClientSignerName, Request: request(t, "x", "system:masters")}
	expect(t, w.do(t, "CertificateSubjectRestriction", call{group: "certificates.k8s.io", resource: "certificatesigningrequests", obj: client}), "signer with system:masters group is not allowed")
}

func TestNodeRestriction(t *testing.T) {
	bound := newPod(func(p *corev1.Pod) {
		p.UID, p.Spec.NodeName = "u1", "n1"
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Projected: tokenVolume()}}}
	})
	foreign := newPod(func(p *corev1.Pod) { p.Name, p.UID, p.Spec.NodeName = "q", "u2", "n2" })
	w := newWorld(t, nil, bound, foreign, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "node-1"}})
	node := &user.DefaultInfo{Name: "system:node:n1", Groups: []string{user.NodesGroup}}
	token := func(pod, uid string, audiences ...string) runtime.Object {
		return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod, UID: types.UID("u" + uid)}}}
	}
	mirror := func(f func(*corev1.Pod)) *corev1.Pod {
		return newPod(func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
			p.Spec.NodeName = "n1"
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "node-1", Controller: ptr.To(true)}}
			if f != nil {
				f(p)
			}
		})
	}
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	changed := func(f func(*corev1.Node)) *corev1.Node { n := own.DeepCopy(); f(n); return n }
	tests := []struct {
		name string
		c    call
		want string
	}{
		{"not a node", call{resource: "nodes", name: "n2", op: admission.Delete, user: &user.DefaultInfo{Name: "ann"}}, ""},
		{"other node", call{resource: "nodes", name: "n2", op: admission.Update, obj: own, old: own}, `node "n1" is not allowed to modify node "n2"`},
		{"own node", call{resource: "nodes", name: "n1", op: admission.Update, obj: own, old: own}, ""},
		{"own taints", call{resource: "nodes", name: "n1", op: admission.Update, obj: changed(func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "x"}} }), old: own}, "is not allowed to modify taints"},
		{"own label", call{resource: "nodes", name: "n1", op: admission.Update, obj: changed(func(n *corev1.Node) { n.Labels = map[string]string{"kubernetes.io/hostname": "h", "mine": "x"} }), old: own}, ""},
		{"reserved label", call{resource: "nodes", name: "n1", op: admission.Update, obj: changed(func(n *corev1.Node) { n.Labels = map[string]string{"node-restriction.kubernetes.io/a": "x"} }), old: own}, "is not allowed to modify labels: node-restriction.kubernetes.io/a"},
		{"role label", call{resource: "nodes", name: "n1", obj: changed(func(n *corev1.Node) { n.Labels = map[string]string{"node-role.kubernetes.io/x": ""} })}, "is not allowed to set the following labels: node-role.kubernetes.io/x"},
		{"status of own pod", call{resource: "pods", sub: "status", namespace: "ns", name: "p", op: admission.Update, obj: bound, old: bound}, ""},
		{"status of foreign pod", call{resource: "pods", sub: "status", namespace: "ns", name: "q", op: admission.Update, obj: foreign, old: foreign}, "can only update pod status for pods with spec.nodeName set to itself"},
		{"delete own pod", call{resource: "pods", namespace: "ns", name: "p", op: admission.Delete}, ""},
		{"delete foreign pod", call{resource: "pods", namespace: "ns", name: "q", op: admission.Delete}, "can only delete pods with spec.nodeName set to itself"},
		{"create a pod", call{resource: "pods", namespace: "ns", obj: newPod(nil)}, "can only create mirror pods"},
		{"create a mirror pod", call{resource: "pods", namespace: "ns", obj: mirror(nil)}, ""},
		{"mirror pod elsewhere", call{resource: "pods", namespace: "ns", obj: mirror(func(p *corev1.Pod) { p.Spec.NodeName = "n2" })}, "can only create pods with spec.nodeName set to itself"},
		{"mirror pod with secret", call{resource: "pods", namespace: "ns", obj: mirror(func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "x"}} })}, "can not create pods that reference secrets"},
		{"exec", call{resource: "pods", sub: "exec", namespace: "ns", name: "p"}, "unexpected pod subresource"},
		{"own lease", call{group: "coordination.k8s.io", resource: "leases", namespace: "kube-node-lease", obj: &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}}, ""},
		{"other lease", call{group: "coordination.k8s.io", resource: "leases", namespace: "kube-node-lease", obj: &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}}, "can only access node lease with the same name"},
		{"token for own pod", call{resource: "serviceaccounts", sub: "token", namespace: "ns", name: "default", obj: token("p", "1")}, ""},
		{"token for foreign pod", call{resource: "serviceaccounts", sub: "token", namespace: "ns", name: "default", obj: token("q", "2")}, "bound to a pod scheduled on a different node"},
		{"token with old uid", call{resource: "serviceaccounts", sub: "token", namespace: "ns", name: "default", obj: token("p", "9")}, "does not match the UID in record"},
		{"token for an audience the pod does not name", call{resource: "serviceaccounts", sub: "token", namespace: "ns", name: "default", obj: token("p", "1", "vault")}, `audience "vault" not found in pod spec volume`},
		{"unbound token", call{resource: "serviceaccounts", sub: "token", namespace: "ns", name: "default", obj: &authenticationv1.TokenRequest{}}, "node requested token not bound to a pod"},
		{"own certificate", call{group: "certificates.k8s.io", resource: "certificatesigningrequests", obj: nodeCSR(t, "system:node:n1")}, ""},
		{"other certificate", call{group: "certificates.k8s.io", resource: "certificatesigningrequests", obj: nodeCSR(t, "system:node:n2")}, "can only create a node CSR with CN=system:node:n1"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if tc.c.user == nil {
				tc.c.user = node
			}
			expect(t, w.do(t, "NodeRestriction", tc.c), tc.want)
		})
	}
}

func nodeCSR(t *testing.T, cn string) *certificatesv1.CertificateSigningRequest {
	return &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
		SignerName: certificatesv1.KubeletServingSignerName, Request: request(t, cn, "system:nodes")}}
}

func TestPluginsNeedTheirKinds(t *testing.T) {
	client := fake.NewClientset()
	config := configs{
		"EventRateLimit":           "limits: [{type: Namespace, qps: 1, burst: 2}]",
		"PodNodeSelector":          "podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: 'env=prod', strict: 'env=prod'}",
		"PodTolerationRestriction": "whitelist: [{key: a, operator: Exists}]",
	}
	list, err := Plugins(Options{Context: t.Context(), Admits: func(string) bool { return true }, Config: config, Client: client, Informers: informers.NewSharedInformerFactory(client, 0), Authorizer: authorizer.AuthorizerFunc(nil)})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Name == "RuntimeClass" || p.Name == "LimitRanger" {
			t.Errorf("%s must be left out while its kind is not served", p.Name)
		}
	}
	if _, err := Plugins(Options{}); err == nil {
		t.Error("missing dependencies must be an error")
	}
}
