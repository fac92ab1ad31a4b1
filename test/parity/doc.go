// Package parity holds upstream's kube-apiserver beside ours and compares what
// both say of the stable API: discovery, OpenAPI, tables, selectable fields,
// answers, and what they keep in etcd, which each reads from the other.
//
// A difference is an error unless allowed.go has a reason for it.
package parity
