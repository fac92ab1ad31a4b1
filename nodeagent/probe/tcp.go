package probe

import (
	"context"
	"net"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
)

func (m *Manager) tcp(ctx context.Context, t Target, a *v1.TCPSocketAction, timeout time.Duration) (outcome, string) {
	port, err := PortOf(t.Container, a.Port)
	if err != nil {
		return unknown, err.Error()
	}
	host := a.Host
	if host == "" {
		host = t.PodIP
	}
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return failure, err.Error()
	}
	_ = conn.Close()
	return success, ""
}
