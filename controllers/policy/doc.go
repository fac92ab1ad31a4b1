// Package policy holds the controllers of voluntary disruptions: the status of
// PodDisruptionBudgets, and the end of announced disruptions that never came.
package policy
