package admission

import (
	"context"
	"io"

	"k8s.io/apiserver/pkg/admission"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
)

func newMutatingPolicy(o Options, config io.Reader) (admission.Interface, error) {
	if o.Webhooks == nil {
		return nil, nil
	}
	settings, err := reread(config)
	if err != nil {
		return nil, err
	}
	f := o.Informers.Admissionregistration().V1()
	d, err := newOnDemand(o, func(ctx context.Context) (admission.Interface, error) {
		plugin, err := mutatingpolicy.NewPlugin(settings())
		if err != nil {
			return nil, err
		}
		if err := o.initialize(ctx, plugin); err != nil {
			return nil, err
		}
		return plugin, plugin.ValidateInitialization()
	}, f.MutatingAdmissionPolicies().Informer(), f.MutatingAdmissionPolicyBindings().Informer())
	if err != nil {
		return nil, err
	}
	d.Handler = admission.NewHandler(admission.Create, admission.Update, admission.Connect)
	return onDemandMutation{d}, nil
}

func newValidatingPolicy(o Options, config io.Reader) (admission.Interface, error) {
	if o.Webhooks == nil {
		return nil, nil
	}
	settings, err := reread(config)
	if err != nil {
		return nil, err
	}
	f := o.Informers.Admissionregistration().V1()
	d, err := newOnDemand(o, func(ctx context.Context) (admission.Interface, error) {
		plugin, err := validatingpolicy.NewPlugin(settings())
		if err != nil {
			return nil, err
		}
		if err := o.initialize(ctx, plugin); err != nil {
			return nil, err
		}
		return plugin, plugin.ValidateInitialization()
	}, f.ValidatingAdmissionPolicies().Informer(), f.ValidatingAdmissionPolicyBindings().Informer())
	if err != nil {
		return nil, err
	}
	d.Handler = admission.NewHandler(admission.Create, admission.Update, admission.Delete, admission.Connect)
	return onDemandValidation{d}, nil
}
