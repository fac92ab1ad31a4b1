package authn

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
)

const (
	// certificateCacheSize is the number of clients remembered; the least recently
	// used goes first. 8,192 entries are a few megabytes.
	certificateCacheSize = 8192
	// certificateCacheTTL bounds how long a verification stands.
	certificateCacheTTL = 5 * time.Minute
)

// certificates authenticates by client certificate. Verifying a chain for every
// request costs more than a tenth of a write, so the outcome is kept by the
// leaf's fingerprint until the certificate (or its chain) ends, the CA pool
// changes, or certificateCacheTTL has passed.
type certificates struct {
	options x509request.VerifyOptionFunc
	clock   clock.PassiveClock
	cache   *lru.Cache
}

type verified struct {
	response *authenticator.Response
	roots    *x509.CertPool
	until    time.Time
}

func newCertificates(options x509request.VerifyOptionFunc, c clock.PassiveClock) *certificates {
	return &certificates{options: options, clock: c, cache: lru.New(certificateCacheSize)}
}

// AuthenticateRequest implements authenticator.Request.
func (c *certificates) AuthenticateRequest(req *http.Request) (*authenticator.Response, bool, error) {
	if req.TLS == nil || len(req.TLS.PeerCertificates) == 0 {
		return nil, false, nil
	}
	opts, ok := c.options()
	if !ok {
		return nil, false, nil
	}
	leaf := req.TLS.PeerCertificates[0]
	fingerprint := sha256.Sum256(leaf.Raw)
	now := c.clock.Now()
	if v, ok := c.cache.Get(fingerprint); ok {
		if v, ok := v.(verified); ok && v.roots == opts.Roots && now.Before(v.until) {
			return v.response, true, nil
		}
	}
	opts.CurrentTime = now
	if opts.Intermediates == nil && len(req.TLS.PeerCertificates) > 1 {
		opts.Intermediates = x509.NewCertPool()
		for _, i := range req.TLS.PeerCertificates[1:] {
			opts.Intermediates.AddCert(i)
		}
	}
	chains, err := leaf.Verify(opts)
	if err != nil {
		return nil, false, fmt.Errorf("verifying certificate SN=%d, SKID=%X, AKID=%X failed: %w", leaf.SerialNumber, leaf.SubjectKeyId, leaf.AuthorityKeyId, err)
	}
	for _, chain := range chains {
		response, ok, err := x509request.CommonNameUserConversion(chain)
		if err != nil || !ok {
			return nil, false, err
		}
		until := now.Add(certificateCacheTTL)
		for _, cert := range chain {
			if cert.NotAfter.Before(until) {
				until = cert.NotAfter
			}
		}
		c.cache.Add(fingerprint, verified{response: response, roots: opts.Roots, until: until})
		return response, true, nil
	}
	return nil, false, nil
}
