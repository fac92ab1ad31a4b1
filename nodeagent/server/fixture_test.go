package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/rest"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	kubelettypes "k8s.io/kubelet/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	utilexec "k8s.io/utils/exec"

	"proa/nodeagent/cri"
)

// fakeRuntime has fixed containers and a real streaming server.
type fakeRuntime struct {
	mu         sync.Mutex
	statuses   map[string]*runtimeapi.ContainerStatus
	sandboxes  []*runtimeapi.PodSandbox
	containers []*runtimeapi.Container
	stats      []*runtimeapi.PodSandboxStats
	statsErr   error
	streams    streaming.Server
}

func (f *fakeRuntime) ListPodSandbox(_ context.Context, filter *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	var out []*runtimeapi.PodSandbox
	for _, s := range f.sandboxes {
		if s.State == filter.State.State && s.Labels[kubelettypes.KubernetesPodUIDLabel] == filter.LabelSelector[kubelettypes.KubernetesPodUIDLabel] {
			out = append(out, s)
		}
	}
	return out, nil
}

func (f *fakeRuntime) ListContainers(context.Context, *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	return f.containers, nil
}

func (f *fakeRuntime) ContainerStatus(_ context.Context, id string) (*runtimeapi.ContainerStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s, ok := f.statuses[id]; ok {
		return s, nil
	}
	return nil, grpcstatus.Errorf(codes.NotFound, "container %s not found", id)
}

func (f *fakeRuntime) ExecSync(_ context.Context, id string, cmd []string, _ time.Duration) (cri.ExecResult, error) {
	return cri.ExecResult{Stdout: []byte(id + ": " + strings.Join(cmd, "|")), Stderr: []byte("!"), ExitCode: 1}, nil
}

func (f *fakeRuntime) Exec(_ context.Context, r *runtimeapi.ExecRequest) (string, error) {
	if r.ContainerId == "gone" {
		return "", grpcstatus.Error(codes.NotFound, "no such container")
	}
	answer, err := f.streams.GetExec(r)
	return answer.GetUrl(), err
}

func (f *fakeRuntime) Attach(_ context.Context, r *runtimeapi.AttachRequest) (string, error) {
	answer, err := f.streams.GetAttach(r)
	return answer.GetUrl(), err
}

func (f *fakeRuntime) PortForward(_ context.Context, r *runtimeapi.PortForwardRequest) (string, error) {
	answer, err := f.streams.GetPortForward(r)
	return answer.GetUrl(), err
}

func (f *fakeRuntime) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/"}, UsedBytes: &runtimeapi.UInt64Value{Value: 7}}}}, nil
}

func (f *fakeRuntime) ListPodSandboxStats(context.Context) ([]*runtimeapi.PodSandboxStats, error) {
	return f.stats, f.statsErr
}

// streamed is what runs behind the streaming server: exec answers with what
// it was given, port forwarding echoes.
type streamed struct{}

func (streamed) Exec(_ context.Context, id string, cmd []string, in io.Reader, out, errOut io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize) error {
	var input []byte
	if in != nil {
		var err error
		if input, err = io.ReadAll(in); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "exec %s %s tty=%v in=%s", id, strings.Join(cmd, " "), tty, input)
	if errOut != nil {
		fmt.Fprint(errOut, "on stderr")
	}
	if cmd[0] == "fail" {
		return &utilexec.CodeExitError{Err: errors.New("failed"), Code: 7}
	}
	return nil
}

func (streamed) Attach(_ context.Context, id string, _ io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	fmt.Fprintf(out, "attached to %s", id)
	return nil
}

func (streamed) PortForward(_ context.Context, sandbox string, port int32, stream io.ReadWriteCloser) error {
	buf := make([]byte, 100)
	n, err := stream.Read(buf)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stream, "%s:%d %s", sandbox, port, buf[:n])
	return err
}

type fakeBackend []*v1.Pod

func (b fakeBackend) Pods() []*v1.Pod { return b }

func (b fakeBackend) Pod(namespace, name string) (*v1.Pod, bool) {
	for _, pod := range b {
		if pod.Namespace == namespace && pod.Name == name {
			return pod, true
		}
	}
	return nil, false
}

// bearer knows users by token; everyone may do what their name says: admin
// all, others the subresource they are named after.
func bearer(r *http.Request) (*authenticator.Response, bool, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "broken" {
		return nil, false, errors.New("no review today")
	}
	if !ok {
		return nil, false, nil
	}
	return &authenticator.Response{User: &user.DefaultInfo{Name: token}}, true, nil
}

func byName(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	switch name := a.GetUser().GetName(); {
	case name == "error":
		return authorizer.DecisionNoOpinion, "", errors.New("no review today")
	case a.GetResource() != "nodes" || a.GetName() != "node-1":
		return authorizer.DecisionDeny, "", nil
	case name == "admin", name == a.GetSubresource():
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

type fixture struct {
	url     *url.URL
	config  *rest.Config // as admin
	runtime *fakeRuntime
	logs    string // directory of log files
}

func running(name, id string) v1.ContainerStatus {
	return v1.ContainerStatus{Name: name, ContainerID: "containerd://" + id, State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Unix(1000, 0)}}}
}

// newFixture starts a server on a port of its own, with one pod ns/web.
func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{logs: t.TempDir(), runtime: &fakeRuntime{statuses: map[string]*runtimeapi.ContainerStatus{}}}
	backend := httptest.NewUnstartedServer(nil)
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "http", Host: backend.Listener.Addr().String()}
	var err error
	if f.runtime.streams, err = streaming.NewServer(config, streamed{}); err != nil {
		t.Fatal(err)
	}
	backend.Config.Handler = f.runtime.streams
	backend.Start()
	t.Cleanup(backend.Close)

	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "uid-1"},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c"}, {Name: "ended"}, {Name: "waiting"}, {Name: "gone"}}},
		Status: v1.PodStatus{StartTime: &metav1.Time{Time: time.Unix(900, 0)}, ContainerStatuses: []v1.ContainerStatus{
			running("c", "id-c"), running("gone", "gone"),
			{Name: "ended", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ContainerID: "containerd://id-ended"}}},
			{Name: "waiting", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
		}},
	}
	f.runtime.sandboxes = []*runtimeapi.PodSandbox{
		{Id: "old", State: runtimeapi.PodSandboxState_SANDBOX_NOTREADY, CreatedAt: 9, Labels: map[string]string{kubelettypes.KubernetesPodUIDLabel: "uid-1"}},
		{Id: "sandbox", State: runtimeapi.PodSandboxState_SANDBOX_READY, CreatedAt: 5, Labels: map[string]string{kubelettypes.KubernetesPodUIDLabel: "uid-1"}},
	}
	f.log(t, "id-c", runtimeapi.ContainerState_CONTAINER_RUNNING, "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr F two\n")
	f.log(t, "id-ended", runtimeapi.ContainerState_CONTAINER_EXITED, "2026-01-01T00:00:01Z stdout F last words\n")

	pair, certificate := selfSigned(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Listener: listener, TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, NodeName: "node-1",
		Authenticator: authenticator.RequestFunc(bearer), Authorizer: authorizer.AuthorizerFunc(byName),
		Backend: fakeBackend{pod}, Runtime: f.runtime, Clock: clocktesting.NewFakePassiveClock(time.Unix(2000, 0)),
	}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	f.url = &url.URL{Scheme: "https", Host: listener.Addr().String()}
	f.config = &rest.Config{Host: f.url.String(), BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{CAData: certificate}}
	return f
}

// selfSigned returns a certificate for 127.0.0.1 and its PEM.
func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (f *fixture) log(t *testing.T, id string, state runtimeapi.ContainerState, text string) {
	t.Helper()
	path := filepath.Join(f.logs, id+".log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.runtime.mu.Lock()
	defer f.runtime.mu.Unlock()
	f.runtime.statuses[id] = &runtimeapi.ContainerStatus{Id: id, State: state, LogPath: path}
}

// do asks as a user; "" is nobody.
func (f *fixture) do(t *testing.T, as, method, path string) (int, string) {
	t.Helper()
	config := rest.CopyConfig(f.config)
	config.BearerToken = as
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r, err := http.NewRequestWithContext(t.Context(), method, f.url.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}
