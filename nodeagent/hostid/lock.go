package hostid

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockFileName is the file in the data directory that the one process using
// the directory holds a lock on.
const LockFileName = "lock"

// LockedError says that another process uses the data directory.
type LockedError struct {
	DataDir string
	PID     int // 0 where unknown
}

func (e *LockedError) Error() string {
	who := "another proa"
	if e.PID != 0 {
		who = fmt.Sprintf("proa (process %d)", e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s: stop it, or choose another directory with --data-dir", e.DataDir, who)
}

// Lock claims dataDir, which must exist, for this process until release is
// called or the process ends in whatever way. The error is a *LockedError where
// another process has it.
func Lock(dataDir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dataDir, LockFileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{DataDir: dataDir, PID: holder(dataDir)}
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	// The number only helps people; the kernel's lock is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return func() { f.Close() }, nil
}

// Locked returns a *LockedError where a process uses dataDir, and nil where
// none does or the directory does not exist. It changes nothing.
func Locked(dataDir string) error {
	f, err := os.Open(filepath.Join(dataDir, LockFileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return &LockedError{DataDir: dataDir, PID: holder(dataDir)}
	} else if err != nil {
		return err
	}
	return nil
}

func holder(dataDir string) int {
	b, err := os.ReadFile(filepath.Join(dataDir, LockFileName))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
