// Package status makes a pod's status, as upstream's kubelet reports it, from
// what the node knows: a pure function of the pod, the runtime's state, the
// planner's reasons and the probes. Nothing here does I/O.
package status
