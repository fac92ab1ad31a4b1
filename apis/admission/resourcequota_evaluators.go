package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	apiquota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/client-go/kubernetes"
	resourcehelper "k8s.io/component-helpers/resource"

	"proa/quota"
)

// quotaEvaluator says what one resource's objects use and which requests matter;
// the arithmetic is package quota's.
type quotaEvaluator struct {
	measured string
	handles  func(a admission.Attributes) bool
	// constraints says what an object must say of itself under a quota; nil: nothing.
	constraints func(required []corev1.ResourceName, obj runtime.Object) error
	// scoped objects meet scopes; others meet none.
	scoped  bool
	usage   func(obj runtime.Object) (corev1.ResourceList, error)
	classes func(names []corev1.ResourceName) quota.DeviceClasses
}

var _ apiquota.Evaluator = (*quotaEvaluator)(nil)

// quotaEvaluators are those of the resources that are measured by more than
// their number. The library counts the others.
func quotaEvaluators(o Options) []apiquota.Evaluator {
	counted := func(measured string) func(runtime.Object) (corev1.ResourceList, error) {
		return func(obj runtime.Object) (corev1.ResourceList, error) {
			return quota.Usage(measured, obj, o.Clock.Now()), nil
		}
	}
	written := func(a admission.Attributes) bool {
		return a.GetSubresource() == "" && (a.GetOperation() == admission.Create || a.GetOperation() == admission.Update)
	}
	claims := deviceCharges{o.Client, o}
	out := []apiquota.Evaluator{
		&quotaEvaluator{measured: quota.Pods, handles: chargesPod, constraints: podConstraints, scoped: true, usage: counted(quota.Pods)},
		&quotaEvaluator{measured: quota.Services, handles: written, usage: counted(quota.Services)},
		&quotaEvaluator{measured: quota.Claims, scoped: true, usage: counted(quota.Claims), handles: func(a admission.Attributes) bool {
			return written(a) || a.GetSubresource() == "status" && a.GetOldObject() != nil
		}},
		&quotaEvaluator{measured: quota.ResourceClaims, handles: written, usage: claims.usage, classes: claims.classes},
	}
	for _, name := range []string{"configmaps", "resourcequotas", "replicationcontrollers", "secrets"} {
		out = append(out, generic.NewObjectCountEvaluator(schema.GroupResource{Resource: name}, nil, quota.LegacyCount(name)))
	}
	return out
}

// chargesPod: pods are charged when they are made, when they are resized, and
// when a deadline moves them to another scope.
func chargesPod(a admission.Attributes) bool {
	switch a.GetSubresource() {
	case "":
		if a.GetOperation() == admission.Update {
			pod, ok := a.GetObject().(*corev1.Pod)
			old, hasOld := a.GetOldObject().(*corev1.Pod)
			terminating := &corev1.ScopedResourceSelectorRequirement{ScopeName: corev1.ResourceQuotaScopeTerminating, Operator: corev1.ScopeSelectorOpExists}
			return ok && hasOld && quota.InScope(terminating, pod) != quota.InScope(terminating, old)
		}
		return a.GetOperation() == admission.Create
	case "resize":
		return a.GetOperation() == admission.Update
	}
	return false
}

// podConstraints: under a quota of cpu or memory every container must say what
// it asks for, unless its pod does.
func podConstraints(required []corev1.ResourceName, obj runtime.Object) error {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("expect *v1.Pod, got %T", obj)
	}
	if resourcehelper.IsPodLevelResourcesSet(pod) {
		return nil
	}
	explicit := sets.New(corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory)
	missing := map[corev1.ResourceName]sets.Set[string]{}
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		said := quota.PodResources(c.Resources.Requests, c.Resources.Limits)
		for _, name := range required {
			if _, ok := said[name]; ok || !explicit.Has(name) {
				continue
			}
			if missing[name] == nil {
				missing[name] = sets.New[string]()
			}
			missing[name].Insert(c.Name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var parts []string
	for name, containers := range missing {
		parts = append(parts, fmt.Sprintf("%s for: %s", name, strings.Join(sets.List(containers), ",")))
	}
	slices.Sort(parts)
	return fmt.Errorf("must specify %s", strings.Join(parts, "; "))
}

// Constraints implements quota.Evaluator.
func (e *quotaEvaluator) Constraints(required []corev1.ResourceName, obj runtime.Object) error {
	if e.constraints == nil {
		return nil
	}
	return e.constraints(required, obj)
}

// GroupResource implements quota.Evaluator.
func (e *quotaEvaluator) GroupResource() schema.GroupResource {
	return schema.ParseGroupResource(e.measured)
}

// Handles implements quota.Evaluator.
func (e *quotaEvaluator) Handles(a admission.Attributes) bool { return e.handles(a) }

// Matches implements quota.Evaluator.
func (e *quotaEvaluator) Matches(q *corev1.ResourceQuota, obj runtime.Object) (bool, error) {
	return generic.Matches(q, obj, e.MatchingResources, func(s corev1.ScopedResourceSelectorRequirement, obj runtime.Object) (bool, error) {
		return e.scoped && quota.InScope(&s, obj), nil
	})
}

// MatchingResources implements quota.Evaluator.
func (e *quotaEvaluator) MatchingResources(names []corev1.ResourceName) []corev1.ResourceName {
	var classes quota.DeviceClasses
	if e.classes != nil {
		classes = e.classes(names)
	}
	return quota.Measures(e.measured, names, classes)
}

// MatchingScopes implements quota.Evaluator.
func (e *quotaEvaluator) MatchingScopes(obj runtime.Object, scopes []corev1.ScopedResourceSelectorRequirement) ([]corev1.ScopedResourceSelectorRequirement, error) {
	out := []corev1.ScopedResourceSelectorRequirement{}
	for i := range scopes {
		if e.scoped && quota.InScope(&scopes[i], obj) {
			out = append(out, scopes[i])
		}
	}
	return out, nil
}

// UncoveredQuotaScopes implements quota.Evaluator.
func (e *quotaEvaluator) UncoveredQuotaScopes(limited, matched []corev1.ScopedResourceSelectorRequirement) ([]corev1.ScopedResourceSelectorRequirement, error) {
	out := []corev1.ScopedResourceSelectorRequirement{}
	for _, s := range limited {
		if e.scoped && !slices.ContainsFunc(matched, func(m corev1.ScopedResourceSelectorRequirement) bool { return m.ScopeName == s.ScopeName }) {
			out = append(out, s)
		}
	}
	return out, nil
}

// Usage implements quota.Evaluator.
func (e *quotaEvaluator) Usage(obj runtime.Object) (corev1.ResourceList, error) { return e.usage(obj) }

// UsageStats implements quota.Evaluator. Admission never counts what there is;
// the ResourceQuota controller does.
func (e *quotaEvaluator) UsageStats(apiquota.UsageStatsOptions) (apiquota.UsageStats, error) {
	return apiquota.UsageStats{}, errors.New("admission does not count objects")
}

// deviceCharges reads what charges of resource claims depend on, live: claims
// under a quota are too rare to keep device classes and pods for.
type deviceCharges struct {
	client kubernetes.Interface
	o      Options
}

// list has the server answer from its watch cache.
var listCached = metav1.ListOptions{ResourceVersion: "0"}

func (d deviceCharges) classes(names []corev1.ResourceName) quota.DeviceClasses {
	if !slices.ContainsFunc(names, quota.AboutExtended) {
		return quota.DeviceClasses{}
	}
	return d.all()
}

func (d deviceCharges) all() quota.DeviceClasses {
	list, err := d.client.ResourceV1().DeviceClasses().List(d.o.Context, listCached)
	if err != nil {
		return quota.DeviceClasses{} // the group is not served
	}
	all := make([]*resourcev1.DeviceClass, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	return quota.NewDeviceClasses(all)
}

func (d deviceCharges) usage(obj runtime.Object) (corev1.ResourceList, error) {
	claim, ok := obj.(*resourcev1.ResourceClaim)
	if !ok {
		return corev1.ResourceList{}, fmt.Errorf("expect *v1.ResourceClaim, got %T", obj)
	}
	return apiquota.Add(quota.Usage(quota.ResourceClaims, claim, d.o.Clock.Now()),
		quota.DeviceUsage(claim, d.all(), d.chargedWithPod(d.o.Context, claim))), nil
}

// chargedWithPod is what the pod that a claim was made for is charged for already.
func (d deviceCharges) chargedWithPod(ctx context.Context, claim *resourcev1.ResourceClaim) corev1.ResourceList {
	owner := quota.ExtendedClaimOwner(claim)
	if owner == nil {
		return nil
	}
	pod, err := d.client.CoreV1().Pods(claim.Namespace).Get(ctx, owner.Name, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return nil
	}
	list, err := d.client.ResourceV1().ResourceClaims(claim.Namespace).List(ctx, listCached)
	if err != nil {
		return nil
	}
	siblings := make([]*resourcev1.ResourceClaim, len(list.Items))
	for i := range list.Items {
		siblings[i] = &list.Items[i]
	}
	if !quota.ChargedWithPod(claim, pod, siblings) {
		return nil
	}
	return quota.Usage(quota.Pods, pod, d.o.Clock.Now())
}
