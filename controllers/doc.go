// Package controllers runs the cluster's control loops: it owns the one
// manager, the one informer cache that all controllers and the scheduler
// share, and the explicit list of controllers (all.go). One controller is one
// file in the folder of its API group. Controllers know the API only through
// clients and k8s.io types.
package controllers
