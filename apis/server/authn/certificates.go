package authn

import (
	"crypto/sha256"
	"crypto/x509"
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
// request costs more than a tenth of a write (BenchmarkCertificates), so the
// outcome is kept by the leaf's fingerprint until the certificate (or its chain)
// ends, the CA pool changes, or certificateCacheTTL has passed.
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
	fingerprint := sha256.Sum256(req.TLS.PeerCertificates[0].Raw)
	now := c.clock.Now()
	if v, ok := c.cache.Get(fingerprint); ok {
		if v, ok := v.(verified); ok && v.roots == opts.Roots && now.Before(v.until) {
			return v.response, true, nil
		}
	}
	opts.CurrentTime = now
	until := now.Add(certificateCacheTTL)
	response, ok, err := x509request.New(opts, x509request.UserConversionFunc(func(chain []*x509.Certificate) (*authenticator.Response, bool, error) {
		for _, cert := range chain {
			if cert.NotAfter.Before(until) {
				until = cert.NotAfter
			}
		}
		return x509request.CommonNameUserConversion(chain)
	})).AuthenticateRequest(req)
	if ok && err == nil {
		c.cache.Add(fingerprint, verified{response: response, roots: opts.Roots, until: until})
	}
	return response, ok, err
}
