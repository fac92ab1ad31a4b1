package main

import (
	"archive/tar"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestRegistryServesArchives(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, file := range []struct{ name, content string }{
		{"blobs/sha256/aa", "layer"},
		{"blobs/sha256/bb", `{"manifest":1}`},
		{"index.json", `{"manifests":[{"digest":"sha256:bb","annotations":{"io.containerd.image.name":"host.example/a/b:1"}}]}`},
	} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file.name, Size: int64(len(file.content)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, file.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := newRegistry([]string{archive})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path, body string
		code       int
	}{
		{"/v2/", "", 200},
		{"/v2/a/b/manifests/1", `{"manifest":1}`, 200},
		{"/v2/a/b/manifests/sha256:bb?ns=host.example", `{"manifest":1}`, 200},
		{"/v2/a/b/blobs/sha256:aa", "layer", 200},
		{"/v2/a/b/manifests/2", "404 page not found\n", 404},
	} {
		got := httptest.NewRecorder()
		r.ServeHTTP(got, httptest.NewRequest(http.MethodGet, tc.path, nil))
		if got.Code != tc.code || got.Body.String() != tc.body {
			t.Errorf("%s: %d %q, want %d %q", tc.path, got.Code, got.Body, tc.code, tc.body)
		}
	}
}
