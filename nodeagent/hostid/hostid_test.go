package hostid

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLoadIsStableAndAgreed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := Read(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Read of a missing directory: got %v, want os.ErrNotExist", err)
	}
	ids := make([]ID, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			id, err := Load(dir)
			if err != nil {
				t.Error(err)
			}
			ids[i] = id
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("racing loaders got different ids: %v", ids)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != FileName {
		t.Errorf("left-over files: %v", entries)
	}
}

func TestReadRefusesDamage(t *testing.T) {
	for _, content := range []string{"", "xyz", "0123456", "0123456G", "0123456789", "../../etc"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := Load(dir); err == nil || !strings.Contains(err.Error(), FileName) {
			t.Errorf("content %q: got %q, %v, want an error that names the file", content, id, err)
		}
	}
}

func TestNames(t *testing.T) {
	n := ID("0a1b2c3d").Names()
	want := Names{
		Bridge: "pr0a1b2c3d", Table: "proa-0a1b2c3d", CgroupParent: "/proa-0a1b2c3d",
		RunDir: "/run/proa-0a1b2c3d", CNINetwork: "proa-0a1b2c3d", LinkPrefix: "pr0a1b2c3d",
	}
	if n != want {
		t.Errorf("got %+v, want %+v", n, want)
	}
	if len(n.Bridge) > 15 {
		t.Errorf("bridge name %q is longer than a link name may be", n.Bridge)
	}
	for table, owned := range map[string]bool{
		"proa-0a1b2c3d": true, "proa-0a1b2c3d-nat": true,
		"proa-0a1b2c3": false, "proa-0a1b2c3d4": false, "filter": false, "proa": false,
	} {
		if n.OwnsTable(table) != owned {
			t.Errorf("OwnsTable(%q) = %v", table, !owned)
		}
	}
	for link, owned := range map[string]bool{"pr0a1b2c3d": true, "pr0a1b2c3dvx": true, "pr0a1b2c3e": false, "eth0": false} {
		if n.OwnsLink(link) != owned {
			t.Errorf("OwnsLink(%q) = %v", link, !owned)
		}
	}
}
