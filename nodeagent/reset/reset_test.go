package reset

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"proa/nodeagent/hostid"
)

func TestRunRefuses(t *testing.T) {
	notOurs := t.TempDir()
	keep := filepath.Join(notOurs, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, hostid.FileName), []byte("../.."), 0o600); err != nil {
		t.Fatal(err)
	}
	busy := t.TempDir()
	if _, err := hostid.Load(busy); err != nil {
		t.Fatal(err)
	}
	release, err := hostid.Lock(busy)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for dir, want := range map[string]string{
		"relative": "absolute", notOurs: "not a data directory", damaged: "cluster id", busy: "in use",
	} {
		if err := Run(t.Context(), Options{DataDir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", dir, err, want)
		}
	}
	for _, path := range []string{keep, filepath.Join(damaged, hostid.FileName), filepath.Join(busy, hostid.FileName)} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a refused reset touched something: %v", err)
		}
	}
	var locked *hostid.LockedError
	if err := Run(t.Context(), Options{DataDir: busy}); !errors.As(err, &locked) {
		t.Errorf("busy: got %v, want a LockedError", err)
	}
}

func TestRunWithoutDirectory(t *testing.T) {
	var lines []string
	err := Run(t.Context(), Options{DataDir: filepath.Join(t.TempDir(), "none"), Report: func(l string) { lines = append(lines, l) }})
	if err != nil || len(lines) != 1 || !strings.Contains(lines[0], "nothing to remove") {
		t.Errorf("got %v, %v", lines, err)
	}
}

// TestRunRemovesDirectory is what remains of a reset where no container ever
// ran: the data directory goes, its neighbours and other pods' logs stay.
func TestRunRemovesDirectory(t *testing.T) {
	parent := t.TempDir()
	data, logs := filepath.Join(parent, "data"), filepath.Join(parent, "logs")
	if _, err := hostid.Load(data); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(data, "pods", "uid-1"), filepath.Join(data, "etcd"), filepath.Join(logs, "ns_other_uid-2"), filepath.Join(parent, "neighbour")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{DataDir: data, PodLogsDir: logs, ContainerLogsDir: filepath.Join(parent, "none")}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := names(parent); !slices.Equal(got, []string{"logs", "neighbour"}) {
		t.Errorf("left: %v", got)
	}
	if got := names(logs); !slices.Equal(got, []string{"ns_other_uid-2"}) {
		t.Errorf("left logs: %v", got)
	}
}
