package volume

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
)

// setGroup gives a volume to the pod's fsGroup: every file gets the group and
// its read bits, unless readOnly its write bits too, every directory also the
// execute and set-group-ID bits, so that what is made there later belongs to the
// group too. Links themselves only change their group. With the policy OnRootMismatch nothing
// is done if the top directory is right already; nil means Always.
func setGroup(dir string, group *int64, policy *v1.PodFSGroupChangePolicy, readOnly bool) error {
	if group == nil {
		return nil
	}
	gid, bits := int(*group), os.FileMode(0o660)
	if readOnly {
		bits = 0o440
	}
	if policy != nil && *policy == v1.FSGroupChangeOnRootMismatch && rootMatches(dir, gid) {
		return nil
	}
	var dirs []string // from the outermost to the innermost
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil // the pod removed it meanwhile
			}
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, path)
			return nil
		}
		return giveTo(path, gid, bits)
	})
	if err != nil {
		return err
	}
	// The top comes last: when it is right, all below is.
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := giveTo(dirs[i], gid, bits); err != nil {
			return err
		}
	}
	return nil
}

func giveTo(path string, gid int, bits os.FileMode) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := os.Lchown(path, -1, gid); err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		return nil
	}
	mode := info.Mode() | bits
	if info.IsDir() {
		mode |= os.ModeSetgid | 0o110
	}
	return os.Chmod(path, mode)
}

func rootMatches(dir string, gid int) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Gid) == gid && info.Mode().Perm()&0o770 == 0o770 && info.Mode()&os.ModeSetgid != 0
}

func onRootMismatch() *v1.PodFSGroupChangePolicy {
	policy := v1.FSGroupChangeOnRootMismatch
	return &policy
}
