package bootstrap

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func role(name string, labels map[string]string, resources ...string) rbacv1.ClusterRole {
	r := rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	for _, x := range resources {
		r.Rules = append(r.Rules, rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{x}})
	}
	return r
}

func aggregated(name string, selectors ...map[string]string) rbacv1.ClusterRole {
	r := role(name, nil)
	r.AggregationRule = &rbacv1.AggregationRule{}
	for _, s := range selectors {
		r.AggregationRule.ClusterRoleSelectors = append(r.AggregationRule.ClusterRoleSelectors, metav1.LabelSelector{MatchLabels: s})
	}
	return r
}

func TestAggregate(t *testing.T) {
	a, b := map[string]string{"a": "1"}, map[string]string{"b": "1"}
	self := aggregated("all", a, b)
	self.Labels, self.Rules = a, role("", nil, "never").Rules
	all := []rbacv1.ClusterRole{self, role("z", a, "pods", "nodes"), role("c", a, "secrets"), role("d", b, "pods", "services"), role("e", nil, "nothing")}
	got, err := aggregate(&all[0], all)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(role("", nil, "secrets", "pods", "nodes", "services").Rules, got); diff != "" {
		t.Error(diff)
	}
	bad := aggregated("bad")
	bad.AggregationRule.ClusterRoleSelectors = []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "?"}}}}
	if _, err := aggregate(&bad, nil); err == nil {
		t.Error("a broken selector must be an error")
	}
}

func TestClusterRoleAggregation(t *testing.T) {
	a := map[string]string{"a": "1"}
	agg, part := aggregated("all", a), role("part", a, "pods")
	kube := kubefake.NewClientset(agg.DeepCopy())
	r := &ClusterRoleAggregation{Client: fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(&agg, &part).Build(), Kube: kube}
	if _, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "all"}}); err != nil {
		t.Fatal(err)
	}
	got, err := kube.RbacV1().ClusterRoles().Get(context.Background(), "all", metav1.GetOptions{})
	if err != nil || len(got.Rules) != 1 || got.AggregationRule == nil {
		t.Errorf("%+v, %v", got, err)
	}
	kube.ClearActions()
	for _, name := range []string{"part", "gone"} {
		if _, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: name}}); err != nil {
			t.Error(err)
		}
	}
	if n := len(kube.Actions()); n != 0 {
		t.Errorf("%d requests for roles that aggregate nothing", n)
	}
}

func TestTokenCleaner(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		kind       corev1.SecretType
		expiration string
		gone       bool
		wait       time.Duration
	}{
		"expired":        {kind: "bootstrap.kubernetes.io/token", expiration: "2025-12-31T00:00:00Z", gone: true},
		"not yet":        {kind: "bootstrap.kubernetes.io/token", expiration: "2026-01-01T01:00:00Z", wait: time.Hour},
		"without an end": {kind: "bootstrap.kubernetes.io/token"},
		"another type":   {kind: "Opaque", expiration: "2025-12-31T00:00:00Z"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-abcdef", UID: "u"}, Type: tc.kind, Data: map[string][]byte{}}
			if tc.expiration != "" {
				s.Data["expiration"] = []byte(tc.expiration)
			}
			c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(s).Build()
			r := &TokenCleaner{Client: c, Live: c, Now: func() time.Time { return now }}
			result, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(s)})
			if err != nil || result.RequeueAfter != tc.wait {
				t.Errorf("%v, %v", result, err)
			}
			if gone := c.Get(context.Background(), client.ObjectKeyFromObject(s), s) != nil; gone != tc.gone {
				t.Errorf("gone: %v", gone)
			}
		})
	}
}
