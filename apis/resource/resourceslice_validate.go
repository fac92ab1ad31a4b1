package resource

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
)

func validateSlice(s, old *resourcev1.ResourceSliceSpec, path *field.Path) (errs field.ErrorList) {
	pool := path.Child("pool")
	errs = append(errs, validateDriver(s.Driver, path.Child("driver"))...)
	errs = append(errs, validatePool(s.Pool.Name, pool.Child("name"))...)
	if s.Pool.ResourceSliceCount <= 0 {
		errs = append(errs, field.Invalid(pool.Child("resourceSliceCount"), s.Pool.ResourceSliceCount, "must be greater than zero"))
	}
	if s.Pool.Generation < 0 {
		errs = append(errs, field.Invalid(pool.Child("generation"), s.Pool.Generation, "must be greater than or equal to zero"))
	}
	if old != nil {
		errs = append(errs, core.ValidateImmutable(s.Pool.Name, old.Pool.Name, pool.Child("name"))...)
		errs = append(errs, core.ValidateImmutable(s.Driver, old.Driver, path.Child("driver"))...)
		errs = append(errs, core.ValidateImmutable(s.NodeName, old.NodeName, path.Child("nodeName"))...)
	}
	where, bad := validatePlace(s.NodeName, s.NodeSelector, s.AllNodes, "must be either unset or set to a non-empty string", true, path)
	errs = append(errs, bad...)
	if p := s.PerDeviceNodeSelection; p != nil {
		if *p {
			where = append(where, "`perDeviceNodeSelection`")
		} else {
			errs = append(errs, field.Invalid(path.Child("perDeviceNodeSelection"), *p, "must be either unset or set to true"))
		}
	}
	const one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
	if len(where) == 0 {
		errs = append(errs, field.Required(path, one))
	} else if len(where) > 1 {
		errs = append(errs, field.Invalid(path, fmt.Sprintf("{%s}", strings.Join(where, ", ")), one+", but multiple fields are set"))
	}
	if s.SharedCounters != nil && s.Devices != nil {
		errs = append(errs, field.Invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"))
	}
	limit := resourcev1.ResourceSliceMaxDevices
	if slices.ContainsFunc(s.Devices, advanced) {
		limit = resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
	}
	perDevice := ptr.Deref(s.PerDeviceNodeSelection, false)
	errs = append(errs, set(s.Devices, limit, path.Child("devices"), func(d *resourcev1.Device) string { return d.Name },
		func(d *resourcev1.Device, path *field.Path) field.ErrorList {
			return validateDevice(d, findDevice(old, d.Name), perDevice, path)
		})...)
	return append(errs, set(s.SharedCounters, resourcev1.ResourceSliceMaxCounterSets, path.Child("sharedCounters"),
		func(c *resourcev1.CounterSet) string { return c.Name },
		func(c *resourcev1.CounterSet, path *field.Path) field.ErrorList {
			errs := validateCounterName(c.Name, path.Child("name"))
			return append(errs, validateCounters(c.Counters, resourcev1.ResourceSliceMaxCountersPerCounterSet, path.Child("counters"))...)
		})...)
}

// advanced devices need more room in the store.
func advanced(d resourcev1.Device) bool {
	if len(d.Taints) > 0 || len(d.ConsumesCounters) > 0 {
		return true
	}
	for _, a := range d.Attributes {
		if lists(&a) {
			return true
		}
	}
	return false
}

func findDevice(s *resourcev1.ResourceSliceSpec, name string) *resourcev1.Device {
	if s == nil {
		return nil
	}
	for i := range s.Devices {
		if s.Devices[i].Name == name {
			return &s.Devices[i]
		}
	}
	return nil
}

// validatePlace checks the three ways to say on which nodes; where is those used.
func validatePlace(name *string, selector *corev1.NodeSelector, all *bool, empty string, oneTerm bool, path *field.Path) (where []string, errs field.ErrorList) {
	if at := path.Child("nodeName"); name != nil && *name == "" {
		errs = append(errs, field.Invalid(at, *name, empty))
	} else if name != nil {
		where = append(where, "`nodeName`")
		for _, msg := range validation.NameIsDNSSubdomain(*name, false) {
			errs = append(errs, field.Invalid(at, *name, msg))
		}
	}
	if selector != nil {
		where = append(where, "`nodeSelector`")
		at := path.Child("nodeSelector")
		errs = append(errs, core.ValidateNodeSelector(selector, at)...)
		if oneTerm && len(selector.NodeSelectorTerms) != 1 { // so that selectors of several slices can be joined
			errs = append(errs, field.Invalid(at.Child("nodeSelectorTerms"), selector.NodeSelectorTerms, "must have exactly one node selector term"))
		}
	}
	if all != nil && *all {
		where = append(where, "`allNodes`")
	} else if all != nil {
		errs = append(errs, field.Invalid(path.Child("allNodes"), *all, "must be either unset or set to true"))
	}
	return where, errs
}

func validateCounterName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return core.ValidateDNSLabel(name, path)
}

func validateCounters(counters map[string]resourcev1.Counter, limit int, path *field.Path) (errs field.ErrorList) {
	if len(counters) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	if len(counters) > limit {
		return field.ErrorList{field.TooMany(path, len(counters), limit)}
	}
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		errs = append(errs, core.ValidateDNSLabel(name, path)...)
	}
	return errs
}

func validateDevice(d, old *resourcev1.Device, perDevice bool, path *field.Path) field.ErrorList {
	errs := core.ValidateDNSLabel(d.Name, path.Child("name"))
	if n, limit := len(d.Attributes)+len(d.Capacity), resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice; n > limit {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d", limit)))
	}
	values := 0
	for _, a := range d.Attributes {
		values += max(1, len(a.BoolValues)+len(a.IntValues)+len(a.StringValues)+len(a.VersionValues))
	}
	if limit := resourcev1.ResourceSliceMaxAttributeValuesPerDevice; values > limit {
		errs = append(errs, field.Invalid(path, values, fmt.Sprintf("the total number of attribute values must not exceed %d", limit)))
	}
	at := path.Child("attributes")
	for _, name := range slices.Sorted(maps.Keys(d.Attributes)) {
		a := d.Attributes[name]
		errs = append(errs, validateAttributeName(string(name), at)...)
		errs = append(errs, validateAttribute(&a, at.Key(shorten(string(name))))...)
	}
	at = path.Child("capacity")
	for _, name := range slices.Sorted(maps.Keys(d.Capacity)) {
		c := d.Capacity[name]
		errs = append(errs, validateAttributeName(string(name), at)...)
		policy := at.Key(shorten(string(name))).Child("requestPolicy")
		if c.RequestPolicy != nil && ptr.Deref(d.AllowMultipleAllocations, false) {
			errs = append(errs, validateRequestPolicy(c.Value, c.RequestPolicy, policy)...)
		} else if c.RequestPolicy != nil {
			errs = append(errs, field.Forbidden(policy, "allowMultipleAllocations must be true"))
		}
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Taints, d.Taints) {
		errs = append(errs, list(d.Taints, resourcev1.DeviceTaintsMaxLength, path.Child("taints"), validateTaint)...)
	}
	errs = append(errs, set(d.ConsumesCounters, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice, path.Child("consumesCounters"),
		func(c *resourcev1.DeviceCounterConsumption) string { return c.CounterSet },
		func(c *resourcev1.DeviceCounterConsumption, path *field.Path) field.ErrorList {
			errs := validateCounterName(c.CounterSet, path.Child("counterSet"))
			return append(errs, validateCounters(c.Counters, resourcev1.ResourceSliceMaxCountersPerDeviceCounterConsumption, path.Child("counters"))...)
		})...)
	if perDevice {
		where, bad := validatePlace(d.NodeName, d.NodeSelector, d.AllNodes, "must not be empty", false, path)
		errs = append(errs, bad...)
		const one = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
		if len(where) == 0 {
			errs = append(errs, field.Required(path, one))
		} else if len(where) > 1 {
			errs = append(errs, field.Invalid(path, fmt.Sprintf("{%s}", strings.Join(where, ", ")), one))
		}
	} else if d.NodeName != nil || d.NodeSelector != nil || d.AllNodes != nil {
		errs = append(errs, field.Invalid(path, nil, "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"))
	}
	return append(errs, validateBinding(d.BindingConditions, d.BindingFailureConditions, path)...)
}

// shorten cuts a key's middle out if it cannot be a valid one.
func shorten(key string) string {
	const limit = resourcev1.DeviceMaxDomainLength + 1 + resourcev1.DeviceMaxIDLength
	if len(key) <= limit {
		return key
	}
	rest := limit - len("...")
	return key[:(rest+1)/2] + "..." + key[len(key)-rest/2:]
}

func validateTaint(t *resourcev1.DeviceTaint, path *field.Path) field.ErrorList {
	errs := metav1validation.ValidateLabelName(t.Key, path.Child("key"))
	if t.Value != "" {
		errs = append(errs, validateLabelValue(t.Value, path.Child("value"))...)
	}
	if t.Effect == "" {
		errs = append(errs, field.Required(path.Child("effect"), ""))
	} else if !slices.Contains(effects(), t.Effect) {
		errs = append(errs, field.NotSupported(path.Child("effect"), t.Effect, effects()))
	}
	return errs
}

// semver is version 2.0.0 of semver.org.
func semver() *regexp.Regexp {
	const number, pre, build = `(0|[1-9]\d*)`, `(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)`, `[0-9a-zA-Z-]+`
	return regexp.MustCompile(`^` + number + `\.` + number + `\.` + number + `(-` + pre + `(\.` + pre + `)*)?(\+` + build + `(\.` + build + `)*)?$`)
}

func validateAttribute(a *resourcev1.DeviceAttribute, path *field.Path) (errs field.ErrorList) {
	const limit = resourcev1.DeviceAttributeMaxValueLength
	text := func(v string, at *field.Path) {
		if len(v) > limit {
			errs = append(errs, field.TooLong(at, "", limit))
		}
	}
	version := func(v string, at *field.Path) {
		if !semver().MatchString(v) {
			errs = append(errs, field.Invalid(at, v, "must be a string compatible with semver.org spec 2.0.0"))
		}
		text(v, at)
	}
	if a.StringValue != nil {
		text(*a.StringValue, path.Child("string"))
	}
	if a.VersionValue != nil {
		version(*a.VersionValue, path.Child("version"))
	}
	for i, v := range a.StringValues {
		text(v, path.Child("strings").Index(i))
	}
	for i, v := range a.VersionValues {
		version(v, path.Child("versions").Index(i))
	}
	given := 0
	for _, has := range []bool{a.BoolValue != nil, a.IntValue != nil, a.StringValue != nil, a.VersionValue != nil,
		a.BoolValues != nil, a.IntValues != nil, a.StringValues != nil, a.VersionValues != nil} {
		if has {
			given++
		}
	}
	switch {
	case given == 0:
		errs = append(errs, field.Invalid(path, "", "exactly one value must be specified"))
	case given > 1:
		errs = append(errs, field.Invalid(path, *a, "exactly one value must be specified"))
	}
	return errs
}
