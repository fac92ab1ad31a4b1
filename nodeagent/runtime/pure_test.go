package runtime

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"proa/nodeagent/hostid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestRenderConfig(t *testing.T) {
	l := LayoutOf(`/data/with "quotes" and \`, hostid.ID("0a1b2c3d").Names())
	dirs := binDirsOf("/bundle")
	all := facts{sysResource: true, overlay: true, logLevel: "warn"}
	cases := map[string]facts{
		"full":       all,
		"restricted": {logLevel: "debug"},
	}
	paths := map[string]bool{}
	for name, f := range cases {
		path, got := renderConfig(l, dirs, f)
		paths[path] = true
		golden := filepath.Join("testdata", name+".toml")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", golden, diff)
		}
	}
	if len(paths) != len(cases) {
		t.Errorf("different configurations share a path: %v", paths)
	}
	same, _ := renderConfig(l, dirs, all)
	other, _ := renderConfig(l, binDirsOf("/bundle2"), all)
	if !paths[same] || paths[other] {
		t.Error("the path must depend on the content and on the bundle, and on nothing else")
	}
}

func TestSocketPathsFit(t *testing.T) {
	l := LayoutOf("/"+strings.Repeat("long/", 60), hostid.ID("0a1b2c3d").Names())
	// .ttrpc is appended to the first; a shim's socket name adds 65 bytes.
	if n := len(l.Socket + ".ttrpc"); n > 104 {
		t.Errorf("socket path has %d bytes", n)
	}
	if len(l.ShimSockets) > 42 {
		t.Errorf("shim socket directory %q is longer than containerd allows", l.ShimSockets)
	}
}

func TestHasCapability(t *testing.T) {
	status := []byte("Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n")
	if hasCapability(status, 24) {
		t.Error("CAP_SYS_RESOURCE is missing from the set")
	}
	if !hasCapability(status, 21) {
		t.Error("CAP_SYS_ADMIN is in the set")
	}
	for _, broken := range []string{"", "CapEff:\tzz\n", "CapEff:"} {
		if hasCapability([]byte(broken), 21) {
			t.Errorf("%q grants a capability", broken)
		}
	}
}

func TestIsOurs(t *testing.T) {
	l := LayoutOf("/d", hostid.ID("0a1b2c3d").Names())
	cases := []struct {
		argv []string
		want bool
	}{
		{[]string{"/d/runtime/bundle-1/bin/containerd", "--config", "/d/runtime/config-1.toml"}, true},
		{[]string{"/elsewhere/bin/containerd", "--config", "/d/runtime/config-1.toml"}, true},
		{[]string{"/usr/bin/containerd"}, false},
		{[]string{"/usr/bin/containerd", "--config"}, false},
		{[]string{"containerd", "--config", "/etc/containerd/config.toml"}, false},
		{[]string{"containerd", "--config", "/d/other/runtime/config-1.toml"}, false},
		{[]string{"vi", "--config", "/d/runtime/config-1.toml"}, false},
		{nil, false},
	}
	for _, c := range cases {
		if got := isOurs(c.argv, l); got != c.want {
			t.Errorf("isOurs(%q) = %v", c.argv, got)
		}
	}
}

func TestPending(t *testing.T) {
	found := map[string]archive{"/b.tar": {1, 1}, "/a.tar": {2, 2}, "/same.tar": {3, 3}, "/new-content.tar": {5, 4}}
	imported := map[string]archive{"/same.tar": {3, 3}, "/new-content.tar": {4, 4}, "/gone.tar": {9, 9}}
	want := []string{"/a.tar", "/b.tar", "/new-content.tar"}
	if got := pending(found, imported); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestArchivesSkipsWhatIsNone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one.tar", ".hidden.tar", "two.tar.part", "readme"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.tar"), 0o700); err != nil {
		t.Fatal(err)
	}
	found, err := archives(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := found[filepath.Join(dir, "one.tar")]; !ok || len(found) != 1 {
		t.Errorf("got %v, want one.tar alone", found)
	}
	if found, err := archives(filepath.Join(dir, "missing")); err != nil || len(found) != 0 {
		t.Errorf("missing directory: %v, %v", found, err)
	}
}

func TestUnusedBundles(t *testing.T) {
	names := []string{"bundle-new", "bundle-old", "bundle-used", "bundle-use", ".unpack-1", "config-1.toml"}
	running := []string{"/d/runtime/bundle-used/bin/containerd-shim-runc-v2", "/usr/bin/sh"}
	want := []string{"bundle-old", "bundle-use", ".unpack-1"}
	if got := unusedBundles("/d/runtime", names, "bundle-new", running); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/evil", "HTTPS_PROXY=http://p", "NOTIFY_SOCKET=/x"}, "/b")
	want := []string{"PATH=/b:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HTTPS_PROXY=http://p"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLogTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("old\none\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := logTail(path, 4, 2); got != "two\nthree" {
		t.Errorf("got %q", got)
	}
	if got := logTail(path, 100, 2); got != "" {
		t.Errorf("offset past the end: %q", got)
	}
}

// bundleOf packs headers with their contents as mkbundle does.
func bundleOf(t *testing.T, entries ...tar.Header) (archive, digest string) {
	t.Helper()
	var buf bytes.Buffer
	z, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(buf.Bytes())
	return buf.String(), hex.EncodeToString(sum[:])
}

func TestUnpack(t *testing.T) {
	good, digest := bundleOf(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "bin/containerd", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/ctr", Linkname: "containerd"})
	dir := filepath.Join(t.TempDir(), "bundle-1")
	for range 2 { // the second finds it there
		if err := unpack(strings.NewReader(good), digest, dir); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "bin", "ctr"))
	if err != nil || string(b) != "bin/containerd" {
		t.Errorf("through the link: %q, %v", b, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "bin", "containerd")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	good, digest := bundleOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o644})
	outside, outsideDigest := bundleOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "../a", Mode: 0o644})
	link, linkDigest := bundleOf(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "../../etc/passwd"})
	device, deviceDigest := bundleOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "a"})
	cases := map[string]struct{ archive, digest, want string }{
		"wrong digest": {good, strings.Repeat("0", 64), "damaged"},
		"cut short":    {good[:len(good)/2], digest, "unpack"},
		"outside":      {outside, outsideDigest, "outside"},
		"link":         {link, linkDigest, "another directory"},
		"device":       {device, deviceDigest, "unexpected type"},
		"empty":        {"", digest, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			err := unpack(strings.NewReader(c.archive), c.digest, filepath.Join(parent, "bundle"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if left, _ := os.ReadDir(parent); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestLocalRegistryIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, LocalRegistry, "hosts.toml")
	if err := writeLocalRegistry(dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != localRegistry {
		t.Errorf("first: %q, %v", b, err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeLocalRegistry(dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("second: %q, %v", b, err)
	}
}

func TestNewRefuses(t *testing.T) {
	id := hostid.ID("0a1b2c3d")
	cases := map[string]struct {
		o    Options
		want string
	}{
		"relative": {Options{DataDir: "d", ID: id, BinDir: "/"}, "absolute"},
		"no id":    {Options{DataDir: "/d", BinDir: "/"}, "cluster id"},
		"bin dir":  {Options{DataDir: "/d", ID: id, BinDir: t.TempDir()}, "make bundle"},
	}
	if _, digest := embeddedBundle(); digest == "" {
		cases["no bundle"] = struct {
			o    Options
			want string
		}{Options{DataDir: "/d", ID: id}, "make build"}
	}
	for name, c := range cases {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}
