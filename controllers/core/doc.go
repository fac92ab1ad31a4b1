// Package core holds the controllers of the core API group: namespaces and
// what every namespace gets (the default service account, the root CA),
// Endpoints, ReplicationControllers and the usage of ResourceQuotas.
package core
