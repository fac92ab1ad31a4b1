// Package core holds the controllers of the core API group: namespaces and
// what every namespace gets (the default service account, the root CA), and
// Endpoints.
package core
