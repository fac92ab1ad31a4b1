package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// SubPath returns the host path of subPath inside a mounted volume. What does
// not exist is made as a directory with the volume's own permissions. No
// symbolic link in the volume can lead out of it.
//
// The answer is a name, and a container that may write to the volume could
// change what it names before it is used. Where that matters, use
// Manager.MountSubPath.
func SubPath(mounted Mounted, subPath string) (string, error) {
	fd, err := openSubPath(mounted, subPath)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	return os.Readlink(fdPath(fd))
}

// MountSubPath is SubPath for one volume mount of a container, safe against
// changes: it binds what it found to
// <pod>/volume-subpaths/<volume>/<container>/<index>, where index is the
// mount's place in the container's volumeMounts, and returns that path. It is
// idempotent; Teardown removes it.
func (m *Manager) MountSubPath(pod *v1.Pod, container string, index int, volume string, mounted Mounted, subPath string) (string, error) {
	if err := checkUID(pod.UID); err != nil {
		return "", err
	}
	target := filepath.Join(m.podDir(pod.UID), "volume-subpaths", volume, container, strconv.Itoa(index))
	fd, err := openSubPath(mounted, subPath)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := os.Lstat(target); err == nil {
		there, err := m.mounter.IsMountPoint(target)
		if err != nil {
			return "", err
		}
		if there && sameFile(fd, target) {
			return target, nil
		}
		// The file was replaced, as a config map's are at every change: a
		// container that starts again must see the new one.
		if there {
			if err := m.mounter.Unmount(target); err != nil {
				return "", err
			}
		}
		if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	if err := makeTarget(fd, target); err != nil {
		return "", err
	}
	// Through the descriptor: no name is looked up again.
	return target, m.mounter.Mount(fdPath(fd), target, "", unix.MS_BIND|unix.MS_REC, "")
}

// openSubPath opens subPath below the volume with O_PATH; the caller closes
// the descriptor. The kernel resolves it (openat2, RESOLVE_BENEATH), so there
// is no moment between check and use.
func openSubPath(mounted Mounted, subPath string) (int, error) {
	if filepath.IsAbs(subPath) || !filepath.IsLocal(subPath) {
		return -1, fmt.Errorf("subPath %q must be a relative path without '..'", subPath)
	}
	root, err := os.OpenRoot(mounted.HostPath)
	if err != nil {
		return -1, err
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Stat(subPath); errors.Is(err, os.ErrNotExist) {
		if err := makeDirs(root, filepath.Clean(subPath)); err != nil {
			return -1, fmt.Errorf("failed to create subPath directory %q: %w", subPath, err)
		}
	}
	dir, err := root.Open(".")
	if err != nil {
		return -1, err
	}
	defer func() { _ = dir.Close() }()
	fd, err := unix.Openat2(int(dir.Fd()), subPath, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch {
	case errors.Is(err, unix.EXDEV):
		return -1, fmt.Errorf("subPath %q leads out of its volume", subPath)
	case errors.Is(err, unix.ENOSYS):
		return -1, fmt.Errorf("subPath %q: this kernel has no openat2; subPath needs Linux 5.6", subPath)
	case err != nil:
		return -1, fmt.Errorf("subPath %q: %w", subPath, err)
	}
	return fd, nil
}

// makeDirs makes the missing directories of path, each with the permissions
// of the volume's top directory.
func makeDirs(root *os.Root, path string) error {
	top, err := root.Stat(".")
	if err != nil {
		return err
	}
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		switch err := root.Mkdir(path[:i], 0o750); {
		case err == nil:
			if err := root.Chmod(path[:i], top.Mode()&(os.ModePerm|os.ModeSetgid)); err != nil {
				return err
			}
		case !errors.Is(err, os.ErrExist):
			return err
		}
	}
	return nil
}

func sameFile(fd int, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Stat(path, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// makeTarget makes a mount point that fits: a directory or an empty file.
func makeTarget(fd int, target string) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := os.Mkdir(target, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	}
	f, err := os.OpenFile(target, os.O_CREATE|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return err
	}
	return f.Close()
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
