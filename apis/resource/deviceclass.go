package resource

import (
	"context"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

type class = *resourcev1.DeviceClass

// DeviceClass says which devices a request for the class may get, and their configuration.
func DeviceClass() *kind.Kind[class] {
	return &kind.Kind[class]{
		GVK:           resourcev1.SchemeGroupVersion.WithKind("DeviceClass"),
		Resource:      "deviceclasses",
		ReturnDeleted: true,
		ClusterScoped: true,
		New:           func() class { return &resourcev1.DeviceClass{} },
		NewList:       func() runtime.Object { return &resourcev1.DeviceClassList{} },
		Spec:          func(c class) any { return &c.Spec },
		Validate: func(_ context.Context, c class) field.ErrorList {
			return validateClass(&c.Spec, nil, field.NewPath("spec"))
		},
		GenerateName:         kind.PrefixNever,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, c, old class) field.ErrorList {
			return validateClass(&c.Spec, &old.Spec, field.NewPath("spec"))
		},
		Columns: []kind.Column[class]{kind.NameColumn[class](), kind.AgeColumn[class]()},
	}
}

func validateClass(s, old *resourcev1.DeviceClassSpec, path *field.Path) field.ErrorList {
	stored := old != nil && equality.Semantic.DeepEqual(s.Selectors, old.Selectors)
	errs := validateSelectors(s.Selectors, stored, path.Child("selectors"))
	stored = old != nil && equality.Semantic.DeepEqual(s.Config, old.Config)
	errs = append(errs, list(s.Config, resourcev1.DeviceConfigMaxSize, path.Child("config"),
		func(c *resourcev1.DeviceClassConfiguration, path *field.Path) field.ErrorList {
			return validateConfiguration(&c.DeviceConfiguration, stored, path)
		})...)
	if n := s.ExtendedResourceName; n != nil && !isExtended(*n) {
		errs = append(errs, field.Invalid(path.Child("extendedResourceName"), *n, "must be a valid extended resource name"))
	}
	return errs
}

// isExtended says whether a name can be that of a node's extended resource.
func isExtended(name string) bool {
	if !strings.Contains(name, "/") || strings.Contains(name, "kubernetes.io/") || strings.HasPrefix(name, "requests.") {
		return false
	}
	return len(validation.IsQualifiedName("requests."+name)) == 0 // as resource quotas name it
}
