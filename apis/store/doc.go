// Package store is the etcd of a cluster: an embedded member with TLS and
// client certificates, whose keys and encoding are upstream's.
package store
