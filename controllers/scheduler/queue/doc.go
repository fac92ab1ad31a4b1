// Package queue holds the pods that wait for a node: ready ones in the order in
// which they are tried, rejected ones until an event may help them, and those
// that must wait a while before the next try. It is pure: time is an argument.
package queue
