package main

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"
)

// certificateCheck is how often a node looks whether its certificates near their end.
const certificateCheck = time.Hour

// certificate is the serving certificate of the moment.
type certificate struct {
	current atomic.Pointer[tls.Certificate]
}

func (c *certificate) set(cert *tls.Certificate) { c.current.Store(cert) }

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := c.current.Load(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("the node's serving certificate is not issued yet")
}
