// Package scheduler assigns pods to nodes.
//
// It is a pure core (core.go over the packages framework, plugins, placement
// and queue) that decides from values, and a thin shell (scheduler.go and its
// neighbours) that feeds it from informers and carries decisions out: binding
// in parallel, status conditions, events, metrics, leader election. Reasons,
// messages, weights and metric names are upstream's.
package scheduler
