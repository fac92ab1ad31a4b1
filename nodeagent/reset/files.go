package reset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"proa/nodeagent/hostid"
)

// unmount detaches everything that is mounted below the data and the run
// directory: root file systems, volumes, network namespaces.
func (h *host) unmount(ctx context.Context) error {
	count := 0
	err := h.retry(ctx, func() error {
		mounts, err := h.mounts()
		if err != nil {
			return err
		}
		var failures []error
		for _, m := range mounts {
			// Detached, a busy mount goes as soon as its last user does.
			if err := unix.Unmount(m, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				failures = append(failures, fmt.Errorf("unmount %s: %w", m, err))
				continue
			}
			count++
		}
		return errors.Join(failures...)
	})
	if count > 0 {
		h.removed("%d mounts", count)
	}
	return err
}

// mounts lists the cluster's mount points; not the data directory itself, which
// may be a disk of its own.
func (h *host) mounts() ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var own []string
	for _, m := range mountsUnder(b, []string{h.real, h.names.RunDir}) {
		if m != h.real {
			own = append(own, m)
		}
	}
	return own, nil
}

// removeLogs removes the pods' logs, the links to them, and cached CNI results.
func (h *host) removeLogs(context.Context) error {
	var failures []error
	logs := 0
	for _, name := range ownPodLogs(names(h.PodLogsDir), h.pods) {
		failures = append(failures, os.RemoveAll(filepath.Join(h.PodLogsDir, name)))
		logs++
	}
	for _, name := range names(h.ContainerLogsDir) {
		path := filepath.Join(h.ContainerLogsDir, name)
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, h.PodLogsDir+"/") {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, os.Remove(path))
		}
	}
	if logs > 0 {
		h.removed("logs of %d pods", logs)
	}
	for _, name := range names(cniCache) {
		path := filepath.Join(cniCache, name)
		content, err := os.ReadFile(path)
		if err == nil && ownCacheEntry(name, content, h.boxes, h.names) {
			failures = append(failures, os.Remove(path))
		}
	}
	removeIfEmpty(h.PodLogsDir, h.ContainerLogsDir, cniCache, filepath.Dir(cniCache))
	return errors.Join(failures...)
}

// removeDirectories removes the run and the data directory. It first makes sure
// that nothing is mounted there: what is behind a mount may be someone else's.
func (h *host) removeDirectories(context.Context) error {
	mounts, err := h.mounts()
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s stays: still mounted: %s", h.DataDir, strings.Join(mounts, ", "))
	}
	if _, err := os.Stat(h.names.RunDir); err == nil {
		if err := removeTree(h.names.RunDir); err != nil {
			return err
		}
		h.removed("%s", h.names.RunDir)
	}
	if h.KeepData {
		return nil
	}
	// The id goes last: as long as it is there, a reset can be run again.
	for _, name := range names(h.real) {
		if name == hostid.FileName {
			continue
		}
		if err := removeTree(filepath.Join(h.real, name)); err != nil {
			return err
		}
	}
	// A data directory that is a mount point or a link stays, empty.
	if err := os.RemoveAll(filepath.Join(h.real, hostid.FileName)); err != nil {
		return err
	}
	if err := os.Remove(h.DataDir); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	h.removed("%s", h.DataDir)
	return nil
}

// removeTree removes a directory; where that fails, the error says what to look
// at: immutable files and mounts that came meanwhile.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("%w; see `lsattr` and `mount`", err)
	}
	return nil
}

func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
