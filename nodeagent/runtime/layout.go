package runtime

import (
	"path/filepath"

	"proa/nodeagent/hostid"
)

// Layout names the runtime's files of one data directory. It is a function of
// its two arguments, so that reset finds what a runtime made without asking it.
type Layout struct {
	// RuntimeDir holds the unpacked bundles, one directory per digest, and the
	// configuration files.
	RuntimeDir string
	// Root is containerd's persistent state: content, snapshots, metadata.
	Root string
	// State is containerd's transient state: task bundles, mounts, namespaces.
	State string
	// Socket is containerd's gRPC socket, which also serves CRI. The path is
	// short whatever the data directory's: a socket path holds 107 bytes.
	Socket string
	// ShimSockets holds the shims' sockets; containerd allows it 42 bytes.
	ShimSockets string
	// RuncRoot is runc's own state directory.
	RuncRoot string
	// CNIConf is where the pod network's configuration is expected.
	CNIConf string
	// Registries holds <host>/hosts.toml files, which configure mirrors.
	Registries string
	// Images holds the archives (*.tar) to import.
	Images string
	// Imported records which archives Root already holds.
	Imported string
	// Log is containerd's log file.
	Log string
	// Cgroup is where containerd and the shims themselves run, so that
	// stopping proa's own cgroup does not stop them.
	Cgroup string
}

// LayoutOf returns the layout for a data directory, which must be absolute.
func LayoutOf(dataDir string, names hostid.Names) Layout {
	return Layout{
		RuntimeDir:  filepath.Join(dataDir, "runtime"),
		Root:        filepath.Join(dataDir, "containerd"),
		State:       filepath.Join(names.RunDir, "containerd"),
		Socket:      filepath.Join(names.RunDir, "containerd.sock"),
		ShimSockets: filepath.Join(names.RunDir, "s"),
		RuncRoot:    filepath.Join(names.RunDir, "runc"),
		CNIConf:     filepath.Join(dataDir, "cni", "net.d"),
		Registries:  filepath.Join(dataDir, "registries"),
		Images:      filepath.Join(dataDir, "images"),
		Imported:    filepath.Join(dataDir, "containerd", "imported.json"),
		Log:         filepath.Join(dataDir, "logs", "containerd.log"),
		Cgroup:      names.CgroupParent + "/runtime",
	}
}

// directories lists what must exist before containerd starts.
func (l Layout) directories() []string {
	return []string{
		l.RuntimeDir, l.Root, l.State, l.ShimSockets, l.RuncRoot, l.CNIConf,
		l.Registries, l.Images, filepath.Dir(l.Log),
	}
}

// configPrefix starts the path of every configuration file of this layout.
func (l Layout) configPrefix() string { return filepath.Join(l.RuntimeDir, "config-") }
