package nodeagent

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"proa/nodeagent/probe"
)

// hookOutput bounds how much of a hook's response is read.
const hookOutput = 10 << 10

// hook runs one lifecycle handler to its end.
func (a *Agent) hook(ctx context.Context, pod *v1.Pod, c *v1.Container, id, podIP string, h *v1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		r, err := a.runtime.ExecSync(ctx, id, h.Exec.Command, 0)
		if err != nil {
			return err
		}
		if r.ExitCode != 0 {
			return fmt.Errorf("command '%s' exited with %d: %s, message: %q", strings.Join(h.Exec.Command, " "), r.ExitCode, r.Stderr, r.Stdout)
		}
		return nil
	case h.HTTPGet != nil:
		return a.httpHook(ctx, c, podIP, h.HTTPGet)
	case h.Sleep != nil:
		t := a.o.Clock.NewTimer(time.Duration(h.Sleep.Seconds) * time.Second)
		defer t.Stop()
		select {
		case <-t.C():
		case <-ctx.Done():
		}
		return nil
	}
	// A tcpSocket handler is admitted by the API and, as upstream, does nothing useful.
	return fmt.Errorf("invalid handler: %v", h)
}

func (a *Agent) httpHook(ctx context.Context, c *v1.Container, podIP string, g *v1.HTTPGetAction) error {
	host := g.Host
	if host == "" {
		host = podIP
	}
	port, err := probe.PortOf(c, g.Port)
	if err != nil {
		return err
	}
	u, err := url.Parse(g.Path)
	if err != nil {
		u = &url.URL{Path: g.Path}
	}
	u.Scheme, u.Host = "http", net.JoinHostPort(host, strconv.Itoa(port))
	if g.Scheme != "" {
		u.Scheme = strings.ToLower(string(g.Scheme))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	for _, h := range g.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
		}
		req.Header.Add(h.Name, h.Value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "kube-lifecycle/1.37")
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "*/*")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, hookOutput))
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("HTTP hook %s answered with status code %d", u, resp.StatusCode)
	}
	return nil
}
