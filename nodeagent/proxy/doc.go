// Package proxy is the service proxy: it leads what is sent to a Service's
// addresses to one of its endpoints, by nftables rules in the kernel.
//
// The rules are computed by pure functions. static.go has those that every table
// has, rules.go those of one Service, from the Service, its EndpointSlices
// (endpoints.go) and Facts about the node. What they return are Fragments of a
// RuleSet (ruleset.go). The layout is that of kube-proxy's nftables mode: maps
// from destination to verdict lead to one chain per service port, so that the
// number of rules a packet passes does not grow with the number of Services.
//
// One writer per IP family (writer.go) carries the differences to what it wrote
// last into the kernel, in one transaction; now and then, and whenever a
// transaction fails, it compares with the kernel itself and repairs. The component
// (proxy.go) recomputes the fragments of those Services only that an event named.
// conntrack.go ends UDP flows to endpoints that are gone, health.go answers on
// healthCheckNodePorts.
//
// Rules stay when the component stops, so that pods keep their Services during a
// restart. Cleanup removes them.
package proxy
