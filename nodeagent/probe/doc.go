// Package probe runs startup, liveness and readiness probes: exec, http, tcp
// and grpc, one file each. One goroutine per probe waits on a timer of the
// injected clock; what a container's probes say together is handed to a
// callback whenever it changes.
//
// Semantics are upstream's: until the startup probe has succeeded the others
// rest; a container is not ready before its readiness probe has succeeded;
// liveness counts as passed until its failure threshold is reached.
package probe
