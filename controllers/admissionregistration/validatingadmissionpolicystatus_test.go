package admissionregistration

import (
	"encoding/json"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestPolicyStatus(t *testing.T) {
	warning := admissionregistrationv1.ExpressionWarning{FieldRef: "spec.validations[0].expression", Warning: "apps/v1, Kind=Deployment: no such field"}
	for name, c := range map[string]struct {
		generation, observed int64
		warnings             []admissionregistrationv1.ExpressionWarning
		want                 string
	}{
		"new":     {1, 0, nil, `{"observedGeneration":1,"typeChecking":{}}`},
		"wrong":   {2, 1, []admissionregistrationv1.ExpressionWarning{warning}, `{"observedGeneration":2,"typeChecking":{"expressionWarnings":[{"fieldRef":"spec.validations[0].expression","warning":"apps/v1, Kind=Deployment: no such field"}]}}`},
		"checked": {2, 2, []admissionregistrationv1.ExpressionWarning{warning}, `{"observedGeneration":2}`},
	} {
		t.Run(name, func(t *testing.T) {
			p := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: c.generation},
				Status: admissionregistrationv1.ValidatingAdmissionPolicyStatus{ObservedGeneration: c.observed}}
			kube := kubefake.NewClientset(p)
			r := &PolicyStatus{
				Client: fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(p).Build(), Kube: kube,
				Check: func(*admissionregistrationv1.ValidatingAdmissionPolicy) []admissionregistrationv1.ExpressionWarning {
					return c.warnings
				},
			}
			if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "p"}}); err != nil {
				t.Fatal(err)
			}
			got, err := kube.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), "p", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := json.Marshal(got.Status); string(text) != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
}
