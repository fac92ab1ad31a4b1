package controllers

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"proa/controllers/apps"
	"proa/controllers/control"
	"proa/controllers/core"
)

// Entry is one controller of the list.
type Entry struct {
	// Name as in --controllers; upstream's where it has one.
	Name string
	// Needs are the resources without which the controller is not started.
	Needs []schema.GroupVersionResource
	// Setup registers the controller with env.Manager.
	Setup func(env *control.Env) error
}

// missing lists the resources that the API server does not serve.
func (e Entry) missing(served map[schema.GroupVersionResource]bool) []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, gvr := range e.Needs {
		if !served[gvr] {
			out = append(out, gvr)
		}
	}
	return out
}

func v1(resources ...string) []schema.GroupVersionResource { return in("", resources...) }

// in lists resources of version v1 of a group.
func in(group string, resources ...string) []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, r := range resources {
		out = append(out, schema.GroupVersionResource{Group: group, Version: "v1", Resource: r})
	}
	return out
}

// All is the list of controllers, in the order of their setup.
func All() []Entry {
	return []Entry{
		{"namespace-controller", v1("namespaces", "pods"), core.SetupNamespace},
		{"serviceaccount-controller", v1("namespaces", "serviceaccounts"), core.SetupServiceAccount},
		{"root-ca-certificate-publisher-controller", v1("namespaces", "configmaps"), core.SetupRootCA},
		{"replicaset-controller", append(in("apps", "replicasets"), v1("pods")...), apps.SetupReplicaSet},
		{"deployment-controller", append(in("apps", "deployments", "replicasets"), v1("pods")...), apps.SetupDeployment},

		// Controllers of other folders: node lifecycle and node IPAM
		// (controllers/node), pod garbage collection (controllers/podgc),
		// certificate approving, signing and cleaning (controllers/certificates).
		// ADD THEIR LINES HERE.
	}
}
