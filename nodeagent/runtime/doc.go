// Package runtime carries the container runtime: it unpacks the bundled
// containerd, shim, runc and CNI plugins, configures them for one data
// directory's cluster, runs containerd as a child process and imports images.
//
// Containers do not depend on proa's life. containerd runs in a session of its
// own and is left running when proa stops, cleanly or not; its shims outlive it
// in turn. At the next start proa adopts the containerd it finds, provided that
// it runs the same bundle with the same configuration, and else replaces it,
// which no container notices. Leaving containerd up is the more robust choice:
// a stop and a kill -9 then take the same path, the event stream has no gap,
// and a restart of proa costs no runtime start. `proa reset` ends it.
//
// No pid file says which process is ours: the configuration's path, which holds
// the data directory and a digest of the content, is on containerd's command
// line, so the process table itself answers, and cannot be stale.
//
// Everything containerd makes on the host is below the data directory or below
// the run directory of package hostid.
package runtime
