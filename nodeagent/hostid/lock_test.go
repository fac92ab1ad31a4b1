package hostid

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestLock(t *testing.T) {
	dir := t.TempDir()
	if err := Locked(dir); err != nil {
		t.Fatalf("fresh directory: %v", err)
	}
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() error{
		"Lock":   func() error { _, err := Lock(dir); return err },
		"Locked": func() error { return Locked(dir) },
	} {
		var locked *LockedError
		if err := try(); !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s while held: %v, want a LockedError with our process and the directory", name, err)
		}
	}
	release()
	if err := Locked(dir); err != nil {
		t.Errorf("after release: %v", err)
	}
	again, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
