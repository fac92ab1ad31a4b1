package server

import (
	"context"
	"io"
	"net/http"
	"time"
)

// announce closes ready when /readyz first answers ok. It asks over the
// in-memory transport, so a question costs microseconds.
func (s *Server) announce(ctx context.Context) {
	client := &http.Client{Transport: s.transport}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://proa.internal/readyz", nil)
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+s.loopback.BearerToken)
		if resp, err := client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				close(s.ready)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
