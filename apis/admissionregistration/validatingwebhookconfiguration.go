package admissionregistration

import (
	"context"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

type validatingWebhooks = *registrationv1.ValidatingWebhookConfiguration

// ValidatingWebhookConfiguration names webhooks that accept or refuse requests.
func ValidatingWebhookConfiguration() *kind.Kind[validatingWebhooks] {
	compilers := newCompilers()
	return &kind.Kind[validatingWebhooks]{
		GVK:                       registrationv1.SchemeGroupVersion.WithKind("ValidatingWebhookConfiguration"),
		Resource:                  "validatingwebhookconfigurations",
		Categories:                []string{"api-extensions"},
		ClusterScoped:             true,
		RefuseUnconditionalUpdate: true,
		New:                       func() validatingWebhooks { return &registrationv1.ValidatingWebhookConfiguration{} },
		NewList:                   func() runtime.Object { return &registrationv1.ValidatingWebhookConfigurationList{} },
		Default: func(c validatingWebhooks) {
			for i := range c.Webhooks {
				w := &c.Webhooks[i]
				setDefault(&w.FailurePolicy, registrationv1.Fail)
				setDefault(&w.MatchPolicy, registrationv1.Equivalent)
				setDefault(&w.NamespaceSelector, metav1.LabelSelector{})
				setDefault(&w.ObjectSelector, metav1.LabelSelector{})
				setDefault(&w.TimeoutSeconds, int32(10))
				defaultClient(&w.ClientConfig)
				for j := range w.Rules {
					defaultRule(&w.Rules[j].Rule)
				}
			}
		},
		EmptyIsChange: true,
		Spec:          func(c validatingWebhooks) any { return c.Webhooks },
		Validate: func(_ context.Context, c validatingWebhooks) field.ErrorList {
			return append(validateHooks(asHooks(c.Webhooks), leniency{}, compilers), refuseStaticName(c.Name)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, c, old validatingWebhooks) field.ErrorList {
			hooks := asHooks(c.Webhooks)
			return validateHooks(hooks, leniencyFor(hooks, asHooks(old.Webhooks)), compilers)
		},
		Warnings: func(_ context.Context, c, old validatingWebhooks) []string { return warnStaticName(c.Name, old == nil) },
		Columns: []kind.Column[validatingWebhooks]{
			kind.NameColumn[validatingWebhooks](),
			{Name: "Webhooks", Type: "integer", Description: "Webhooks indicates the number of webhooks registered in this configuration",
				Value: func(c validatingWebhooks) any { return int64(len(c.Webhooks)) }},
			kind.AgeColumn[validatingWebhooks](),
		},
	}
}
