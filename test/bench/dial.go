package main

import (
	"context"
	"net"
)

// dial opens a connection from inside the namespace; a socket stays in the
// namespace it was made in.
func (c *cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := c.inside(func() error {
		var err error
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
