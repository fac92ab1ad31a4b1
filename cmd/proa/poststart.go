package main

import (
	"context"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"proa/apis/server"
	"proa/config"
)

// Upstream's names of the steps after an API server's start; each is a part of
// /readyz.
const (
	rolesStep             = "rbac/bootstrap-roles"
	prioritiesStep        = "scheduling/bootstrap-system-priority-classes"
	kubernetesServiceStep = "bootstrap-controller"
	authenticationStep    = "start-cluster-authentication-info-controller"
	trackingStep          = "start-legacy-token-tracking-controller"
)

// withClient makes a step of what needs a client.
func withClient(name string, run func(context.Context, kubernetes.Interface) error) server.PostStart {
	return server.PostStart{Name: name, Run: func(ctx context.Context, loopback *rest.Config) error {
		client, err := kubernetes.NewForConfig(loopback)
		if err != nil {
			return err
		}
		return run(ctx, client)
	}}
}

// bootstrapSteps write the objects that every cluster has; roles only where
// somebody looks at them.
func bootstrapSteps(o *config.Objects, rbac bool) []server.PostStart {
	steps := []server.PostStart{withClient(prioritiesStep, o.Priorities)}
	if rbac {
		steps = append(steps, withClient(rolesStep, o.RBAC))
	}
	return steps
}
