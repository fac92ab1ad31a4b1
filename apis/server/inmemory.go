package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// inMemory is an http.RoundTripper that calls a handler directly: no TCP, no
// TLS, no HTTP framing. Responses stream, so watches work; protocol upgrades
// (exec, port-forward) do not, clients that need them use the TLS listener.
type inMemory struct {
	handler atomic.Pointer[http.Handler]
}

var errNotServing = errors.New("the API server in this process is not serving yet")

// RoundTrip serves the request on a goroutine and returns once headers are written.
func (t *inMemory) RoundTrip(req *http.Request) (*http.Response, error) {
	h := t.handler.Load()
	if h == nil {
		return nil, errNotServing
	}
	// A request within a request (authentication looks up a token's pod) is one of
	// its own, as over a connection: it ends with its caller's context, and what
	// that holds of the outer request (user, audit record, warnings) is not its.
	ctx, end := context.WithCancel(context.Background())
	stop := context.AfterFunc(req.Context(), end)
	cancel := func() { stop(); end() }
	in := req.Clone(ctx)
	in.RequestURI = in.URL.RequestURI()
	in.RemoteAddr = "127.0.0.1:0"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/2.0", 2, 0
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	w := &memoryWriter{header: http.Header{}, body: bufio.NewWriterSize(pw, 32<<10), ready: make(chan struct{})}
	go func() {
		defer cancel()
		defer in.Body.Close()
		defer func() {
			// net/http's server recovers handler panics by aborting the connection.
			if r := recover(); r != nil {
				_ = pw.CloseWithError(io.ErrUnexpectedEOF)
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusOK)
			w.mu.Lock()
			err := w.body.Flush()
			w.mu.Unlock()
			_ = pw.CloseWithError(err)
		}()
		(*h).ServeHTTP(w, in)
	}()
	select {
	case <-w.ready:
	case <-req.Context().Done():
		cancel()
		_ = pr.CloseWithError(req.Context().Err())
		return nil, req.Context().Err()
	}
	return &http.Response{
		Status: http.StatusText(w.code), StatusCode: w.code,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: w.sent,
		Body: &memoryBody{PipeReader: pr, cancel: cancel}, ContentLength: -1, Request: req,
	}, nil
}

// memoryBody ends the request when its reader is closed.
type memoryBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *memoryBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

type memoryWriter struct {
	header http.Header
	sent   http.Header // frozen copy at WriteHeader
	code   int
	once   sync.Once
	ready  chan struct{}

	mu   sync.Mutex
	body *bufio.Writer
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(code int) {
	if code >= 100 && code < 200 {
		return
	}
	w.once.Do(func() {
		w.code, w.sent = code, w.header.Clone()
		close(w.ready)
	})
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.body.Write(p)
}

// Flush implements http.Flusher, which watches need.
func (w *memoryWriter) Flush() {
	w.WriteHeader(http.StatusOK)
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.body.Flush()
}

// CloseNotify is asked for by older handlers; cancellation comes by context.
func (w *memoryWriter) CloseNotify() <-chan bool { return make(chan bool) }

// Hijack is refused: there is no connection.
func (w *memoryWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("connection upgrades need the TLS address of this server")
}

// config is a client configuration over the transport with the given bearer token.
func (t *inMemory) config(token string) *rest.Config {
	return &rest.Config{
		Host:        "http://proa.internal",
		Transport:   t,
		BearerToken: token,
		QPS:         -1,
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/vnd.kubernetes.protobuf",
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		},
		DisableCompression: true,
	}
}
