// Package object gives the node agent the config maps and secrets that its
// pods refer to. A Cache keeps one watch per referenced object (the Node
// authorizer allows a node no more than that), shared by all pods that refer
// to it, and says when an object changes: so a pod that waits for a missing
// one starts as soon as it appears, and volumes follow their contents.
package object
