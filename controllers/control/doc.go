// Package control is what the workload controllers share: the dependencies
// they are built from (Env), expectations, the creation and deletion of pods
// with their events, adoption and release through owner references, the order
// in which surplus pods are deleted, slow start, template hashes and the
// history of revisions.
//
// Decisions here are functions of values; what writes goes through a
// client.Client. Objects read from the shared cache are never changed: copy
// first.
package control
