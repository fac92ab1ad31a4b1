// Package podgc deletes pods that nobody else will: finished ones above a
// threshold, those bound to nodes that are gone, those deleted before they had
// a node, and those that cannot terminate because their node is out of service.
package podgc
