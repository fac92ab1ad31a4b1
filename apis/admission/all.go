package admission

import (
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Options are what plugins depend on.
type Options struct {
	// Context ends the plugins' background work.
	Context context.Context
	// Drained is closed when the last request is answered; nil means never.
	Drained <-chan struct{}
	// Clock is the source of time; nil means the real one.
	Clock clock.PassiveClock
	// Client and Informers reach this same API server.
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	// Authorizer answers plugins' questions about other permissions of a user.
	Authorizer authorizer.UnconditionalAuthorizer
	// Served says whether a resource is served; plugins that watch others are left
	// out, since they would wait for them forever. Nil leaves out every plugin that
	// has such a condition.
	Served func(schema.GroupVersionResource) bool
	// Admits says which plugins run; nil means those that are on by default. The
	// others are not even made.
	Admits func(name string) bool
	// Config has the plugins' own configuration (--admission-control-config-file);
	// nil means none.
	Config admission.ConfigProvider
	// Webhooks adds the plugins that ask webhooks and policies; nil leaves them out.
	Webhooks *Webhooks
}

// Named is a plugin with the name that metrics, audit and --disable-admission-plugins use.
type Named struct {
	Name   string
	Plugin admission.Interface
}

// entry is one plugin of the list.
type entry struct {
	name string
	// off plugins run only if they are asked for.
	off bool
	// needs are the resources (of version v1) without which the plugin is left out.
	needs []schema.GroupResource
	// make builds the plugin from its own configuration, which may be nil.
	make func(o Options, config io.Reader) (admission.Interface, error)
}

// plain is a plugin without configuration, whose making cannot fail.
func plain[P admission.Interface](f func(Options) P) func(Options, io.Reader) (admission.Interface, error) {
	return func(o Options, _ io.Reader) (admission.Interface, error) { return f(o), nil }
}

func need(group string, resources ...string) []schema.GroupResource {
	var out []schema.GroupResource
	for _, r := range resources {
		out = append(out, schema.GroupResource{Group: group, Resource: r})
	}
	return out
}

// all is the list of plugins in upstream's order.
func all() []entry {
	return []entry{
		{name: "AlwaysAdmit", off: true, make: plain(func(Options) alwaysAdmit { return alwaysAdmit{} })},
		{name: "NamespaceAutoProvision", off: true, make: plain(newNamespaceAutoProvision)},
		{name: "NamespaceLifecycle", make: newNamespaceLifecycle},
		{name: "NamespaceExists", off: true, make: plain(newNamespaceExists)},
		{name: "LimitPodHardAntiAffinityTopology", off: true, make: plain(newHardAntiAffinity)},
		{name: "LimitRanger", needs: need("", "limitranges"), make: plain(newLimitRanger)},
		{name: "ServiceAccount", make: plain(func(o Options) *serviceAccount { return newServiceAccount(o.Informers, o.Client) })},
		{name: "NodeRestriction", off: true, make: plain(func(o Options) *nodeRestriction { return newNodeRestriction(o.Informers, o.Client, o.Authorizer) })},
		{name: "TaintNodesByCondition", make: plain(func(Options) admission.Interface { return newTaintNodes() })},
		{name: "AlwaysPullImages", off: true, make: plain(newAlwaysPullImages)},
		{name: "PodSecurity", make: func(o Options, _ io.Reader) (admission.Interface, error) {
			return newPodSecurity(o.Informers, o.Client)
		}},
		{name: "PodNodeSelector", off: true, make: newPodNodeSelector},
		{name: "Priority", make: plain(func(o Options) *priority { return newPriority(o.Informers, o.Client) })},
		{name: "DefaultTolerationSeconds", make: plain(func(Options) admission.Interface { return newDefaultTolerationSeconds() })},
		{name: "PodTolerationRestriction", off: true, make: newPodTolerationRestriction},
		{name: "EventRateLimit", off: true, make: newEventRateLimit},
		{name: "ExtendedResourceToleration", off: true, make: plain(newExtendedResourceToleration)},
		{name: "DefaultStorageClass", needs: need("storage.k8s.io", "storageclasses"), make: plain(newDefaultStorageClass)},
		{name: "StorageObjectInUseProtection", make: plain(newStorageProtection)},
		{name: "OwnerReferencesPermissionEnforcement", off: true, make: plain(newOwnerReferences)},
		{name: "PersistentVolumeClaimResize", needs: need("storage.k8s.io", "storageclasses"), make: plain(newClaimResize)},
		{name: "RuntimeClass", needs: need("node.k8s.io", "runtimeclasses"), make: plain(func(o Options) *runtimeClass { return newRuntimeClass(o.Informers, o.Client) })},
		{name: "CertificateApproval", make: plain(func(o Options) admission.Interface { return newCertificateApproval(o.Authorizer) })},
		{name: "CertificateSigning", make: plain(func(o Options) admission.Interface { return newCertificateSigning(o.Authorizer) })},
		{name: "CertificateSubjectRestriction", make: plain(func(Options) admission.Interface { return newCertificateSubject() })},
		{name: "DefaultIngressClass", needs: need("networking.k8s.io", "ingressclasses"), make: plain(newDefaultIngressClass)},
		{name: "DenyServiceExternalIPs", off: true, make: plain(newDenyExternalIPs)},
		{name: "PodTopologyLabels", make: plain(newPodTopologyLabels)},
		{name: "PodResizeValidator", make: plain(newPodResize)},

		// These go at the end: they see what all others made of the object.
		{name: "MutatingAdmissionPolicy", needs: need("admissionregistration.k8s.io", "mutatingadmissionpolicies"), make: newMutatingPolicy},
		{name: "MutatingAdmissionWebhook", needs: need("admissionregistration.k8s.io", "mutatingwebhookconfigurations"), make: newMutatingWebhook},
		{name: "ValidatingAdmissionPolicy", needs: need("admissionregistration.k8s.io", "validatingadmissionpolicies"), make: newValidatingPolicy},
		{name: "ValidatingAdmissionWebhook", needs: need("admissionregistration.k8s.io", "validatingwebhookconfigurations"), make: newValidatingWebhook},
		// And this last: what it charged, nobody refuses any more.
		{name: "ResourceQuota", needs: need("", "resourcequotas"), make: newResourceQuota},
		{name: "AlwaysDeny", off: true, make: plain(func(Options) alwaysDeny { return alwaysDeny{} })},
	}
}

// Names lists all plugins there are, in their order.
func Names() []string {
	var out []string
	for _, e := range all() {
		out = append(out, e.name)
	}
	return out
}

// DefaultOn reports whether a plugin runs unless it is turned off.
func DefaultOn(name string) bool {
	for _, e := range all() {
		if e.name == name {
			return !e.off
		}
	}
	return false
}

// Plugins makes the plugins that run, in upstream's order.
func Plugins(o Options) ([]Named, error) {
	if o.Context == nil || o.Client == nil || o.Informers == nil || o.Authorizer == nil {
		return nil, errors.New("admission: Context, Client, Informers and Authorizer are required")
	}
	if o.Admits == nil {
		o.Admits = DefaultOn
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	var out []Named
	for _, e := range all() {
		if !o.Admits(e.name) || !o.serves(e.needs) {
			continue
		}
		plugin, err := o.make(e)
		if err != nil {
			return nil, fmt.Errorf("admission: %s: %w", e.name, err)
		}
		if plugin != nil {
			out = append(out, Named{e.name, plugin})
		}
	}
	return out, nil
}

func (o Options) serves(resources []schema.GroupResource) bool {
	for _, r := range resources {
		if o.Served == nil || !o.Served(r.WithVersion("v1")) {
			return false
		}
	}
	return true
}

// make builds one plugin and gives it what it needs; nil if it is left out.
func (o Options) make(e entry) (admission.Interface, error) {
	var config io.Reader
	if o.Config != nil {
		var err error
		if config, err = o.Config.ConfigFor(e.name); err != nil {
			return nil, err
		}
	}
	plugin, err := e.make(o, config)
	if err != nil || plugin == nil {
		return nil, err
	}
	if v, ok := plugin.(admission.InitializationValidator); ok {
		if err := v.ValidateInitialization(); err != nil {
			return nil, err
		}
	}
	return plugin, nil
}
