package admission

import (
	"context"
	"errors"
	"io"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	library "k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/validation"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// quotaWorkers is how many namespaces are charged at a time.
const quotaWorkers = 5

// resourceQuota refuses what exceeds the quotas of its namespace and charges
// what does not: the library's plugin with evaluators of our own. Namespaces
// without quotas never get as far as its queue.
type resourceQuota struct {
	*library.QuotaAdmission
	quotas corelisters.ResourceQuotaLister
	synced cache.InformerSynced
	// limited is set if some resources may be used only where a quota covers them.
	limited bool
}

func newResourceQuota(o Options, config io.Reader) (admission.Interface, error) {
	configuration, err := library.LoadConfiguration(config)
	if err != nil {
		return nil, err
	}
	if errs := validation.ValidateConfiguration(configuration); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	plugin, err := library.NewResourceQuota(configuration, quotaWorkers)
	if err != nil {
		return nil, err
	}
	drained := o.Drained
	if drained == nil {
		drained = make(chan struct{})
	}
	plugin.SetDrainedNotification(drained)
	plugin.SetExternalKubeClientSet(o.Client)
	plugin.SetExternalKubeInformerFactory(o.Informers)
	plugin.SetQuotaConfiguration(generic.NewConfiguration(quotaEvaluators(o), unquoted()))
	i := o.Informers.Core().V1().ResourceQuotas()
	return &resourceQuota{plugin, i.Lister(), i.Informer().HasSynced, len(configuration.LimitedResources) > 0}, nil
}

// Validate implements admission.ValidationInterface.
func (r *resourceQuota) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if !r.limited && a.GetNamespace() != "" && r.synced() {
		quotas, err := r.quotas.ResourceQuotas(a.GetNamespace()).List(labels.Everything())
		if err != nil {
			return admission.NewForbidden(a, errors.New("error resolving quota: "+err.Error()))
		}
		if len(quotas) == 0 {
			return nil
		}
	}
	return r.QuotaAdmission.Validate(ctx, a, o)
}

// unquoted are the resources that no quota ever counts: what is not stored, and events.
func unquoted() map[schema.GroupResource]struct{} {
	out := map[schema.GroupResource]struct{}{
		{Resource: "bindings"}:                       {},
		{Resource: "componentstatuses"}:              {},
		{Resource: "events"}:                         {},
		{Group: "events.k8s.io", Resource: "events"}: {},
	}
	for _, r := range reviews() {
		out[r] = struct{}{}
	}
	return out
}
