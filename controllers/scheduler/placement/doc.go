// Package placement chooses nodes for pods: the pure core of the scheduler.
//
// Pods of one shape (same values in everything a plugin looks at) form a class,
// one for each situation (see framework.Situated).
// A class knows every node's verdict and score and keeps the feasible nodes
// sorted by score; when a pod is put somewhere, only that node is looked at
// again, in every class that is asked next. Placing ten thousand equal pods
// costs one look at all nodes and then one look at one node per pod.
package placement
