// Package apps holds the controllers of the apps API group: ReplicaSet,
// Deployment, DaemonSet and StatefulSet. What they decide (how many pods, which to delete,
// how a rollout goes on) is in functions of values; the reconcilers read the
// cache, ask those functions and write.
package apps
