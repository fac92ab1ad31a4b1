package admission

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
)

// Options are what plugins depend on.
type Options struct {
	// Client and Informers reach this same API server.
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	// Authorizer answers plugins' questions about other permissions of a user.
	Authorizer authorizer.UnconditionalAuthorizer
	// Served says whether a resource is served; plugins that watch others are left
	// out, since they would wait for them forever. Nil leaves out every plugin that
	// has such a condition.
	Served func(schema.GroupVersionResource) bool
	// Admits says which plugins will run; nil means all. The others of those that
	// work in the background are not even made.
	Admits func(name string) bool
	// Webhooks adds the plugins that ask webhooks and policies; nil leaves them out.
	Webhooks *Webhooks
}

// Named is a plugin with the name that metrics, audit and --disable-admission-plugins use.
type Named struct {
	Name   string
	Plugin admission.Interface
}

// Plugins lists the plugins in upstream's order.
func Plugins(o Options) ([]Named, error) {
	if o.Client == nil || o.Informers == nil || o.Authorizer == nil {
		return nil, errors.New("admission: Client, Informers and Authorizer are required")
	}
	served := func(group, resource string) bool {
		return o.Served != nil && o.Served(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource})
	}
	namespaces, err := lifecycle.NewLifecycle(sets.New("default", "kube-system", "kube-public"))
	if err != nil {
		return nil, fmt.Errorf("admission: NamespaceLifecycle: %w", err)
	}
	podSecurity, err := newPodSecurity(o.Informers, o.Client)
	if err != nil {
		return nil, fmt.Errorf("admission: PodSecurity: %w", err)
	}
	plugins := []Named{
		{"NamespaceLifecycle", namespaces},
		{"LimitRanger", nil},
		{"ServiceAccount", newServiceAccount(o.Informers, o.Client)},
		{"NodeRestriction", newNodeRestriction(o.Informers, o.Client, o.Authorizer)},
		{"TaintNodesByCondition", newTaintNodes()},
		{"PodSecurity", podSecurity},
		{"Priority", newPriority(o.Informers, o.Client)},
		{"DefaultTolerationSeconds", newDefaultTolerationSeconds()},
		{"RuntimeClass", nil},
		{"CertificateApproval", newCertificateApproval(o.Authorizer)},
		{"CertificateSigning", newCertificateSigning(o.Authorizer)},
		{"CertificateSubjectRestriction", newCertificateSubject()},
	}
	// These go at the end: they see what all others made of the object.
	if o.Webhooks != nil && served("admissionregistration.k8s.io", "validatingwebhookconfigurations") {
		webhooks, err := newWebhooks(o)
		if err != nil {
			return nil, err
		}
		plugins = append(plugins, webhooks...)
	}
	out := plugins[:0]
	for _, p := range plugins {
		switch {
		case p.Name == "LimitRanger" && served("", "limitranges"):
			p.Plugin = newLimitRanger(o.Informers)
		case p.Name == "RuntimeClass" && served("node.k8s.io", "runtimeclasses"):
			p.Plugin = newRuntimeClass(o.Informers, o.Client)
		}
		if p.Plugin == nil {
			continue
		}
		// The library's plugins are set up through its initializer interfaces.
		if w, ok := p.Plugin.(initializer.WantsExternalKubeClientSet); ok {
			w.SetExternalKubeClientSet(o.Client)
		}
		if w, ok := p.Plugin.(initializer.WantsExternalKubeInformerFactory); ok {
			w.SetExternalKubeInformerFactory(o.Informers)
		}
		if v, ok := p.Plugin.(admission.InitializationValidator); ok {
			if err := v.ValidateInitialization(); err != nil {
				return nil, fmt.Errorf("admission: %s: %w", p.Name, err)
			}
		}
		out = append(out, p)
	}
	return out, nil
}
