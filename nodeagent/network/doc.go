// Package network connects the pods of one node with those of all others.
//
// From the Node objects it derives a plan, a plain value (plan.go): the gateway
// addresses of this node's pod bridge, one route per other node ("host-gw": the
// other node's pod subnet through its InternalIP), and what leaves the cluster
// under the node's address. Thin writers carry the plan out: the bridge
// (bridge.go), the routes (routes.go), the masquerade rule in an nftables table
// of its own (masquerade.go), the kernel settings (sysctl.go) and, last, the CNI
// configuration (cni.go), with whose appearance the container runtime reports
// the node's network as ready.
//
// Nothing is undone when the component stops: pods keep running and keep their
// network. Cleanup removes it all.
package network
