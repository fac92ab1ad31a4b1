// Package kind is the vocabulary in which every API kind is described, and the
// one adapter that turns a description into storage for the generic API server.
//
// A kind is a value: names, scope, defaults, validation, printed columns,
// selectable fields and subresources, all in one file of apis/<group>. The
// adapter (adapter.go, strategy.go, table.go) is the only code that knows the
// generic registry. There are no internal types: the k8s.io/api Go type is the
// served version and the storage hub at once.
package kind
