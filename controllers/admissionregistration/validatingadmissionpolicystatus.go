package admissionregistration

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	apply "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// policyStatusManager is the field manager of policies' statuses.
const policyStatusManager = "validatingadmissionpolicy-status-controller"

// PolicyStatus checks the expressions of ValidatingAdmissionPolicies against the
// types that they match, and says in their status what is wrong with them (KEP-3488).
type PolicyStatus struct {
	Client client.Reader
	Kube   kubernetes.Interface
	// Check finds what is wrong with a policy's expressions.
	Check func(*admissionregistrationv1.ValidatingAdmissionPolicy) []admissionregistrationv1.ExpressionWarning
}

// SetupPolicyStatus registers the controller. The types come from the API
// server's OpenAPI documents, read when a policy is new or changed.
func SetupPolicyStatus(env *control.Env) error {
	checker := &validating.TypeChecker{
		SchemaResolver: &resolver.ClientDiscoveryResolver{Discovery: env.Discovery},
		RestMapper:     env.Manager.GetRESTMapper(),
	}
	return ctrl.NewControllerManagedBy(env.Manager).
		Named("validatingadmissionpolicy-status").
		For(&admissionregistrationv1.ValidatingAdmissionPolicy{}, builder.WithPredicates(predicate.NewPredicateFuncs(unchecked))).
		Complete(&PolicyStatus{env.Client(), env.Kube, checker.Check})
}

// unchecked reports whether the policy has changed since it was looked at.
func unchecked(obj client.Object) bool {
	p, ok := obj.(*admissionregistrationv1.ValidatingAdmissionPolicy)
	return ok && p.Generation > p.Status.ObservedGeneration
}

// Reconcile checks one policy.
func (r *PolicyStatus) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var p admissionregistrationv1.ValidatingAdmissionPolicy
	if err := r.Client.Get(ctx, req.NamespacedName, &p); err != nil || !unchecked(&p) {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	checked := apply.TypeChecking()
	for _, w := range r.Check(&p) {
		checked.WithExpressionWarnings(apply.ExpressionWarning().WithFieldRef(w.FieldRef).WithWarning(w.Warning))
	}
	_, err := r.Kube.AdmissionregistrationV1().ValidatingAdmissionPolicies().ApplyStatus(ctx,
		apply.ValidatingAdmissionPolicy(p.Name).WithStatus(apply.ValidatingAdmissionPolicyStatus().
			WithObservedGeneration(p.Generation).WithTypeChecking(checked)),
		metav1.ApplyOptions{FieldManager: policyStatusManager, Force: true})
	return reconcile.Result{}, client.IgnoreNotFound(err)
}
