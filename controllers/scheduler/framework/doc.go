// Package framework holds the vocabulary of the scheduler's pure core: resource
// vectors, pods and nodes as the plugins see them, the cluster they live in,
// verdicts, events and the Plugin interface. Nothing here does I/O.
//
// Values reachable from a Node are never changed after they were published:
// every change makes a new Node that shares with the old one all that stayed
// the same. A plugin may keep what it was given, and a what-if question
// ("would the pod fit without these pods?") is asked of a derived Node.
package framework
