// Package dns is the cluster's DNS server, one on every node.
//
// The resolver (resolver.go, reverse.go) is a function of a question and a
// Lister; it follows the Kubernetes DNS specification, version 1.1.0
// (https://github.com/kubernetes/dns/blob/master/docs/specification.md), with
// CoreDNS's choices where that leaves one. store.go is the Lister over informers.
// What is not of the cluster goes to the host's resolvers (forward.go, with a
// small cache and without loops). server.go speaks the protocol: UDP and TCP,
// EDNS0, truncation. publish.go makes the server known: the Service
// kube-system/kube-dns, without a selector, and one EndpointSlice per node, so
// that the service proxy leads every pod to its own node's server.
package dns
