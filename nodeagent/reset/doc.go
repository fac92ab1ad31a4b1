// Package reset removes all that one data directory's cluster made on this
// host, and nothing else. Everything is found by names that derive from the
// cluster id (package hostid) or by paths below the data and run directories,
// so a second cluster, another runtime or the host's own rules are not touched.
//
// It works in the order in which things hold each other: pods through the
// runtime where that still answers (which undoes their networking), then every
// process left in the cluster's cgroups, mounts, cgroups, links, rules, routes,
// logs, and the directories last. A reset that was interrupted, or that failed
// half-way, can be run again.
package reset
