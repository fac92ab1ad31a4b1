package storage

import (
	"context"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"proa/apis/core"
	"proa/apis/kind"
)

const (
	minTokenSeconds       = 600
	maxTokenSeconds int64 = 1 << 32
	// minUpdateSeconds is the shortest period of asking a driver for its limits.
	minUpdateSeconds = 10

	tokenWarning = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"
)

type csiDriver = *storagev1.CSIDriver

// CSIDriver tells what a CSI driver can do and wants.
func CSIDriver() *kind.Kind[csiDriver] {
	return &kind.Kind[csiDriver]{
		GVK:           storagev1.SchemeGroupVersion.WithKind("CSIDriver"),
		GenerateName:  kind.PrefixOnCreate,
		Resource:      "csidrivers",
		ReturnDeleted: true,
		ClusterScoped: true,
		New:           func() csiDriver { return &storagev1.CSIDriver{} },
		NewList:       func() runtime.Object { return &storagev1.CSIDriverList{} },
		Default:       func(d csiDriver) { defaultDriver(&d.Spec) },
		// Behind a feature gate that is off (KEP-5030).
		PrepareForCreate: func(_ context.Context, d csiDriver) { d.Spec.PreventPodSchedulingIfMissing = nil },
		PrepareForUpdate: func(_ context.Context, d, old csiDriver) {
			if old.Spec.PreventPodSchedulingIfMissing == nil {
				d.Spec.PreventPodSchedulingIfMissing = nil
			}
			// Creation sets no generation.
			d.Generation = old.Generation
			if !equality.Semantic.DeepEqual(d.Spec, old.Spec) {
				d.Generation++
			}
		},
		Validate: func(_ context.Context, d csiDriver) field.ErrorList { return validateDriver(&d.Spec) },
		ValidateUpdate: func(_ context.Context, d, old csiDriver) field.ErrorList {
			errs := core.ValidateImmutable(d.Spec.AttachRequired, old.Spec.AttachRequired, field.NewPath("spec", "attachedRequired"))
			return append(errs, core.ValidateImmutable(d.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes, field.NewPath("spec", "volumeLifecycleModes"))...)
		},
		Warnings: func(_ context.Context, d, old csiDriver) []string {
			changed := old == nil || !equality.Semantic.DeepEqual(old.Spec.TokenRequests, d.Spec.TokenRequests)
			if changed && len(d.Spec.TokenRequests) > 0 && d.Spec.ServiceAccountTokenInSecrets == nil {
				return []string{tokenWarning}
			}
			return nil
		},
		RefuseUnconditionalUpdate: true,
		Columns:                   driverColumns(),
	}
}

func defaultDriver(s *storagev1.CSIDriverSpec) {
	set := func(f **bool, value bool) {
		if *f == nil {
			*f = ptr.To(value)
		}
	}
	set(&s.AttachRequired, true)
	set(&s.PodInfoOnMount, false)
	set(&s.StorageCapacity, false)
	set(&s.RequiresRepublish, false)
	set(&s.SELinuxMount, false)
	if s.FSGroupPolicy == nil {
		s.FSGroupPolicy = ptr.To(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	}
	if len(s.VolumeLifecycleModes) == 0 {
		s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
	}
}

func validateDriver(s *storagev1.CSIDriverSpec) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	required := func(set *bool, name string) {
		if set == nil {
			errs = append(errs, field.Required(spec.Child(name), ""))
		}
	}
	required(s.AttachRequired, "attachedRequired") // so spelled upstream
	required(s.PodInfoOnMount, "podInfoOnMount")
	required(s.StorageCapacity, "storageCapacity")
	if p := s.FSGroupPolicy; p != nil {
		switch *p {
		case storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy:
		default:
			errs = append(errs, field.NotSupported(spec.Child("fsGroupPolicy"), *p,
				[]storagev1.FSGroupPolicy{storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy}))
		}
	}
	errs = append(errs, validateTokenRequests(s.TokenRequests, spec.Child("tokenRequests"))...)
	for _, m := range s.VolumeLifecycleModes {
		if m != storagev1.VolumeLifecyclePersistent && m != storagev1.VolumeLifecycleEphemeral {
			errs = append(errs, field.NotSupported(spec.Child("volumeLifecycleModes"), m,
				[]storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral}))
		}
	}
	required(s.SELinuxMount, "seLinuxMount")
	if n := s.NodeAllocatableUpdatePeriodSeconds; n != nil && *n < minUpdateSeconds {
		errs = append(errs, field.Invalid(spec.Child("nodeAllocatableUpdatePeriodSeconds"), *n, "must be greater than or equal to 10 seconds"))
	}
	if s.ServiceAccountTokenInSecrets != nil && len(s.TokenRequests) == 0 {
		errs = append(errs, field.Invalid(spec.Child("serviceAccountTokenInSecrets"), *s.ServiceAccountTokenInSecrets, "serviceAccountTokenInSecrets is set but no tokenRequests are specified"))
	}
	return errs
}

func validateTokenRequests(list []storagev1.TokenRequest, path *field.Path) (errs field.ErrorList) {
	audiences := sets.New[string]()
	for i, r := range list {
		if audiences.Has(r.Audience) {
			errs = append(errs, field.Duplicate(path.Index(i).Child("audience"), r.Audience))
			continue
		}
		audiences.Insert(r.Audience)
		at := path.Index(i).Child("expirationSeconds")
		switch n := r.ExpirationSeconds; {
		case n == nil:
		case *n < minTokenSeconds:
			errs = append(errs, field.Invalid(at, *n, "may not specify a duration less than 10 minutes"))
		case *n > maxTokenSeconds:
			errs = append(errs, field.Invalid(at, *n, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	return errs
}

func driverColumns() []kind.Column[csiDriver] {
	doc := storagev1.CSIDriverSpec{}.SwaggerDoc()
	flag := func(name, fieldName string, missing bool, value func(*storagev1.CSIDriverSpec) *bool) kind.Column[csiDriver] {
		return kind.Column[csiDriver]{Name: name, Type: "boolean", Description: doc[fieldName],
			Value: func(d csiDriver) any { return ptr.Deref(value(&d.Spec), missing) }}
	}
	return []kind.Column[csiDriver]{
		kind.NameColumn[csiDriver](),
		flag("AttachRequired", "attachRequired", true, func(s *storagev1.CSIDriverSpec) *bool { return s.AttachRequired }),
		flag("PodInfoOnMount", "podInfoOnMount", false, func(s *storagev1.CSIDriverSpec) *bool { return s.PodInfoOnMount }),
		flag("StorageCapacity", "storageCapacity", false, func(s *storagev1.CSIDriverSpec) *bool { return s.StorageCapacity }),
		{Name: "TokenRequests", Type: "string", Description: doc["tokenRequests"], Value: func(d csiDriver) any {
			if d.Spec.TokenRequests == nil {
				return "<unset>"
			}
			var audiences []string
			for _, r := range d.Spec.TokenRequests {
				audiences = append(audiences, r.Audience)
			}
			return strings.Join(audiences, ",")
		}},
		flag("RequiresRepublish", "requiresRepublish", false, func(s *storagev1.CSIDriverSpec) *bool { return s.RequiresRepublish }),
		{Name: "Modes", Type: "string", Description: doc["volumeLifecycleModes"], Value: func(d csiDriver) any {
			var modes []string
			for _, m := range d.Spec.VolumeLifecycleModes {
				modes = append(modes, string(m))
			}
			if text := strings.Join(modes, ","); text != "" {
				return text
			}
			return "<none>"
		}},
		kind.AgeColumn[csiDriver](),
	}
}
