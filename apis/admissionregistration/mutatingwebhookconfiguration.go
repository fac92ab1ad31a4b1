package admissionregistration

import (
	"context"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

type mutatingWebhooks = *registrationv1.MutatingWebhookConfiguration

// MutatingWebhookConfiguration names webhooks that may change objects on their way in.
func MutatingWebhookConfiguration() *kind.Kind[mutatingWebhooks] {
	compilers := newCompilers()
	return &kind.Kind[mutatingWebhooks]{
		GVK:                       registrationv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"),
		Resource:                  "mutatingwebhookconfigurations",
		Categories:                []string{"api-extensions"},
		ClusterScoped:             true,
		RefuseUnconditionalUpdate: true,
		New:                       func() mutatingWebhooks { return &registrationv1.MutatingWebhookConfiguration{} },
		NewList:                   func() runtime.Object { return &registrationv1.MutatingWebhookConfigurationList{} },
		Default: func(c mutatingWebhooks) {
			for i := range c.Webhooks {
				w := &c.Webhooks[i]
				setDefault(&w.FailurePolicy, registrationv1.Fail)
				setDefault(&w.MatchPolicy, registrationv1.Equivalent)
				setDefault(&w.NamespaceSelector, metav1.LabelSelector{})
				setDefault(&w.ObjectSelector, metav1.LabelSelector{})
				setDefault(&w.TimeoutSeconds, int32(10))
				setDefault(&w.ReinvocationPolicy, registrationv1.NeverReinvocationPolicy)
				defaultClient(&w.ClientConfig)
				for j := range w.Rules {
					defaultRule(&w.Rules[j].Rule)
				}
			}
		},
		EmptyIsChange: true,
		Spec:          func(c mutatingWebhooks) any { return c.Webhooks },
		Validate: func(_ context.Context, c mutatingWebhooks) field.ErrorList {
			return append(validateHooks(c.Webhooks, leniency{}, compilers), refuseStaticName(c.Name)...)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		ValidateUpdate: func(_ context.Context, c, old mutatingWebhooks) field.ErrorList {
			return validateHooks(c.Webhooks, leniencyFor(c.Webhooks, old.Webhooks), compilers)
		},
		Warnings: func(_ context.Context, c, old mutatingWebhooks) []string { return warnStaticName(c.Name, old == nil) },
		Columns: []kind.Column[mutatingWebhooks]{
			kind.NameColumn[mutatingWebhooks](),
			{Name: "Webhooks", Type: "integer", Description: "Webhooks indicates the number of webhooks registered in this configuration",
				Value: func(c mutatingWebhooks) any { return int64(len(c.Webhooks)) }},
			kind.AgeColumn[mutatingWebhooks](),
		},
	}
}
