package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
)

// Mounter makes and lists mounts. The kernel's one uses system calls, because
// a pod's start should not wait for a mount program.
type Mounter interface {
	// Mount is mount(2).
	Mount(source, target, fstype string, flags uintptr, data string) error
	// Unmount ends the topmost mount at target.
	Unmount(target string) error
	// IsMountPoint says whether something is mounted at path.
	IsMountPoint(path string) (bool, error)
	// MountsBelow returns the mount points at and below dir, the innermost
	// and newest first.
	MountsBelow(dir string) ([]string, error)
}

// kernel is the real Mounter.
type kernel struct{}

func (kernel) Mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		if fstype == "" {
			fstype = "bind"
		}
		return fmt.Errorf("mounting %s (%s) at %s: %w", source, fstype, target, err)
	}
	return nil
}

func (kernel) Unmount(target string) error {
	if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmounting %s: %w", target, err)
	}
	return nil
}

func (kernel) IsMountPoint(path string) (bool, error) {
	var stat unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &stat); err != nil {
		return false, fmt.Errorf("looking at %s: %w", path, err)
	}
	return stat.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

func (kernel) MountsBelow(dir string) ([]string, error) {
	infos, err := mount.ParseMountInfo("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	// The kernel names mounts by their real path.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	var below []string
	for _, info := range infos {
		if info.MountPoint == dir || strings.HasPrefix(info.MountPoint, dir+"/") {
			below = append(below, info.MountPoint)
		}
	}
	slices.Reverse(below)
	return below, nil
}

// removeTree unmounts all below dir and then removes dir. It refuses to
// delete anything while a mount is left, for what is mounted may be somebody
// else's files.
func removeTree(m Mounter, dir string) error {
	for range 2 { // a second look, as mounts may hide others
		points, err := m.MountsBelow(dir)
		if err != nil {
			return err
		}
		if len(points) == 0 {
			return os.RemoveAll(dir)
		}
		for _, point := range points {
			if err := m.Unmount(point); err != nil {
				return err
			}
		}
	}
	points, err := m.MountsBelow(dir)
	if err != nil {
		return err
	}
	if len(points) > 0 {
		return fmt.Errorf("%s is still mounted", points[0])
	}
	return os.RemoveAll(dir)
}
