// Package simulated pretends to be many nodes: Node objects with Leases and
// status, whose pods become Running and Ready without containers. Tests and
// scale work use it where the API, the controllers and the scheduler are what
// matters.
//
// What a pod's next step is, and when, is decided by plan.go, a pure function;
// the rest carries it out for all nodes together: one pod informer, one delay
// queue, one timer for all Leases.
package simulated
