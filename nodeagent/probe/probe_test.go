package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	clocktesting "k8s.io/utils/clock/testing"

	"proa/nodeagent/cri"
	"proa/nodeagent/planner"
)

func TestCounter(t *testing.T) {
	for _, tc := range []struct {
		name             string
		success, failure int32
		outcomes         string // s, w, f, u
		want             string // + ready, - failed, . nothing due
	}{
		{"defaults", 1, 3, "sffffs", "+..--+"},
		{"two successes", 2, 1, "sfss", ".-.+"},
		{"a warning is a success", 1, 1, "wf", "+-"},
		{"failures must be in a row", 1, 2, "ffsff", ".-+.-"},
	} {
		p := &v1.Probe{SuccessThreshold: tc.success, FailureThreshold: tc.failure}
		c, got := counter{}, ""
		for _, o := range tc.outcomes {
			due, ok := c.add(map[rune]outcome{'s': success, 'w': warning, 'f': failure, 'u': unknown}[o], p)
			switch {
			case !due:
				got += "."
			case ok:
				got += "+"
			default:
				got += "-"
			}
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// script answers exec probes as told.
type script struct {
	mu      sync.Mutex
	codes   map[string]int32 // by command
	timeout map[string]bool
}

func (s *script) set(cmd string, code int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[cmd] = code
}

func (s *script) ExecSync(_ context.Context, _ string, cmd []string, _ time.Duration) (cri.ExecResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timeout[cmd[0]] {
		return cri.ExecResult{}, status.Error(codes.DeadlineExceeded, "timeout")
	}
	return cri.ExecResult{Stdout: []byte("out of " + cmd[0]), ExitCode: s.codes[cmd[0]]}, nil
}

func execProbe(cmd string, period, failures int32) *v1.Probe {
	return &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{cmd}}}, PeriodSeconds: period, FailureThreshold: failures, SuccessThreshold: 1, TimeoutSeconds: 1}
}

func TestManager(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := clocktesting.NewFakeClock(start)
	sh := &script{codes: map[string]int32{"startup": 1, "live": 0, "ready": 1}}
	changes := make(chan planner.Probe, 100)
	var mu sync.Mutex
	var events []string
	m := New(Options{Exec: sh, Clock: clock,
		Changed: func(_ types.UID, id string, p planner.Probe) {
			if id != "c1" {
				t.Errorf("change of %s", id)
			}
			changes <- p
		},
		Event: func(_ types.UID, container, reason, message string) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, container+" "+reason+" "+message)
		},
	})
	defer m.Stop()
	c := &v1.Container{Name: "app", StartupProbe: execProbe("startup", 1, 10), LivenessProbe: execProbe("live", 1, 2), ReadinessProbe: execProbe("ready", 1, 1)}
	m.Sync("u", []Target{{Container: c, ID: "c1", StartedAt: start}})
	m.Sync("u", []Target{{Container: c, ID: "c1", StartedAt: start}}) // no news

	// next steps the clock until the probes say something new.
	next := func() planner.Probe {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case p := <-changes:
				return p
			case <-deadline:
				t.Fatal("no change")
			case <-time.After(time.Millisecond):
				if clock.HasWaiters() {
					clock.Step(time.Second)
				}
			}
		}
	}
	sh.set("startup", 0)
	if p := next(); p != (planner.Probe{Started: true}) {
		t.Errorf("after startup: %+v", p)
	}
	sh.set("ready", 0)
	if p := next(); p != (planner.Probe{Started: true, Ready: true}) {
		t.Errorf("after readiness: %+v", p)
	}
	sh.set("ready", 1)
	if p := next(); p != (planner.Probe{Started: true}) {
		t.Errorf("after readiness failed: %+v", p)
	}
	sh.set("live", 1)
	if p := next(); p != (planner.Probe{Started: true, Failed: planner.KillLiveness}) {
		t.Errorf("after liveness failed: %+v", p)
	}
	m.Sync("u", nil)
	mu.Lock()
	defer mu.Unlock()
	if all := strings.Join(events, "\n"); !strings.Contains(all, "app Unhealthy Readiness probe failed: out of ready") || !strings.Contains(all, "app Unhealthy Liveness probe failed: out of live") {
		t.Errorf("events:\n%s", all)
	}
}

func TestAdoptedContainerKeepsItsState(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	ran := make(chan struct{}, 10)
	m := New(Options{Exec: execFunc(func() { ran <- struct{}{} }), Clock: clock,
		Changed: func(_ types.UID, _ string, p planner.Probe) { t.Errorf("changed to %+v", p) }, Event: func(types.UID, string, string, string) {}})
	defer m.Stop()
	c := &v1.Container{Name: "app", StartupProbe: execProbe("s", 1, 1), ReadinessProbe: execProbe("r", 1, 1)}
	m.Sync("u", []Target{{Container: c, ID: "c1", StartedAt: clock.Now().Add(-time.Hour), Seed: &planner.Probe{Started: true, Ready: true}}})
	select {
	case <-ran: // the readiness probe, which succeeds and so changes nothing
	case <-time.After(20 * time.Second):
		t.Fatal("no probe ran")
	}
}

type execFunc func()

func (f execFunc) ExecSync(context.Context, string, []string, time.Duration) (cri.ExecResult, error) {
	f()
	return cri.ExecResult{}, nil
}

func TestHandlers(t *testing.T) {
	var header http.Header
	var host string
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { header, host = r.Header, r.Host; fmt.Fprint(w, "fine") })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", 302) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://example.invalid/", 302) })
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	defer plain.Close()
	defer secure.Close()
	port := func(s *httptest.Server) intstr.IntOrString {
		_, p, _ := net.SplitHostPort(s.Listener.Addr().String())
		n, _ := strconv.Atoi(p)
		return intstr.FromInt32(int32(n))
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := intstr.FromInt32(int32(closed.Addr().(*net.TCPAddr).Port))
	closed.Close()

	sh := &script{codes: map[string]int32{"no": 1}, timeout: map[string]bool{"slow": true}}
	m := New(Options{Exec: sh})
	get := func(path string, p intstr.IntOrString) v1.ProbeHandler {
		return v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: path, Port: p, HTTPHeaders: []v1.HTTPHeader{{Name: "Host", Value: "example.org"}, {Name: "X", Value: "y"}}}}
	}
	tls := get("/ok", port(secure))
	tls.HTTPGet.Scheme = v1.URISchemeHTTPS
	exec := func(cmd string) v1.ProbeHandler {
		return v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{cmd}}}
	}
	for _, tc := range []struct {
		name    string
		h       v1.ProbeHandler
		want    outcome
		message string
	}{
		{"http", get("/ok", port(plain)), success, "fine"},
		{"https, unknown certificate", tls, success, "fine"},
		{"http 503", get("/bad", port(plain)), failure, "HTTP probe failed with statuscode: 503"},
		{"redirect on the host", get("/here", port(plain)), success, "fine"},
		{"redirect away", get("/away", port(plain)), warning, "Probe terminated redirects"},
		{"nobody listens", get("/ok", nobody), failure, "connection refused"},
		{"no such port name", get("/ok", intstr.FromString("web")), unknown, "couldn't find port"},
		{"tcp", v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: port(plain)}}, success, ""},
		{"tcp, nobody", v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: nobody}}, failure, "connection refused"},
		{"exec", exec("yes"), success, "out of yes"},
		{"exec fails", exec("no"), failure, "out of no"},
		{"exec is slow", exec("slow"), failure, "timed out"},
		{"grpc, nobody", v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: nobody.IntVal}}, failure, "connect"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, message := m.probe(t.Context(), Target{Container: &v1.Container{Name: "c"}, PodIP: "127.0.0.1"}, &v1.Probe{ProbeHandler: tc.h, TimeoutSeconds: 10})
			if o != tc.want || !strings.Contains(message, tc.message) {
				t.Errorf("%s %q, want %s %q", o, message, tc.want, tc.message)
			}
		})
	}
	if header.Get("User-Agent") != userAgent || header.Get("X") != "y" || header.Get("Accept") != "*/*" || host != "example.org" && !strings.HasPrefix(host, "127.0.0.1") {
		t.Errorf("headers %v host %q", header, host)
	}
}
