package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHandler(t *testing.T) {
	greeting := filepath.Join(t.TempDir(), "greeting")
	s := settings{host: "web-0", greeting: "from env", greetingFile: greeting, namespace: "shop", configMap: "web"}
	var ready atomic.Bool
	ready.Store(true)
	var asked string
	h := handler(s, &ready, func(_ context.Context, path string) (string, error) {
		asked = path
		return "{}", nil
	})
	ask := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := ask("/"); code != 200 || !strings.HasPrefix(body, "from env\n") || !strings.Contains(body, "web-0") {
		t.Errorf("/: %d %q", code, body)
	}
	if err := os.WriteFile(greeting, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, body := ask("/"); !strings.HasPrefix(body, "from file\n") {
		t.Errorf("/ after the file appeared: %q", body)
	}
	if code, _ := ask("/config"); code != 200 || asked != "/api/v1/namespaces/shop/configmaps/web" {
		t.Errorf("/config: %d, asked %q", code, asked)
	}
	if code, _ := ask("/readyz"); code != 200 {
		t.Errorf("/readyz while ready: %d", code)
	}
	ready.Store(false)
	if code, _ := ask("/readyz"); code != 503 {
		t.Errorf("/readyz while stopping: %d", code)
	}
	if code, _ := ask("/healthz"); code != 200 {
		t.Errorf("/healthz while stopping: %d", code)
	}
	if code, _ := ask("/nothing"); code != 404 {
		t.Errorf("/nothing: %d", code)
	}
}

func TestGet(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			http.Error(w, "no such page", http.StatusNotFound)
			return
		}
		w.Write([]byte("fine"))
	}))
	defer server.Close()
	var out strings.Builder
	if err := run(t.Context(), []string{"get", server.URL}, os.Getenv, &out); err != nil || out.String() != "fine" {
		t.Errorf("get: %q, %v", out.String(), err)
	}
	err := get(t.Context(), server.URL+"/bad", time.Second, 1, &out)
	if err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "no such page") {
		t.Errorf("get of a missing page: %v", err)
	}
}

func TestJob(t *testing.T) {
	env := map[string]string{"RELEASE": "shop", "REVISION": "2"}
	var out strings.Builder
	if err := job(t.Context(), func(k string) string { return env[k] }, &out); err != nil {
		t.Fatal(err)
	}
	if want := "migrating release shop to revision 2\nmigrated\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	env["JOB_FAIL"] = "no database"
	if err := job(t.Context(), func(k string) string { return env[k] }, &out); err == nil {
		t.Error("job with JOB_FAIL succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	env["JOB_DURATION"] = "1h"
	if err := job(ctx, func(k string) string { return env[k] }, &out); !errors.Is(err, context.Canceled) {
		t.Errorf("job after SIGTERM: %v", err)
	}
}

func TestUnknownVerb(t *testing.T) {
	if err := run(t.Context(), []string{"dance"}, os.Getenv, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("got %v, want the usage", err)
	}
}
