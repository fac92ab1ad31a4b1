package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// settings are what the environment says; the chart sets all of them.
type settings struct {
	listen       string        // LISTEN, default :8080
	greeting     string        // GREETING
	greetingFile string        // GREETING_FILE, read at each request: a mounted ConfigMap may change
	secretFile   string        // SECRET_FILE, of which only the length is shown
	node         string        // NODE_NAME
	namespace    string        // POD_NAMESPACE
	configMap    string        // CONFIGMAP, read through the API by /config
	drain        time.Duration // DRAIN, how long to answer after SIGTERM
	host         string
}

func settingsFrom(env func(string) string) settings {
	s := settings{
		listen: env("LISTEN"), greeting: env("GREETING"), greetingFile: env("GREETING_FILE"),
		secretFile: env("SECRET_FILE"), node: env("NODE_NAME"), namespace: env("POD_NAMESPACE"),
		configMap: env("CONFIGMAP"),
	}
	if s.listen == "" {
		s.listen = ":8080"
	}
	s.drain, _ = time.ParseDuration(env("DRAIN"))
	s.host, _ = os.Hostname()
	return s
}

// handler answers; ready says whether /readyz does.
func handler(s settings, ready *atomic.Bool, api func(context.Context, string) (string, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /hostname", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, s.host) })
	mux.HandleFunc("GET /clientip", func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, host)
	})
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, r *http.Request) {
		body, err := api(r.Context(), "/api/v1/namespaces/"+s.namespace+"/configmaps/"+s.configMap)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s\n\nhost:    %s\nnode:    %s\nversion: %s\n", s.currentGreeting(), s.host, s.node, version)
		if b, err := os.ReadFile(s.secretFile); err == nil {
			fmt.Fprintf(w, "secret:  %d bytes\n", len(b))
		}
	})
	return mux
}

// currentGreeting prefers the file, which a ConfigMap update changes in place.
func (s settings) currentGreeting() string {
	if b, err := os.ReadFile(s.greetingFile); err == nil {
		return strings.TrimSpace(string(b))
	}
	if s.greeting != "" {
		return s.greeting
	}
	return "Hello from proa"
}

// serve answers until ctx ends; then /readyz fails for s.drain, so that traffic
// moves away, and open requests are finished.
func serve(ctx context.Context, s settings, out io.Writer) error {
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	var ready atomic.Bool
	ready.Store(true)
	server := &http.Server{Handler: handler(s, &ready, apiGet), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	fmt.Fprintf(out, "webapp %s listening on %s as %s\n", version, l.Addr(), s.host)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ready.Store(false)
	fmt.Fprintf(out, "webapp stopping, draining for %s\n", s.drain)
	time.Sleep(s.drain)
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
