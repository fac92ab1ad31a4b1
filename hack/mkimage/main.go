// Command mkimage writes an OCI image archive from files, without a registry or
// a daemon: one layer, one platform. Equal inputs give equal bytes.
//
//	mkimage -ref proa.local/webapp:1.0 -o webapp.tar -entrypoint /webapp bin/webapp=/webapp
//
// Each argument is SOURCE=/path/in/image; a SOURCE of "link:TARGET" makes a
// symbolic link, "dir:MODE" a directory, and "tree:FOLDER" everything below
// FOLDER. Further -ref give the image further names.
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

type options struct {
	out, user, arch            string
	refs, entrypoint, cmd, env []string
}

func main() {
	var o options
	words := func(target *[]string) func(string) error {
		return func(s string) error { *target = append(*target, s); return nil }
	}
	flag.Func("ref", "full image name, e.g. proa.local/webapp:1.0; repeatable", words(&o.refs))
	flag.StringVar(&o.out, "o", "", "archive to write")
	flag.StringVar(&o.user, "user", "", "user the image runs as, e.g. 65532:65532")
	flag.StringVar(&o.arch, "arch", runtime.GOARCH, "architecture")
	flag.Func("entrypoint", "a word of the entrypoint; repeatable", words(&o.entrypoint))
	flag.Func("cmd", "a word of the default arguments; repeatable", words(&o.cmd))
	flag.Func("env", "NAME=VALUE; repeatable", words(&o.env))
	flag.Parse()
	if len(o.refs) == 0 || o.out == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(o options, args []string) error {
	entries, err := parseEntries(args)
	if err != nil {
		return err
	}
	content, err := layerTar(entries)
	if err != nil {
		return err
	}
	image, err := build(o, content)
	if err != nil {
		return err
	}
	return writeArchive(o, image)
}

// entry is one thing in the image's only layer.
type entry struct {
	path   string // in the image, without a leading slash
	source string // file to copy
	link   string // or target of a symbolic link
	mode   int64  // or mode of a directory
}

func parseEntries(args []string) ([]entry, error) {
	var entries []entry
	for _, arg := range args {
		source, target, ok := strings.Cut(arg, "=")
		if !ok || !strings.HasPrefix(target, "/") || path.Clean(target) != target {
			return nil, fmt.Errorf("%q: want SOURCE=/path/in/image", arg)
		}
		e := entry{path: target[1:]}
		if link, ok := strings.CutPrefix(source, "link:"); ok {
			e.link = link
		} else if mode, ok := strings.CutPrefix(source, "dir:"); ok {
			m, err := strconv.ParseInt(mode, 8, 64)
			if err != nil {
				return nil, fmt.Errorf("%q: mode: %w", arg, err)
			}
			e.mode = m
		} else if root, ok := strings.CutPrefix(source, "tree:"); ok {
			below, err := tree(root, e.path)
			if err != nil {
				return nil, err
			}
			entries = append(entries, below...)
			continue
		} else {
			e.source = source
		}
		entries = append(entries, e)
	}
	// What is named later replaces what a tree brought under the same path.
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].path < entries[j].path })
	var unique []entry
	for _, e := range entries {
		if n := len(unique); n > 0 && unique[n-1].path == e.path {
			unique[n-1] = e
			continue
		}
		unique = append(unique, e)
	}
	return unique, nil
}

// tree lists what is below a folder of this machine: files, symbolic links and
// directories with their modes; anything else is left out.
func tree(root, target string) ([]entry, error) {
	var entries []entry
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == root {
			return err
		}
		below, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{path: path.Join(target, filepath.ToSlash(below))}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if e.link, err = os.Readlink(file); err != nil {
				return err
			}
		case info.IsDir():
			e.mode = tarMode(info)
		case info.Mode().IsRegular():
			e.source = file
		default:
			return nil
		}
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

// tarMode is a file's permissions with the set-user, set-group and sticky bits.
func tarMode(info fs.FileInfo) int64 {
	mode := int64(info.Mode().Perm())
	for bit, value := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if info.Mode()&bit != 0 {
			mode |= value
		}
	}
	return mode
}

// layerTar returns the layer: owned by root, without times, with the parent
// directories that entries do not name themselves.
func layerTar(entries []entry) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	seen := map[string]bool{".": true}
	for _, e := range entries {
		if e.mode != 0 {
			seen[e.path] = true
		}
	}
	var parents func(string) error
	parents = func(dir string) error {
		if seen[dir] {
			return nil
		}
		seen[dir] = true
		if err := parents(path.Dir(dir)); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
	}
	for _, e := range entries {
		if err := parents(path.Dir(e.path)); err != nil {
			return nil, err
		}
		var content []byte
		h := &tar.Header{Name: e.path}
		switch {
		case e.link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
		case e.mode != 0:
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, e.path+"/", e.mode
		default:
			info, err := os.Stat(e.source)
			if err != nil {
				return nil, err
			}
			if content, err = os.ReadFile(e.source); err != nil {
				return nil, err
			}
			h.Typeflag, h.Size, h.Mode = tar.TypeReg, int64(len(content)), 0o644|tarMode(info)&0o6111
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func build(o options, content []byte) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", o.arch
	config.Config = v1.Config{Entrypoint: o.entrypoint, Cmd: o.cmd, Env: o.env, User: o.user}
	return mutate.ConfigFile(image, config)
}

// writeArchive writes an OCI layout and packs it into one tar.
func writeArchive(o options, image v1.Image) error {
	dir, err := os.MkdirTemp(filepath.Dir(o.out), ".mkimage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "layout")
	l, err := layout.Write(root, empty.Index)
	if err != nil {
		return err
	}
	for _, ref := range o.refs {
		err = l.AppendImage(image,
			layout.WithPlatform(v1.Platform{OS: "linux", Architecture: o.arch}),
			layout.WithAnnotations(map[string]string{
				"io.containerd.image.name":          ref,
				"org.opencontainers.image.ref.name": ref[strings.LastIndex(ref, ":")+1:],
			}))
		if err != nil {
			return err
		}
	}
	archive := filepath.Join(dir, "archive")
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(archive, o.out)
}
