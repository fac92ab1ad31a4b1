package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"proa/nodeagent/logs"
)

// containerLogs writes a container's log: GET
// /containerLogs/{namespace}/{pod}/{container}, with the parameters of
// v1.PodLogOptions.
func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	o, status, err := logOptions(r.URL.Query())
	if err != nil {
		writeText(w, status, err.Error())
		return
	}
	name, container := r.PathValue("pod"), r.PathValue("container")
	pod, ok := s.findPod(r.PathValue("namespace"), name, "")
	if !ok {
		writeText(w, http.StatusNotFound, fmt.Sprintf("pod %q does not exist", name))
		return
	}
	if !hasContainer(pod, container) {
		writeText(w, http.StatusNotFound, fmt.Sprintf("container %q not found in pod %q", container, name))
		return
	}
	id, err := logTarget(pod, container, o.Previous)
	if err != nil {
		writeText(w, http.StatusBadRequest, err.Error())
		return
	}
	run, err := s.o.Runtime.ContainerStatus(ctx, id)
	if err != nil || run == nil || run.LogPath == "" {
		writeText(w, http.StatusBadRequest, fmt.Sprintf("unable to retrieve container logs for %s", id))
		return
	}

	out := &logWriter{w: w}
	if o.Follow {
		// The client learns at once that there is a log, even an empty one.
		out.flusher, _ = w.(http.Flusher)
		_, _ = out.Write(nil)
	}
	buffered := bufio.NewWriterSize(out, 32<<10)
	var sink io.Writer = buffered
	if o.Follow {
		sink = out
	}
	var stdout, stderr io.Writer
	if *o.Stream != v1.LogStreamStderr {
		stdout = sink
	}
	if *o.Stream != v1.LogStreamStdout {
		stderr = sink
	}
	running := func(ctx context.Context) (bool, error) { return s.isRunning(ctx, id) }
	err = logs.Read(ctx, run.LogPath, logs.OptionsOf(o, s.o.Clock.Now()), running, stdout, stderr)
	if err = errors.Join(err, buffered.Flush()); err == nil {
		return
	}
	if !out.written {
		writeText(w, http.StatusBadRequest, err.Error())
		return
	}
	klog.FromContext(ctx).V(2).Info("A log request ended early", "pod", klog.KObj(pod), "container", container, "err", err)
}

func (s *Server) isRunning(ctx context.Context, id string) (bool, error) {
	status, err := s.o.Runtime.ContainerStatus(ctx, id)
	if grpcstatus.Code(err) == codes.NotFound {
		return false, nil
	}
	if err != nil || status == nil {
		return false, err
	}
	return status.State == runtimeapi.ContainerState_CONTAINER_RUNNING, nil
}

// logWriter knows whether anything was written, and flushes if it can.
type logWriter struct {
	w       io.Writer
	flusher http.Flusher
	written bool
}

func (l *logWriter) Write(p []byte) (int, error) {
	l.written = true
	n, err := l.w.Write(p)
	if l.flusher != nil {
		l.flusher.Flush()
	}
	return n, err
}

// logOptions reads v1.PodLogOptions from a query. The error comes with its
// HTTP status. Stream is always set.
func logOptions(query url.Values) (*v1.PodLogOptions, int, error) {
	o := &v1.PodLogOptions{Container: query.Get("container")}
	var errs []error
	boolean := func(name string, into *bool) {
		if text := query.Get(name); query.Has(name) {
			// As the API's conversion has it: present means true.
			switch text {
			case "false", "0":
				*into = false
			default:
				*into = true
			}
		}
	}
	number := func(name string, into **int64) {
		if text := query.Get(name); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %q is not a whole number", name, text))
				return
			}
			*into = &n
		}
	}
	boolean("follow", &o.Follow)
	boolean("previous", &o.Previous)
	boolean("timestamps", &o.Timestamps)
	number("sinceSeconds", &o.SinceSeconds)
	number("tailLines", &o.TailLines)
	number("limitBytes", &o.LimitBytes)
	if tail := query.Get("tail"); tail == "all" { // the name before v1
		o.TailLines = nil
	} else if tail != "" {
		number("tail", &o.TailLines)
	}
	if text := query.Get("sinceTime"); text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("sinceTime: %q is not a time such as 2006-01-02T15:04:05Z", text))
		}
		o.SinceTime = &metav1.Time{Time: t}
	}
	stream := v1.LogStreamAll
	if text := query.Get("stream"); text != "" {
		stream = text
	}
	o.Stream = &stream
	if err := errors.Join(errs...); err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("unable to decode query: %w", err)
	}
	if err := validateLogOptions(o); err != nil {
		return nil, http.StatusUnprocessableEntity, fmt.Errorf("invalid request: %w", err)
	}
	return o, 0, nil
}

func validateLogOptions(o *v1.PodLogOptions) error {
	switch {
	case o.TailLines != nil && *o.TailLines < 0:
		return errors.New("tailLines must be greater than or equal to 0")
	case o.LimitBytes != nil && *o.LimitBytes < 1:
		return errors.New("limitBytes must be greater than 0")
	case o.SinceSeconds != nil && o.SinceTime != nil:
		return errors.New("at most one of `sinceTime` or `sinceSeconds` may be specified")
	case o.SinceSeconds != nil && *o.SinceSeconds < 1:
		return errors.New("sinceSeconds must be greater than 0")
	case *o.Stream != v1.LogStreamAll && *o.Stream != v1.LogStreamStdout && *o.Stream != v1.LogStreamStderr:
		return fmt.Errorf("stream %q must be %s, %s or %s", *o.Stream, v1.LogStreamAll, v1.LogStreamStdout, v1.LogStreamStderr)
	case *o.Stream != v1.LogStreamAll && o.TailLines != nil:
		return errors.New("`tailLines` and specific `stream` are mutually exclusive for now")
	}
	return nil
}
