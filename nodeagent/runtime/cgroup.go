package runtime

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeCgroup makes the cgroup that containerd moves itself into. On cgroup v1
// containerd makes it in every hierarchy by itself; on v2 it wants to find it.
func makeCgroup(path string) error {
	const root = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	if path == "" || unix.Statfs(root, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil
	}
	return os.MkdirAll(filepath.Join(root, path), 0o755)
}
