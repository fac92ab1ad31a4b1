package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
)

// executors are the ways a client may open a stream.
func (f *fixture) executors(t *testing.T, path string) map[string]remotecommand.Executor {
	t.Helper()
	u := *f.url
	u.Path, u.RawQuery, _ = strings.Cut(path, "?")
	viaSPDY, err := remotecommand.NewSPDYExecutor(f.config, http.MethodPost, &u)
	if err != nil {
		t.Fatal(err)
	}
	viaWebSocket, err := remotecommand.NewWebSocketExecutor(f.config, http.MethodGet, u.String())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"SPDY": viaSPDY, "WebSocket": viaWebSocket}
}

func TestExec(t *testing.T) {
	f := newFixture(t)
	for name, e := range f.executors(t, "/exec/ns/web/c?command=cat&command=-n&input=1&output=1&error=1") {
		var stdout, stderr bytes.Buffer
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &stdout, Stderr: &stderr})
		if err != nil || stdout.String() != "exec id-c cat -n tty=false in=hello" || stderr.String() != "on stderr" {
			t.Errorf("%s: %q, %q, %v", name, stdout.String(), stderr.String(), err)
		}
	}
	for name, e := range f.executors(t, "/exec/ns/web/uid-1/c?command=sh&output=1&tty=1") {
		var stdout bytes.Buffer
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &stdout, Tty: true})
		if err != nil || stdout.String() != "exec id-c sh tty=true in=" {
			t.Errorf("%s: %q, %v", name, stdout.String(), err)
		}
	}
	// The exit code reaches the client.
	for name, e := range f.executors(t, "/exec/ns/web/c?command=fail&output=1") {
		err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
		exit, ok := err.(utilexec.ExitError)
		if !ok || exit.ExitStatus() != 7 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAttach(t *testing.T) {
	f := newFixture(t)
	for name, e := range f.executors(t, "/attach/ns/web/c?output=1") {
		var stdout bytes.Buffer
		if err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &stdout}); err != nil || stdout.String() != "attached to id-c" {
			t.Errorf("%s: %q, %v", name, stdout.String(), err)
		}
	}
}

func TestStreamErrors(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct {
		path, want string
		code       int
	}{
		{"/exec/ns/web/c?command=x", "you must specify at least 1 of stdin, stdout, stderr", 400},
		{"/exec/ns/none/c?command=x&output=1", "pod does not exist", 404},
		{"/exec/ns/web/other-uid/c?command=x&output=1", "pod does not exist", 404},
		{"/exec/ns/web/none?command=x&output=1", `container not found ("none")`, 500},
		{"/exec/ns/web/waiting?command=x&output=1", `container not found ("waiting")`, 500},
		{"/exec/ns/web/gone?command=x&output=1", "rpc error: code = NotFound desc = no such container", 404},
		{"/attach/ns/web/ended?output=1", `container not found ("ended")`, 500},
		{"/portForward/ns/none", "pod does not exist", 404},
	} {
		code, body := f.do(t, "admin", "POST", tc.path)
		if code != tc.code || body != tc.want {
			t.Errorf("%s: got %d %q", tc.path, code, body)
		}
	}
	// A request that does not ask for an upgrade gets no stream.
	if code, body := f.do(t, "admin", "POST", "/exec/ns/web/c?command=x&output=1"); code != 500 || body != "Upgrade request required\n" {
		t.Errorf("got %d %q", code, body)
	}
	f.runtime.sandboxes = nil
	if code, body := f.do(t, "admin", "POST", "/portForward/ns/web"); code != 500 || !strings.Contains(body, "not running") {
		t.Errorf("got %d %q", code, body)
	}
}

func TestPortForward(t *testing.T) {
	f := newFixture(t)
	u := &url.URL{Scheme: "https", Host: f.url.Host, Path: "/portForward/ns/web"}
	transport, upgrader, err := spdy.RoundTripperFor(f.config)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialer(u, f.config)
	if err != nil {
		t.Fatal(err)
	}
	for name, dialer := range map[string]httpstream.Dialer{
		"SPDY":      spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u),
		"WebSocket": tunnel,
	} {
		stop, ready := make(chan struct{}), make(chan struct{})
		forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- forwarder.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-done:
			t.Fatalf("%s: %v", name, err)
		}
		ports, err := forwarder.GetPorts()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		want := "sandbox:8080 hello"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		_ = conn.Close()
		close(stop)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
