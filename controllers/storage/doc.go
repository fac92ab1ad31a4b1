// Package storage holds the controllers of volumes: what keeps volumes, claims
// and classes while they are used, and what binds claims to volumes.
package storage
