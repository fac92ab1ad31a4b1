package admission

import (
	"context"
	"errors"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

var errRefused = errors.New("refused")

type refusing struct{ *admission.Handler }

func (refusing) Validate(context.Context, admission.Attributes, admission.ObjectInterfaces) error {
	return errRefused
}

// TestOnDemand: the plugin runs while a policy and a binding exist, from the
// first request on if they exist at the start.
func TestOnDemand(t *testing.T) {
	client := fake.NewClientset(
		&admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}})
	f := informers.NewSharedInformerFactory(client, 0)
	v := f.Admissionregistration().V1()
	started := make(chan context.Context, 9)
	d, err := newOnDemand(Options{Context: t.Context()}, func(ctx context.Context) (admission.Interface, error) {
		started <- ctx
		return refusing{}, nil
	}, v.ValidatingAdmissionPolicies().Informer(), v.ValidatingAdmissionPolicyBindings().Informer())
	if err != nil {
		t.Fatal(err)
	}
	d.Handler = admission.NewHandler(admission.Create)
	f.Start(t.Context().Done())
	t.Cleanup(f.Shutdown)
	ask := func() error { return onDemandValidation{d}.Validate(t.Context(), nil, nil) }
	become := func(want error) {
		t.Helper()
		if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
			return errors.Is(ask(), want), nil
		}); err != nil {
			t.Errorf("never answered %v", want)
		}
	}
	if err := ask(); !errors.Is(err, errRefused) {
		t.Errorf("a request right after the start passes the policy: %v", err)
	}
	first := <-started
	bindings := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	if err := bindings.Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	become(nil)
	<-first.Done()
	if _, err := bindings.Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	become(errRefused)
	if again := <-started; again.Err() != nil {
		t.Error("stopped while a policy is bound")
	}
}
