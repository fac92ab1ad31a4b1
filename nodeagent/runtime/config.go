package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// PauseImage holds a pod sandbox's namespaces. It is part of the bundle.
const PauseImage = LocalRegistry + "/pause:1.0"

// facts are what the configuration depends on beside the paths.
type facts struct {
	// sysResource is whether the process may lower OOM scores. Without it, runc
	// fails on any container whose score is below containerd's own.
	sysResource bool
	// overlay is whether the kernel mounts overlayfs on the data directory's
	// file system; else layers are copied.
	overlay bool
	// logLevel is containerd's: trace, debug, info, warn, error.
	logLevel string
}

// snapshotter is the name of the containerd plugin that stores layers.
func (f facts) snapshotter() string {
	if f.overlay {
		return "overlayfs"
	}
	return "native"
}

// renderConfig returns containerd's configuration (version 3) and the path to
// store it at, which holds a digest of the content.
func renderConfig(l Layout, binDirs binDirs, f facts) (path, content string) {
	oomScore := 0
	if f.sysResource {
		oomScore = -999
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	line("version = 3")
	line("root = %s", quote(l.Root))
	line("state = %s", quote(l.State))
	line("temp = %s", quote(filepath.Join(l.Root, "tmp")))
	line("oom_score = %d", oomScore)
	// What a Kubernetes node never asks for, or would reach outside our
	// directories: NRI listens on a host-wide socket.
	line("disabled_plugins = [")
	for _, p := range []string{
		"io.containerd.nri.v1.nri",
		"io.containerd.snapshotter.v1.blockfile",
		"io.containerd.snapshotter.v1.erofs",
		"io.containerd.differ.v1.erofs",
		"io.containerd.mount-handler.v1.erofs",
		"io.containerd.image-verifier.v1.bindir",
	} {
		line("  %s,", quote(p))
	}
	line("]")
	line("\n[grpc]")
	line("address = %s", quote(l.Socket))
	line("\n[debug]")
	line("level = %s", quote(f.logLevel))
	line("\n[cgroup]")
	line("path = %s", quote(l.Cgroup))

	line("\n[plugins.'io.containerd.internal.v1.opt']")
	line("path = %s", quote(filepath.Join(l.Root, "opt")))
	line("\n[plugins.'io.containerd.shim.v1.manager']")
	line("socket_dir = %s", quote(l.ShimSockets))

	line("\n[plugins.'io.containerd.grpc.v1.cri']")
	line("disable_tcp_service = true")
	line("stream_server_address = '127.0.0.1'")
	line("stream_server_port = '0'")

	line("\n[plugins.'io.containerd.cri.v1.images']")
	line("snapshotter = %s", quote(f.snapshotter()))
	line("stats_collect_period = 60")
	line("[plugins.'io.containerd.cri.v1.images'.pinned_images]")
	line("sandbox = %s", quote(PauseImage))
	line("[plugins.'io.containerd.cri.v1.images'.registry]")
	line("config_path = %s", quote(l.Registries))

	line("\n[plugins.'io.containerd.cri.v1.runtime']")
	line("restrict_oom_score_adj = %t", !f.sysResource)
	// The default of one second costs 15% of a core with 50 pods.
	line("stats_collect_period = '10s'")
	line("netns_mounts_under_state_dir = true")
	line("device_ownership_from_security_context = true")
	line("disable_hugetlb_controller = true")
	line("[plugins.'io.containerd.cri.v1.runtime'.cni]")
	line("bin_dirs = [%s]", quote(binDirs.cni))
	line("conf_dir = %s", quote(l.CNIConf))
	line("use_internal_loopback = true")
	line("[plugins.'io.containerd.cri.v1.runtime'.containerd]")
	line("default_runtime_name = 'runc'")
	line("[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]")
	// Shim and runc are found on PATH, not by a path in each container's
	// record, so that containers survive an upgrade of the bundle.
	line("runtime_type = 'io.containerd.runc.v2'")
	line("[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]")
	line("Root = %s", quote(l.RuncRoot))
	line("SystemdCgroup = false")

	content = b.String()
	sum := sha256.Sum256([]byte(content + "\nPATH " + binDirs.bin))
	return l.configPrefix() + hex.EncodeToString(sum[:6]) + ".toml", content
}

// quote writes a TOML basic string; TOML's escapes include all of JSON's.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""` // unreachable: a string always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}
