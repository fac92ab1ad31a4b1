package resource

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// access asks whether devices may be used or their state written (KEPs 5018, 4817).
// It is set when the storage is built; without it (a kind by itself) all may.
type access struct {
	client     kubernetes.Interface
	authorizer authorizer.UnconditionalAuthorizer
}

// requestsAdmin and resultsAdmin are where admin access is asked for first; nil for nowhere.
func requestsAdmin(requests []resourcev1.DeviceRequest) *field.Path {
	for i, r := range requests {
		if r.Exactly != nil && ptr.Deref(r.Exactly.AdminAccess, false) {
			return field.NewPath("spec", "devices", "requests").Index(i).Child("adminAccess")
		}
	}
	return nil
}

func resultsAdmin(a *resourcev1.AllocationResult) *field.Path {
	if a == nil {
		return nil
	}
	for i, r := range a.Devices.Results {
		if ptr.Deref(r.AdminAccess, false) {
			return field.NewPath("status", "allocation", "devices", "results").Index(i).Child("adminAccess")
		}
	}
	return nil
}

// admin refuses admin access at path in namespaces that are not labelled for it.
func (a access) admin(ctx context.Context, namespace string, path *field.Path) field.ErrorList {
	if path == nil || a.client == nil {
		return nil
	}
	ns, err := a.client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if err != nil {
		return field.ErrorList{field.InternalError(path, fmt.Errorf("could not retrieve namespace to verify admin access: %w", err))}
	}
	if ns.Labels[resourcev1.DRAAdminNamespaceLabelKey] != "true" {
		return field.ErrorList{field.Forbidden(path, fmt.Sprintf("admin access to devices requires the `%s: true` label on the containing namespace", resourcev1.DRAAdminNamespaceLabelKey))}
	}
	return nil
}

// status refuses changes of a claim's status that the user has no permission for:
// schedulers allocate, drivers write their devices' state.
func (a access) status(ctx context.Context, now, old *resourcev1.ResourceClaimStatus) (errs field.ErrorList) {
	if a.authorizer == nil {
		return nil
	}
	path := field.NewPath("status")
	binds := !equality.Semantic.DeepEqual(now.Allocation, old.Allocation) || !equality.Semantic.DeepEqual(now.ReservedFor, old.ReservedFor)
	drivers := changedDrivers(now.Devices, old.Devices)
	if now.Allocation == nil {
		drivers = nil
	}
	if !binds && len(drivers) == 0 {
		return nil
	}
	request, err := filters.GetAuthorizerAttributes(ctx)
	if err != nil {
		return field.ErrorList{field.InternalError(path, fmt.Errorf("cannot build authorizer attributes: %w", err))}
	}
	verb := request.GetVerb()
	if binds {
		if err := a.ask(ctx, synthetic{request, verb, resourcev1.SubresourceBinding, "", ""}); err != nil {
			errs = append(errs, field.Forbidden(path.Child("allocation"), fmt.Sprintf(`changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="%s" permission: %s`, verb, err)))
		}
	}
	verbs := []string{resourcev1.VerbPrefixArbitraryNode + verb}
	if onNode(request.GetUser(), allocatedNode(now.Allocation)) {
		verbs = slices.Insert(verbs, 0, resourcev1.VerbPrefixAssociatedNode+verb)
	}
	for _, driver := range drivers {
		if err := a.any(ctx, request, verbs, driver); err != nil {
			errs = append(errs, field.Forbidden(path.Child("devices"), fmt.Sprintf(`changing status.devices requires resource="resourceclaims/driver", verb="%s" permission: %s`, verbs, err)))
		}
	}
	return errs
}

// any returns nil if one of the verbs is allowed, else why the first is not.
func (a access) any(ctx context.Context, request authorizer.Attributes, verbs []string, driver string) (first error) {
	for _, verb := range verbs {
		err := a.ask(ctx, synthetic{request, verb, resourcev1.SubresourceDriver, request.GetNamespace(), driver})
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (a access) ask(ctx context.Context, s synthetic) error {
	decision, reason, err := a.authorizer.Authorize(ctx, s)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	switch {
	case err != nil && reason != "":
		reason = fmt.Sprintf("%v: %s", err, reason)
	case err != nil:
		reason = err.Error()
	}
	return responsewriters.ForbiddenStatusError(s, reason)
}

// synthetic is a request for a subresource that exists for authorization only.
type synthetic struct {
	authorizer.Attributes
	verb, subresource, namespace, name string
}

func (s synthetic) GetVerb() string        { return s.verb }
func (s synthetic) GetSubresource() string { return s.subresource }
func (s synthetic) GetNamespace() string   { return s.namespace }
func (s synthetic) GetName() string        { return s.name }

// changedDrivers are the drivers of devices whose state was added, changed or
// removed, in order.
func changedDrivers(now, old []resourcev1.AllocatedDeviceStatus) []string {
	before := map[deviceID]*resourcev1.AllocatedDeviceStatus{}
	for i := range old {
		before[statusID(&old[i])] = &old[i]
	}
	drivers := map[string]bool{}
	for i := range now {
		id := statusID(&now[i])
		if was := before[id]; was == nil || !equality.Semantic.DeepEqual(*was, now[i]) {
			drivers[now[i].Driver] = true
		}
		delete(before, id)
	}
	for _, gone := range before {
		drivers[gone.Driver] = true
	}
	return slices.Sorted(maps.Keys(drivers))
}

// allocatedNode is the one node an allocation is for, if it is for one by name.
func allocatedNode(a *resourcev1.AllocationResult) string {
	if a == nil || a.NodeSelector == nil || len(a.NodeSelector.NodeSelectorTerms) != 1 {
		return ""
	}
	t := a.NodeSelector.NodeSelectorTerms[0]
	if len(t.MatchExpressions) != 0 || len(t.MatchFields) != 1 {
		return ""
	}
	if f := t.MatchFields[0]; f.Key == metav1.ObjectNameField && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
		return f.Values[0]
	}
	return ""
}

// onNode says whether the user is a service account with a token for that node.
func onNode(u user.Info, node string) bool {
	if node == "" || u == nil {
		return false
	}
	if _, _, err := serviceaccount.SplitUsername(u.GetName()); err != nil {
		return false
	}
	names := u.GetExtra()[serviceaccount.NodeNameKey]
	return len(names) == 1 && names[0] == node && len(validation.NameIsDNSSubdomain(node, false)) == 0
}
