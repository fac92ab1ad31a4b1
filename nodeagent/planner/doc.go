// Package planner decides what a node does next for one pod. It is pure: a
// [State] holds what is known (the pod, the runtime's containers, probe
// results, what is under way), [State.Plan] turns it and the time into actions
// to begin now and the time to look again, and [State.Done] takes an action's
// outcome in. No function here does I/O, reads a clock or starts a goroutine.
//
// Nothing is ever begun twice: an action is under way from the plan that names
// it until its Done, and each has a key that says what it is about. Actions that
// do not depend on each other (volumes, sandbox, image) are begun together.
package planner
