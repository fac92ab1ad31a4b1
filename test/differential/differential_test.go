package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestAgainstUpstream is the bounded part of `make differential`: cases of all
// kinds, fewer of each.
func TestAgainstUpstream(t *testing.T) {
	for _, program := range []string{"proa", "tools/etcd", "tools/kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(binaries(), program)); err != nil {
			t.Fatalf("%v; build it with make build tools upstream", err)
		}
	}
	all := regexp.MustCompile("")
	r, err := run(t.Context(), options{seed: 1, n: 1500, out: t.TempDir(), kind: all, only: all, field: all, bin: binaries(), workers: 6})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.summary())
	if r.failed() {
		dir := filepath.Join(os.TempDir(), "proa-differential")
		if err := r.write(dir); err != nil {
			t.Error(err)
		}
		t.Errorf("the answers differ from upstream's; %s has the details", dir)
	}
}
