// Package garbagecollector deletes objects whose owners are gone, holds
// foreground deletion back until the dependents are gone, and orphans
// dependents where that was asked for.
//
// graph.go is the pure core: objects and their owner references as a graph,
// and what each event makes worth looking at. attempt.go decides, from the
// object and its owners as the API server has them, what to do with one
// object. collector.go is the shell around both: informers for every kind that
// can be deleted, queues, workers. See "Garbage Collection" in the Kubernetes
// documentation and the design proposal of synchronous garbage collection.
package garbagecollector
