package runtime

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hasCapability reads the effective capabilities from a /proc/<pid>/status.
func hasCapability(status []byte, capability uint) bool {
	scanner := bufio.NewScanner(bytes.NewReader(status))
	for scanner.Scan() {
		value, ok := strings.CutPrefix(scanner.Text(), "CapEff:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		return err == nil && set&(1<<capability) != 0
	}
	return false
}

// OverlayWorks reports whether overlayfs can be mounted over directories in
// dir: not so where dir is itself on an overlay, as in many containers.
func OverlayWorks(dir string) bool {
	tmp, err := os.MkdirTemp(dir, ".overlay-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(tmp)
	at := func(name string) string { return filepath.Join(tmp, name) }
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			return false
		}
	}
	// As containerd does, without escaping: a data directory whose name holds
	// overlayfs' own syntax fails here and gets copied layers instead.
	options := "lowerdir=" + at("lower") + ",upperdir=" + at("upper") + ",workdir=" + at("work")
	if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return false
	}
	defer func() { _ = unix.Unmount(at("merged"), unix.MNT_DETACH) }()
	return os.WriteFile(filepath.Join(at("merged"), "file"), nil, 0o600) == nil
}
