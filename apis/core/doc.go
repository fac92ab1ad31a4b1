// Package core holds the kinds of the legacy group (v1): one file per kind, and
// the pieces of pods and pod templates that other groups' kinds share
// (podspec_*.go, container_*.go, volume_*.go, names.go, ...).
//
// Semantics are those of Kubernetes' API reference: defaults, reset fields,
// validation causes and printed columns are the same as kube-apiserver's.
package core
