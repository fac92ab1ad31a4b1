package runtime

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// binDirs are the directories of an unpacked bundle (or of --runtime-bin-dir).
type binDirs struct {
	bin    string // containerd, ctr, containerd-shim-runc-v2, runc
	cni    string // CNI plugins
	images string // archives imported before all others; holds the pause image
}

func binDirsOf(dir string) binDirs {
	return binDirs{
		bin:    filepath.Join(dir, "bin"),
		cni:    filepath.Join(dir, "cni"),
		images: filepath.Join(dir, "images"),
	}
}

// errNoBundle is what a binary built without the tag `bundle` answers.
var errNoBundle = errors.New("this binary was built without the container runtime: build it with `make build`, " +
	"name a directory of runtime binaries with --runtime-bin-dir, or start without a node (--no-node)")

// bundleName is the directory name for a bundle's digest.
func bundleName(digest string) string { return "bundle-" + digest[:min(16, len(digest))] }

// unpack extracts the zstd-compressed tar with the given hexadecimal SHA-256
// into dir, unless dir is there. dir appears whole or not at all, whatever
// interrupts it, and only if the digest is right.
func unpack(archive io.Reader, digest, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	hash := sha256.New()
	tee := io.TeeReader(archive, hash)
	z, err := zstd.NewReader(tee, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer z.Close()
	if err := untar(z, tmp); err != nil {
		return fmt.Errorf("unpack the container runtime below %s: %w", filepath.Dir(dir), err)
	}
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != digest {
		return fmt.Errorf("the bundled container runtime is damaged: its digest is %s, not %s; install the binary again", got, digest)
	}
	if err := syncFS(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func untar(r io.Reader, dir string) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("entry %q is outside the archive", h.Name)
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeSymlink:
			if strings.ContainsRune(h.Linkname, '/') {
				return fmt.Errorf("link %q leads to another directory: %q", h.Name, h.Linkname)
			}
			err = os.Symlink(h.Linkname, path)
		case tar.TypeReg:
			err = writeFile(path, t, h.FileInfo().Mode().Perm())
		default:
			err = fmt.Errorf("entry %q has an unexpected type %q", h.Name, h.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}

func writeFile(path string, r io.Reader, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// syncFS makes everything below dir durable at the price of one call.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// unusedBundles returns, of the directory names in RuntimeDir, those bundles
// that are not current and that no running program comes from. executables are
// the paths of running programs.
func unusedBundles(runtimeDir string, names []string, current string, executables []string) []string {
	var unused []string
	for _, name := range names {
		if name == current || !strings.HasPrefix(name, "bundle-") && !strings.HasPrefix(name, ".unpack-") {
			continue
		}
		prefix := filepath.Join(runtimeDir, name) + "/"
		used := false
		for _, e := range executables {
			used = used || strings.HasPrefix(e, prefix)
		}
		if !used {
			unused = append(unused, name)
		}
	}
	return unused
}
