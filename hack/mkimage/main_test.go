package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestEqualInputsGiveEqualBytes(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	var archives [2][]byte
	for i := range archives {
		out := filepath.Join(dir, "image.tar")
		o := options{refs: []string{"proa.local/test:1.0"}, out: out, arch: "amd64", entrypoint: []string{"/bin/program"}}
		if err := run(o, []string{program + "=/bin/program", "link:program=/bin/p", "dir:1777=/tmp"}); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two runs over the same inputs wrote different archives")
	}
	left, err := filepath.Glob(filepath.Join(dir, ".mkimage-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestImageConfig(t *testing.T) {
	o := options{arch: "arm64", user: "65532", entrypoint: []string{"/x"}, cmd: []string{"serve"}, env: []string{"A=b"}}
	image, err := build(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "arm64" || config.Config.User != "65532" || config.Config.Entrypoint[0] != "/x" || config.Config.Cmd[0] != "serve" || config.Config.Env[0] != "A=b" {
		t.Errorf("config: %+v", config)
	}
	if !config.Created.IsZero() {
		t.Errorf("created %v: a time makes the image differ from run to run", config.Created)
	}
}

func TestTreeKeepsModesAndGivesWayToLaterEntries(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"bin/su": 0o755 | os.ModeSetuid, "bin/sh": 0o755, "etc/passwd": 0o600} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("bin", filepath.Join(dir, "sbin")); err != nil {
		t.Fatal(err)
	}
	entries, err := parseEntries([]string{"tree:" + dir + "=/", "link:su=/bin/sh"})
	if err != nil {
		t.Fatal(err)
	}
	content, err := layerTar(entries)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %s", h.Name, h.Mode, h.Linkname))
	}
	want := []string{"bin/ 755 ", "bin/sh 777 su", "bin/su 4755 ", "etc/ 755 ", "etc/passwd 644 ", "sbin 777 bin"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParseEntriesRefuses(t *testing.T) {
	for _, arg := range []string{"a", "a=b", "a=/../b", "dir:rwx=/tmp", "a=/b/"} {
		if _, err := parseEntries([]string{arg}); err == nil {
			t.Errorf("%q was accepted", arg)
		}
	}
}
