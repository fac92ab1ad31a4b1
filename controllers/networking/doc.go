// Package networking holds the controllers of group networking.k8s.io.
package networking
