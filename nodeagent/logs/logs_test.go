package logs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
)

func TestPaths(t *testing.T) {
	dir := PodDir("/var/log/pods", "ns", "web-0", "u-1")
	if dir != "/var/log/pods/ns_web-0_u-1" {
		t.Error(dir)
	}
	ns, name, uid, ok := PodOf(dir)
	if ns != "ns" || name != "web-0" || uid != "u-1" || !ok {
		t.Error(ns, name, uid, ok)
	}
	for _, other := range []string{"x", "a_b", "a__c", "a_b_c_d"} {
		if _, _, _, ok := PodOf(other); ok {
			t.Errorf("%s was taken apart", other)
		}
	}
	if p := ContainerPath("c", 3); p != "c/3.log" {
		t.Error(p)
	}
	if l := LinkName("ns", "p", "c", "abc"); l != "p_ns_c-abc.log" {
		t.Error(l)
	}
	if l := LinkName("ns", strings.Repeat("p", 253), "c", "abc"); len(l) != 255 || !strings.HasSuffix(l, ".log") {
		t.Error(l)
	}
}

const sample = `2026-01-01T00:00:01.5Z stdout F one
2026-01-01T00:00:02.000000002Z stderr F two
not a record
2026-01-01T00:00:03Z stdout P thr
2026-01-01T00:00:03Z stdout F ee
2026-01-01T00:00:04Z stdout F ` + `
2026-01-01T00:00:05Z stdout F five`

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path, sample)
	link := path + "-link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	second := time.Date(2026, 1, 1, 0, 0, 2, 0, time.UTC)
	for name, tc := range map[string]struct {
		o      Options
		stdout string
		stderr string
	}{
		"all":        {Options{Tail: -1, Limit: -1}, "one\nthree\n\nfive", "two\n"},
		"timestamps": {Options{Tail: -1, Limit: -1, Timestamps: true}, "2026-01-01T00:00:01.500000000Z one\n2026-01-01T00:00:03.000000000Z three\n2026-01-01T00:00:04.000000000Z \n2026-01-01T00:00:05.000000000Z five", "2026-01-01T00:00:02.000000002Z two\n"},
		"tail 1":     {Options{Tail: 1, Limit: -1}, "five", ""},
		"tail 2":     {Options{Tail: 2, Limit: -1}, "\nfive", ""},
		"tail 0":     {Options{Tail: 0, Limit: -1}, "five", ""},
		"tail 100":   {Options{Tail: 100, Limit: -1}, "one\nthree\n\nfive", "two\n"},
		"since":      {Options{Tail: -1, Limit: -1, Since: second}, "three\n\nfive", "two\n"},
		"limit":      {Options{Tail: -1, Limit: 6}, "one\n", "tw"},
	} {
		for _, p := range []string{path, link} {
			var stdout, stderr bytes.Buffer
			if err := Read(t.Context(), p, tc.o, nil, &stdout, &stderr); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if stdout.String() != tc.stdout || stderr.String() != tc.stderr {
				t.Errorf("%s: stdout %q, stderr %q", name, stdout.String(), stderr.String())
			}
		}
	}
	var only bytes.Buffer
	if err := Read(t.Context(), path, Options{Tail: -1, Limit: -1}, nil, nil, &only); err != nil || only.String() != "two\n" {
		t.Errorf("stderr only: %q, %v", only.String(), err)
	}
	if err := Read(t.Context(), path+"none", Options{}, nil, io.Discard, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestReadLongLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	long := strings.Repeat("x", 200<<10)
	write(t, path, "2026-01-01T00:00:00Z stdout F "+long+"\n2026-01-01T00:00:00Z stdout F end\n")
	for tail, want := range map[int64]string{-1: long + "\nend\n", 2: long + "\nend\n", 1: "end\n", 0: ""} {
		var out bytes.Buffer
		if err := Read(t.Context(), path, Options{Tail: tail, Limit: -1}, nil, &out, nil); err != nil || out.String() != want {
			t.Errorf("tail %d: %d bytes, %v", tail, out.Len(), err)
		}
	}
}

func TestParseRefusesDamage(t *testing.T) {
	for _, line := range []string{"", "\n", "x y z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z stdout", "2026-01-01T00:00:00Z stdin F x", "2026-01-01T00:00:00Z stdout F"} {
		if r, err := parse([]byte(line)); err == nil {
			t.Errorf("%q became %+v", line, r)
		}
	}
}

// output is a writer whose content can be waited for.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
	return o.buf.Write(p)
}

// until waits for the output; the deadline is only reached by a failing test.
func (o *output) until(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		o.mu.Lock()
		got := o.buf.String()
		o.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-o.more:
		case <-deadline:
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestFollowThroughRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	line := func(n int) string { return fmt.Sprintf("2026-01-01T00:00:0%dZ stdout F %d\n", n, n) }
	write(t, path, line(1))
	out := &output{more: make(chan struct{}, 1)}
	var mu sync.Mutex
	alive := true
	done := make(chan error, 1)
	go func() {
		done <- Read(t.Context(), path, Options{Follow: true, Tail: -1, Limit: -1}, func(context.Context) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			return alive, nil
		}, out, out)
	}()
	out.until(t, "1\n")
	write(t, path, line(2)[:10]) // half a line is not shown
	write(t, path, line(2)[10:])
	out.until(t, "1\n2\n")

	// The runtime writes to the renamed file until it has opened the new one.
	if err := os.Rename(path, path+".20260101-000000"); err != nil {
		t.Fatal(err)
	}
	write(t, path+".20260101-000000", line(3))
	write(t, path, line(4))
	out.until(t, "1\n2\n3\n4\n")

	mu.Lock()
	alive = false
	mu.Unlock()
	write(t, path, line(5))
	if err := <-done; err != nil {
		t.Error(err)
	}
	out.until(t, "1\n2\n3\n4\n5\n")
}

func TestFollowEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path, "2026-01-01T00:00:00Z stdout F 1\n")
	ctx, cancel := context.WithCancel(t.Context())
	alive := func(context.Context) (bool, error) { return true, nil }
	out := &output{more: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- Read(ctx, path, Options{Follow: true, Tail: -1, Limit: -1}, alive, out, out) }()
	out.until(t, "1\n")
	cancel() // as when the client goes away
	if err := <-done; err != nil {
		t.Error(err)
	}
	// The limit ends it too.
	if err := Read(t.Context(), path, Options{Follow: true, Tail: -1, Limit: 1}, alive, io.Discard, nil); err != nil {
		t.Error(err)
	}
	failed := errors.New("runtime is gone")
	err := Read(t.Context(), path, Options{Follow: true, Tail: -1, Limit: -1}, func(context.Context) (bool, error) { return false, failed }, io.Discard, nil)
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

func TestOptionsOf(t *testing.T) {
	now := time.Unix(1000, 0)
	if got := OptionsOf(&v1.PodLogOptions{}, now); got != (Options{Tail: -1, Limit: -1}) {
		t.Errorf("got %+v", got)
	}
	got := OptionsOf(&v1.PodLogOptions{Follow: true, Timestamps: true, SinceSeconds: ptr.To[int64](10), TailLines: ptr.To[int64](0), LimitBytes: ptr.To[int64](5)}, now)
	if got != (Options{Follow: true, Timestamps: true, Since: time.Unix(990, 0), Limit: 5}) {
		t.Errorf("got %+v", got)
	}
	if got := OptionsOf(&v1.PodLogOptions{SinceTime: ptr.To(metav1.NewTime(time.Unix(5, 0)))}, now); !got.Since.Equal(time.Unix(5, 0)) {
		t.Errorf("got %+v", got)
	}
}

// runtime has one container, whose log it opens again by making the file.
type runtime struct {
	path     string
	statuses int
	reopened int
	err      error
}

func (r *runtime) ListContainers(_ context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	if filter.State.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil, errors.New("asked for containers that do not run")
	}
	return []*runtimeapi.Container{{Id: "c"}}, nil
}

func (r *runtime) ContainerStatus(context.Context, string) (*runtimeapi.ContainerStatus, error) {
	r.statuses++
	return &runtimeapi.ContainerStatus{LogPath: r.path}, nil
}

func (r *runtime) ReopenContainerLog(context.Context, string) error {
	if r.err != nil {
		return r.err
	}
	r.reopened++
	return os.WriteFile(r.path, nil, 0o640)
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	rt := &runtime{path: filepath.Join(dir, "0.log")}
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	r := NewRotator(RotatorOptions{Runtime: rt, MaxSize: 10, MaxFiles: 3, Clock: clock})
	rotate := func(want ...string) {
		t.Helper()
		if err := r.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
		clock.Step(time.Minute)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	write(t, rt.path, "small")
	rotate("0.log")
	write(t, rt.path, " no more")
	rotate("0.log", "0.log.20260101-000100")
	rotate("0.log", "0.log.20260101-000100")
	write(t, rt.path, "second log")
	write(t, filepath.Join(dir, "0.log.20251231-000000.tmp"), "left by a crash")
	rotate("0.log", "0.log.20260101-000100.gz", "0.log.20260101-000300")
	f, err := os.Open(filepath.Join(dir, "0.log.20260101-000100.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != "small no more" {
		t.Errorf("got %q, %v", text, err)
	}
	write(t, rt.path, "the third log")
	rotate("0.log", "0.log.20260101-000300.gz", "0.log.20260101-000400")
	if rt.statuses != 1 {
		t.Errorf("asked %d times for a path that does not change", rt.statuses)
	}

	// A runtime that fails keeps its file under the old name.
	rt.err = errors.New("no")
	write(t, rt.path, "the fourth log")
	if err := r.Rotate(t.Context()); err == nil {
		t.Error("no error")
	}
	if text, _ := os.ReadFile(rt.path); string(text) != "the fourth log" {
		t.Errorf("the log is %q", text)
	}
	// A file that is gone is made again.
	rt.err = nil
	if err := os.Remove(rt.path); err != nil {
		t.Fatal(err)
	}
	before := rt.reopened
	if err := r.Rotate(t.Context()); err != nil || rt.reopened != before+1 {
		t.Errorf("reopened %d times, %v", rt.reopened-before, err)
	}
	for range 2 {
		if err := Remove(rt.path); err != nil {
			t.Error(err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left over: %v", entries)
	}
}
