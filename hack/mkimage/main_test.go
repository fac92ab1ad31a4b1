package main

import (
	"bytes"
	"os"
	"path/filepath"
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
		o := options{ref: "proa.local/test:1.0", out: out, arch: "amd64", entrypoint: []string{"/bin/program"}}
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

func TestParseEntriesRefuses(t *testing.T) {
	for _, arg := range []string{"a", "a=b", "a=/../b", "dir:rwx=/tmp", "a=/b/"} {
		if _, err := parseEntries([]string{arg}); err == nil {
			t.Errorf("%q was accepted", arg)
		}
	}
}
