// Package volume makes the volumes of a pod on the node and keeps their
// contents live.
//
// A Manager has one directory per pod below its root, laid out as upstream's:
// <root>/<pod uid>/volumes/<plugin>/<volume>, with <plugin> such as
// kubernetes.io~empty-dir, so that tools which look there find what they
// expect. Each volume type is one file with one Type value; all.go lists
// them. A type either makes a directory (emptyDir, hostPath) or computes
// files (configMap, secret, downwardAPI, projected); files are written by one
// atomic writer and rewritten when an object changes, when the pod's labels
// or annotations change, or when a token has lived 80% of its life.
//
// Mounts are made through the Mounter interface, so tests need no root.
package volume
