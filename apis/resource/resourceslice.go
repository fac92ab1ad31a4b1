package resource

import (
	"context"
	"fmt"
	"strings"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/kind"
)

type slice = *resourcev1.ResourceSlice

// ResourceSlice is some of the devices that a driver offers in a pool.
func ResourceSlice() *kind.Kind[slice] {
	doc := resourcev1.ResourceSliceSpec{}.SwaggerDoc()
	node := func(s slice) string { return ptr.Deref(s.Spec.NodeName, "") }
	return &kind.Kind[slice]{
		GVK:           resourcev1.SchemeGroupVersion.WithKind("ResourceSlice"),
		Resource:      "resourceslices",
		ReturnDeleted: true,
		ClusterScoped: true,
		New:           func() slice { return &resourcev1.ResourceSlice{} },
		NewList:       func() runtime.Object { return &resourcev1.ResourceSliceList{} },
		Default: func(s slice) {
			for i := range s.Spec.Devices {
				for j := range s.Spec.Devices[i].Taints {
					// Upstream too takes the time of decoding for that of tainting.
					if t := &s.Spec.Devices[i].Taints[j]; t.TimeAdded == nil {
						t.TimeAdded = &metav1.Time{Time: time.Now().Truncate(time.Second)}
					}
				}
			}
		},
		PrepareForCreate: func(_ context.Context, s slice) { dropAlpha(s, nil) },
		PrepareForUpdate: func(_ context.Context, s, old slice) { dropAlpha(s, old) },
		Spec:             func(s slice) any { return &s.Spec },
		Validate: func(_ context.Context, s slice) field.ErrorList {
			return validateSlice(&s.Spec, nil, field.NewPath("spec"))
		},
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, s, old slice) field.ErrorList {
			return validateSlice(&s.Spec, &old.Spec, field.NewPath("spec"))
		},
		Warnings: func(_ context.Context, s, _ slice) []string {
			if s.Spec.Driver == strings.ToLower(s.Spec.Driver) {
				return nil
			}
			return []string{fmt.Sprintf("spec.driver: driver names should be lowercase; %q contains uppercase characters", s.Spec.Driver)}
		},
		Columns: []kind.Column[slice]{
			kind.NameColumn[slice](),
			{Name: "Node", Type: "string", Description: doc["nodeName"], Value: func(s slice) any { return node(s) }},
			{Name: "Driver", Type: "string", Description: doc["driver"], Value: func(s slice) any { return s.Spec.Driver }},
			{Name: "Pool", Type: "string", Description: resourcev1.ResourcePool{}.SwaggerDoc()["name"], Value: func(s slice) any { return s.Spec.Pool.Name }},
			kind.AgeColumn[slice](),
		},
		FieldRefusal: "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: %s",
		Fields: map[string]func(slice) string{
			resourcev1.ResourceSliceSelectorNodeName: node,
			resourcev1.ResourceSliceSelectorDriver:   func(s slice) string { return s.Spec.Driver },
		},
		IndexedFields: []string{resourcev1.ResourceSliceSelectorNodeName},
	}
}

// dropAlpha drops fields behind feature gates that are off by default, unless
// the old object has them.
func dropAlpha(s, old slice) {
	if old != nil && usesAlpha(old) {
		return
	}
	s.Spec.PartitionTypeAttribute, s.Spec.SkipNodeOperations = nil, nil
	for i := range s.Spec.Devices {
		d := &s.Spec.Devices[i]
		d.NodeAllocatableResources = nil
		for j := range d.ConsumesCounters {
			d.ConsumesCounters[j].CompatibilityGroups = nil
		}
		for name, a := range d.Attributes {
			if lists(&a) {
				a.BoolValues, a.IntValues, a.StringValues, a.VersionValues = nil, nil, nil, nil
				d.Attributes[name] = a
			}
		}
	}
}

func lists(a *resourcev1.DeviceAttribute) bool {
	return a.BoolValues != nil || a.IntValues != nil || a.StringValues != nil || a.VersionValues != nil
}

func usesAlpha(s slice) bool {
	if s.Spec.PartitionTypeAttribute != nil || len(s.Spec.SkipNodeOperations) > 0 {
		return true
	}
	for i := range s.Spec.Devices {
		d := &s.Spec.Devices[i]
		if len(d.NodeAllocatableResources) > 0 {
			return true
		}
		for _, c := range d.ConsumesCounters {
			if len(c.CompatibilityGroups) > 0 {
				return true
			}
		}
		for _, a := range d.Attributes {
			if lists(&a) {
				return true
			}
		}
	}
	return false
}
