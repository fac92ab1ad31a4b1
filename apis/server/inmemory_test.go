package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

func roundTrip(ctx context.Context, t *testing.T, h http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	transport := &inMemory{}
	handler := http.Handler(h)
	transport.handler.Store(&handler)
	req, err := http.NewRequestWithContext(ctx, "GET", "http://proa.internal/api?x=y", nil)
	if err != nil {
		t.Fatal(err)
	}
	return transport.RoundTrip(req)
}

func TestInMemoryKeepsRequestsApart(t *testing.T) {
	outer := audit.WithAuditContext(request.WithUser(t.Context(), &user.DefaultInfo{Name: "outer"}))
	resp, err := roundTrip(outer, t, func(w http.ResponseWriter, r *http.Request) {
		if _, ok := request.UserFrom(r.Context()); ok {
			t.Error("the inner request has the outer one's user")
		}
		if audit.AuditContextFrom(r.Context()) != nil {
			t.Error("the inner request writes the outer one's audit record")
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.RequestURI)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusTeapot || string(b) != "/api?x=y" {
		t.Errorf("%d: %q: %v", resp.StatusCode, b, err)
	}
}

func TestInMemoryEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	resp, err := roundTrip(ctx, t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(ended)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	cancel()
	<-ended

	ctx, cancel = context.WithCancel(t.Context())
	if _, err := roundTrip(ctx, t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}); !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("a cancelled request: %v", err)
	}
}

func TestInMemoryPanicEndsOneRequest(t *testing.T) {
	resp, err := roundTrip(t.Context(), t, func(http.ResponseWriter, *http.Request) { panic("handler") })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d", resp.StatusCode)
	}
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("body: %v", err)
	}
}
