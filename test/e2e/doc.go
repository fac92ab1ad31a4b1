// Package e2e tests proa as its users see it: the real binary, etcd, containerd,
// kubectl and Helm.
//
// Every machine of a test is a network namespace of its own on a switch of its
// own (machines.go), so that tests meet neither each other nor the host's
// addresses nor a running cluster. `make e2e` builds what they need and runs them.
package e2e
