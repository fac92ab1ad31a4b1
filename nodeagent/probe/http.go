package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const userAgent = "kube-probe/1.37"

// client follows redirects on the same host only; one that leads elsewhere is
// the answer itself, and a warning.
func client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			// Probes reach pods whatever their certificates say.
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives:  true,
			DisableCompression: true,
			DialContext:        (&net.Dialer{}).DialContext,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if req.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse
			}
			if len(via) >= 10 {
				return errors.New("stopped after 10 redirects")
			}
			return nil
		},
	}
}

func (m *Manager) httpGet(ctx context.Context, t Target, a *v1.HTTPGetAction, timeout time.Duration) (outcome, string) {
	port, err := PortOf(t.Container, a.Port)
	if err != nil {
		return unknown, err.Error()
	}
	host := a.Host
	if host == "" {
		host = t.PodIP
	}
	u, err := url.Parse(a.Path)
	if err != nil {
		u = &url.URL{Path: a.Path}
	}
	u.Scheme = "http"
	if a.Scheme != "" {
		u.Scheme = strings.ToLower(string(a.Scheme))
	}
	u.Host = net.JoinHostPort(host, strconv.Itoa(port))
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return failure, err.Error()
	}
	for _, h := range a.HTTPHeaders {
		req.Header.Add(h.Name, h.Value)
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
		}
	}
	setHeader(req.Header, "User-Agent", userAgent)
	setHeader(req.Header, "Accept", "*/*")
	resp, err := m.http.Do(req)
	if err != nil {
		return failure, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	if err != nil {
		return failure, err.Error()
	}
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return success, string(body)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return warning, fmt.Sprintf("Probe terminated redirects, Response body: %v", string(body))
	}
	return failure, fmt.Sprintf("HTTP probe failed with statuscode: %d", resp.StatusCode)
}

// setHeader gives a header its default; one set to nothing is left out.
func setHeader(h http.Header, name, value string) {
	got, ok := h[name]
	switch {
	case !ok:
		h.Set(name, value)
	case len(got) > 0 && got[0] == "" && name == "Accept":
		h.Del(name)
	}
}

// PortOf resolves a port of a probe or hook, given by number or by a container
// port's name, to 1..65535.
func PortOf(c *v1.Container, p intstr.IntOrString) (int, error) {
	port := p.IntValue()
	if p.Type == intstr.String {
		port = 0
		for _, cp := range c.Ports {
			if cp.Name == p.StrVal {
				port = int(cp.ContainerPort)
			}
		}
		if port == 0 {
			n, err := strconv.Atoi(p.StrVal)
			if err != nil {
				return 0, fmt.Errorf("couldn't find port: %q in container %q", p.StrVal, c.Name)
			}
			port = n
		}
	}
	if port <= 0 || port > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", p.String())
	}
	return port, nil
}
