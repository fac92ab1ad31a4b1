package storage

import (
	"context"
	"fmt"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/core"
	"proa/apis/kind"
)

const maxNodeID = 256

type csiNode = *storagev1.CSINode

// CSINode tells which CSI drivers a node has.
func CSINode() *kind.Kind[csiNode] {
	return &kind.Kind[csiNode]{
		GVK:           storagev1.SchemeGroupVersion.WithKind("CSINode"),
		Resource:      "csinodes",
		ReturnDeleted: true,
		ClusterScoped: true,
		New:           func() csiNode { return &storagev1.CSINode{} },
		NewList:       func() runtime.Object { return &storagev1.CSINodeList{} },
		Validate: func(_ context.Context, n csiNode) (errs field.ErrorList) {
			path, names := field.NewPath("spec", "drivers"), sets.New[string]()
			for i := range n.Spec.Drivers {
				errs = append(errs, validateNodeDriver(&n.Spec.Drivers[i], names, path.Index(i))...)
			}
			return errs
		},
		ValidateUpdate:            func(_ context.Context, n, old csiNode) field.ErrorList { return validateDriversKept(n, old) },
		RefuseUnconditionalUpdate: true,
		Columns: []kind.Column[csiNode]{
			kind.NameColumn[csiNode](),
			{Name: "Drivers", Type: "integer", Description: "Drivers indicates the number of CSI drivers registered on the node",
				Value: func(n csiNode) any { return int64(len(n.Spec.Drivers)) }},
			kind.AgeColumn[csiNode](),
		},
	}
}

func validateNodeDriver(d *storagev1.CSINodeDriver, names sets.Set[string], path *field.Path) field.ErrorList {
	errs := validateDriverName(d.Name, path.Child("name"))
	if d.NodeID == "" {
		errs = append(errs, field.Required(path.Child("nodeID"), ""))
	}
	if len(d.NodeID) > maxNodeID {
		errs = append(errs, field.Invalid(path.Child("nodeID"), d.NodeID, fmt.Sprintf("must be %d characters or less", maxNodeID)))
	}
	if a := d.Allocatable; a != nil && a.Count != nil {
		errs = append(errs, core.ValidateNonnegative(int64(*a.Count), path.Child("allocatable", "count"))...)
	}
	if names.Has(d.Name) {
		errs = append(errs, field.Duplicate(path.Child("name"), d.Name))
	}
	names.Insert(d.Name)
	keys := sets.New[string]()
	for _, k := range d.TopologyKeys {
		if k == "" {
			errs = append(errs, field.Required(path, ""))
		}
		if keys.Has(k) {
			errs = append(errs, field.Duplicate(path, k))
		}
		keys.Insert(k)
		errs = append(errs, core.ValidateQualifiedName(k, path)...)
	}
	return errs
}

// validateDriversKept: of a driver that stays only the limits may change (KEP-4876).
func validateDriversKept(n, old csiNode) (errs field.ErrorList) {
	for i := range old.Spec.Drivers {
		for j := range n.Spec.Drivers {
			was, now := old.Spec.Drivers[i], n.Spec.Drivers[j]
			if was.Name != now.Name {
				continue
			}
			was.Allocatable, now.Allocatable = nil, nil
			errs = append(errs, core.ValidateImmutable(&now, &was, field.NewPath("spec", "drivers"))...)
		}
	}
	return errs
}
