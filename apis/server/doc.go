// Package server is the API server: the aggregator in front of the kinds in
// front of custom resources, on k8s.io/apiserver, kube-aggregator and
// apiextensions-apiserver, with authentication, authorization, admission,
// OpenAPI and discovery.
//
// It is built by New from Options, serves TLS on one listener, and hands out
// rest.Configs that reach the same handler chain in memory.
package server
