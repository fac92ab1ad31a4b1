package bootstrap

import (
	"context"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"proa/controllers/control"
)

// ClusterRoleAggregation gives cluster roles with an aggregationRule the rules of
// all cluster roles that its selectors match.
type ClusterRoleAggregation struct {
	Client client.Client
	Kube   kubernetes.Interface
}

// SetupClusterRoleAggregation registers the controller.
func SetupClusterRoleAggregation(env *control.Env) error {
	return (&ClusterRoleAggregation{Client: env.Client(), Kube: env.Kube}).SetupWithManager(env.Manager)
}

// SetupWithManager registers the controller with a manager. Any change of a
// cluster role may change every aggregated one; there are few of these.
func (c *ClusterRoleAggregation) SetupWithManager(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).Named("clusterrole-aggregation").
		Watches(&rbacv1.ClusterRole{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
			var all rbacv1.ClusterRoleList
			if err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
				return nil
			}
			var out []reconcile.Request
			for i := range all.Items {
				if all.Items[i].AggregationRule != nil {
					out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: all.Items[i].Name}})
				}
			}
			return out
		})).Complete(c)
}

// Reconcile brings one aggregated role up to date.
func (c *ClusterRoleAggregation) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var all rbacv1.ClusterRoleList
	if err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, err
	}
	i := slices.IndexFunc(all.Items, func(r rbacv1.ClusterRole) bool { return r.Name == req.Name })
	if i < 0 || all.Items[i].AggregationRule == nil {
		return reconcile.Result{}, nil
	}
	rules, err := aggregate(&all.Items[i], all.Items)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	if equality.Semantic.DeepEqual(rules, all.Items[i].Rules) {
		return reconcile.Result{}, nil
	}
	apply := rbacv1ac.ClusterRole(req.Name)
	for _, r := range rules {
		rule := rbacv1ac.PolicyRule()
		rule.Verbs, rule.APIGroups, rule.Resources, rule.ResourceNames, rule.NonResourceURLs = r.Verbs, r.APIGroups, r.Resources, r.ResourceNames, r.NonResourceURLs
		apply.WithRules(rule)
	}
	_, err = c.Kube.RbacV1().ClusterRoles().Apply(ctx, apply, metav1.ApplyOptions{FieldManager: "clusterrole-aggregation-controller", Force: true})
	return reconcile.Result{}, err
}

// aggregate collects the rules that role's selectors gather from all, each once,
// in the order of selectors and names.
func aggregate(role *rbacv1.ClusterRole, all []rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	sorted := make([]*rbacv1.ClusterRole, 0, len(all))
	for i := range all {
		sorted = append(sorted, &all[i])
	}
	slices.SortFunc(sorted, func(a, b *rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	rules := []rbacv1.PolicyRule{}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, err
		}
		for _, r := range sorted {
			if r.Name == role.Name || !selector.Matches(labels.Set(r.Labels)) {
				continue
			}
			for _, rule := range r.Rules {
				if !slices.ContainsFunc(rules, func(x rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(x, rule) }) {
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules, nil
}
