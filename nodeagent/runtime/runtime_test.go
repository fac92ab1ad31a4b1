package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/hostid"
)

// eventsVariable tells the stand-ins where to report what they do.
const eventsVariable = "PROA_TEST_EVENTS"

// TestMain lets the test binary stand in for containerd and ctr, under whose
// names the tests link to it: real processes, so that sessions, signals and
// adoption are the real ones.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "containerd":
		os.Exit(fakeContainerd())
	case "ctr":
		report("import " + filepath.Base(os.Args[len(os.Args)-1]))
		if strings.Contains(os.Args[len(os.Args)-1], "bad") {
			fmt.Fprintln(os.Stderr, "not an archive")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func report(event string) {
	conn, err := net.Dial("unix", os.Getenv(eventsVariable))
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintln(conn, event)
}

type fakeCRI struct {
	runtimeapi.UnimplementedRuntimeServiceServer
}

func (fakeCRI) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{RuntimeName: "fake", RuntimeVersion: "1"}, nil
}

func fakeContainerd() int {
	config, err := os.ReadFile(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if strings.Contains(string(config), `level = "fatal"`) {
		fmt.Fprintln(os.Stderr, "the disk is on fire")
		return 1
	}
	socket := regexp.MustCompile(`address = "(.*)"`).FindStringSubmatch(string(config))[1]
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	server := grpc.NewServer()
	runtimeapi.RegisterRuntimeServiceServer(server, fakeCRI{})
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		report(fmt.Sprintf("stop %d", os.Getpid()))
		server.Stop()
	}()
	session, err := syscall.Getpgid(0)
	if err != nil || session != os.Getpid() {
		fmt.Fprintln(os.Stderr, "containerd must run in a session of its own")
		return 1
	}
	report(fmt.Sprintf("start %d", os.Getpid()))
	if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return 1
	}
	return 0
}

// bench is one data directory with stand-ins for the runtime's programs.
type bench struct {
	t      *testing.T
	binDir string
	layout Layout
	events chan string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "proa") // t.TempDir() may be too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{t: t, binDir: filepath.Join(dir, "bundle"), events: make(chan string, 100)}
	b.layout = LayoutOf(filepath.Join(dir, "d"), hostid.Names{RunDir: filepath.Join(dir, "r")})
	b.layout.Cgroup = ""
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"bin", "images"} {
		if err := os.MkdirAll(filepath.Join(b.binDir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"containerd", "ctr"} {
		if err := os.Symlink(self, filepath.Join(b.binDir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	b.write(filepath.Join(b.binDir, "images", "pause.tar"))
	socket := filepath.Join(dir, "events")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(eventsVariable, socket)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			for s := bufio.NewScanner(conn); s.Scan(); {
				b.events <- s.Text()
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		if p := findProcess(b.layout); p != nil {
			_ = p.handle.Kill()
			<-p.exited
		}
	})
	return b
}

func (b *bench) write(path string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// run starts a Runtime and waits until it is ready. stop ends it as SIGTERM
// ends proa.
func (b *bench) run(logLevel string) (stop func()) {
	b.t.Helper()
	r, err := New(Options{DataDir: "/unused", ID: "0a1b2c3d", BinDir: b.binDir, LogLevel: logLevel})
	if err != nil {
		b.t.Fatal(err)
	}
	r.layout = b.layout
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	select {
	case <-r.Ready():
	case err := <-ended:
		b.t.Fatalf("Run: %v", err)
	}
	return func() {
		b.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	}
}

// next returns the next event, which must have the given form.
func (b *bench) next(pattern string) string {
	b.t.Helper()
	select {
	case e := <-b.events:
		if !regexp.MustCompile("^" + pattern + "$").MatchString(e) {
			b.t.Fatalf("event %q, want %q", e, pattern)
		}
		return e
	case <-time.After(30 * time.Second):
		b.t.Fatalf("no event %q", pattern)
	}
	return ""
}

func (b *bench) quiet() {
	b.t.Helper()
	select {
	case e := <-b.events:
		b.t.Errorf("unexpected event %q", e)
	default:
	}
}

func TestAdoptsWhatRuns(t *testing.T) {
	b := newBench(t)
	b.run("")()
	b.next(`start \d+`)
	b.next("import pause.tar")
	b.run("")()
	b.quiet() // neither started nor imported again
}

func TestReplacesOtherConfiguration(t *testing.T) {
	b := newBench(t)
	b.run("")()
	first := b.next(`start \d+`)
	b.next("import pause.tar")
	b.run("debug")()
	if stopped := b.next(`stop \d+`); strings.TrimPrefix(stopped, "stop ") != strings.TrimPrefix(first, "start ") {
		t.Errorf("%s, then %s", first, stopped)
	}
	b.next(`start \d+`)
	configs, err := filepath.Glob(b.layout.configPrefix() + "*")
	if err != nil || len(configs) != 1 {
		t.Errorf("the old configuration stays: %v, %v", configs, err)
	}
}

func TestRestartsAfterKill(t *testing.T) {
	b := newBench(t)
	stop := b.run("")
	defer stop()
	b.next(`start \d+`)
	b.next("import pause.tar")
	for range 2 {
		p := findProcess(b.layout)
		if p == nil {
			t.Fatal("containerd is not found in the process table")
		}
		if err := p.handle.Kill(); err != nil {
			t.Fatal(err)
		}
		b.next(`start \d+`)
	}
}

func TestRestartsAdoptedAfterKill(t *testing.T) {
	b := newBench(t)
	b.run("")()
	b.next(`start \d+`)
	b.next("import pause.tar")
	stop := b.run("")
	defer stop()
	p := findProcess(b.layout)
	if p == nil {
		t.Fatal("containerd is not found in the process table")
	}
	if err := p.handle.Kill(); err != nil {
		t.Fatal(err)
	}
	b.next(`start \d+`)
}

func TestImportsArchives(t *testing.T) {
	b := newBench(t)
	b.write(filepath.Join(b.layout.Images, "early.tar"))
	b.write(filepath.Join(b.layout.Images, "bad.tar"))
	stop := b.run("")
	b.next(`start \d+`)
	b.next("import pause.tar")
	b.next("import bad.tar")
	b.next("import early.tar")
	b.next("import bad.tar") // the watch's first round tries again
	b.write(filepath.Join(b.layout.Images, "late.tar"))
	b.next("import bad.tar")
	b.next("import late.tar")
	stop()
}

func TestSaysWhyItDoesNotStart(t *testing.T) {
	b := newBench(t)
	r, err := New(Options{DataDir: "/unused", ID: "0a1b2c3d", BinDir: b.binDir, LogLevel: "fatal"})
	if err != nil {
		t.Fatal(err)
	}
	r.layout = b.layout
	err = r.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the disk is on fire") || !strings.Contains(err.Error(), b.layout.Log) {
		t.Errorf("got %v, want the log's last line and its path", err)
	}
}
