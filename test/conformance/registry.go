package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// registryAddress is where the nodes reach the registry: on the switch.
const registryAddress = subnet + ".254:5000"

// registry serves image archives (OCI layouts) by the part of the distribution
// protocol that a pull needs: for the tests that want an image pulled although
// it is there.
type registry struct {
	blobs map[string]blob   // by digest, manifests too
	tags  map[string]string // repository:tag without the host → digest
}

// blob is a part of an archive.
type blob struct {
	file         string
	offset, size int64
}

func newRegistry(archives []string) (*registry, error) {
	r := &registry{blobs: map[string]blob{}, tags: map[string]string{}}
	for _, archive := range archives {
		if err := r.add(archive); err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
	}
	return r, nil
}

func (r *registry) add(archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	for t := tar.NewReader(f); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		// The reader does not read ahead: the content begins here.
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if digest, ok := strings.CutPrefix(path.Clean(h.Name), "blobs/sha256/"); ok {
			r.blobs["sha256:"+digest] = blob{archive, at, h.Size}
		}
		if path.Clean(h.Name) != "index.json" {
			continue
		}
		var index struct {
			Manifests []struct {
				Digest      string
				Annotations map[string]string
			}
		}
		if err := json.NewDecoder(t).Decode(&index); err != nil {
			return err
		}
		for _, m := range index.Manifests {
			if _, name, ok := strings.Cut(m.Annotations["io.containerd.image.name"], "/"); ok {
				r.tags[name] = m.Digest
			}
		}
	}
}

// ServeHTTP answers /v2/, /v2/NAME/manifests/TAG|DIGEST and /v2/NAME/blobs/DIGEST.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	dir, ref := path.Split(strings.TrimPrefix(req.URL.Path, "/v2/"))
	name, kind := path.Split(strings.TrimSuffix(dir, "/"))
	if kind == "manifests" {
		if digest, ok := r.tags[strings.TrimSuffix(name, "/")+":"+ref]; ok {
			ref = digest
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	b, ok := r.blobs[ref]
	switch {
	case req.URL.Path == "/v2/":
		return
	case !ok:
		http.NotFound(w, req)
		return
	}
	f, err := os.Open(b.file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer f.Close()
	w.Header().Set("Docker-Content-Digest", ref)
	http.ServeContent(w, req, "", time.Time{}, io.NewSectionReader(f, b.offset, b.size))
}

// serveImages runs the registry until ctx is done.
func serveImages(ctx context.Context, bin string) error {
	archives, err := filepath.Glob(filepath.Join(bin, "images", "conformance", "*.tar"))
	if err != nil {
		return err
	}
	r, err := newRegistry(archives)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: registryAddress, Handler: r, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// mirror tells a node's runtime to ask the registry for the images of a host.
func mirror(m *machine, host string) error {
	dir := filepath.Join(m.data(), "registries", host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	hosts := fmt.Sprintf("server = \"https://%s\"\n\n[host.\"http://%s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", host, registryAddress)
	return os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644)
}
