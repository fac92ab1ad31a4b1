package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	caValidity   = 10 * 365 * 24 * time.Hour
	certValidity = 365 * 24 * time.Hour
	// backdate allows for clocks that differ a little between machines.
	backdate = 5 * time.Minute
)

// Pair is a certificate with its private key, on disk and in memory.
type Pair struct {
	CertFile, KeyFile string
	// CertPEM may hold the issuer after the leaf.
	CertPEM, KeyPEM []byte
	Cert            *x509.Certificate
	Key             crypto.Signer
}

// TLS returns the pair in the form crypto/tls wants.
func (p *Pair) TLS() (tls.Certificate, error) { return tls.X509KeyPair(p.CertPEM, p.KeyPEM) }

// CertHash is the lower-case hexadecimal SHA-256 of a certificate's public key
// (SubjectPublicKeyInfo), kubeadm's discovery-token-ca-cert-hash without prefix.
func CertHash(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// profile is what a certificate is for.
type profile struct {
	commonName   string
	organization []string
	usages       []x509.ExtKeyUsage
	names        []string
	addresses    []net.IP
	// withCA appends the issuer to the certificate file.
	withCA bool
}

func (p profile) matches(c *x509.Certificate) bool {
	if c.Subject.CommonName != p.commonName || !sameSet(c.Subject.Organization, p.organization) || !sameSet(c.DNSNames, p.names) {
		return false
	}
	return sameSet(ipStrings(c.IPAddresses), ipStrings(p.addresses))
}

func ipStrings(in []net.IP) []string {
	out := make([]string, 0, len(in))
	for _, ip := range in {
		out = append(out, ip.String())
	}
	return out
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// nearEnd says whether a fifth or less of a certificate's life is left.
func nearEnd(c *x509.Certificate, now time.Time) bool {
	return now.Add(c.NotAfter.Sub(c.NotBefore) / 5).After(c.NotAfter)
}

func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("identity: generate key: %w", err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, nil, fmt.Errorf("identity: encode key: %w", err)
	}
	return key, keyPEM, nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func certPEM(der []byte) []byte {
	return pemBlock(cert.CertificateBlockType, der)
}

func serial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func selfSign(key crypto.Signer, commonName string, now time.Time) ([]byte, error) {
	n, err := serial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          n,
		Subject:               pkix.Name{CommonName: commonName},
		DNSNames:              []string{commonName},
		NotBefore:             now.Add(-backdate).UTC(),
		NotAfter:              now.Add(caValidity).UTC(),
		KeyUsage:              x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

func (ca *Pair) sign(key crypto.PublicKey, p profile, now time.Time) ([]byte, error) {
	n, err := serial()
	if err != nil {
		return nil, err
	}
	end := now.Add(certValidity)
	if end.After(ca.Cert.NotAfter) {
		end = ca.Cert.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber:          n,
		Subject:               pkix.Name{CommonName: p.commonName, Organization: p.organization},
		DNSNames:              p.names,
		IPAddresses:           p.addresses,
		NotBefore:             now.Add(-backdate).UTC(),
		NotAfter:              end.UTC(),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           p.usages,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.Cert, key, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("identity: sign certificate for %s: %w", p.commonName, err)
	}
	return der, nil
}

// loadPair reads base.crt and base.key. Both missing is (nil, nil); a key alone
// comes back with a nil Cert; everything else that is not a sound pair is an error
// that names the file and the way out.
func loadPair(base string) (*Pair, error) {
	p := &Pair{CertFile: base + ".crt", KeyFile: base + ".key"}
	var err error
	if p.CertPEM, err = readOptional(p.CertFile); err != nil {
		return nil, err
	}
	if p.KeyPEM, err = readOptional(p.KeyFile); err != nil {
		return nil, err
	}
	switch {
	case p.CertPEM == nil && p.KeyPEM == nil:
		return nil, nil
	case p.KeyPEM == nil:
		return nil, fmt.Errorf("identity: %s is there but its key %s is not: restore the key, or remove the certificate to have both made anew", p.CertFile, p.KeyFile)
	}
	if p.Key, err = parseKey(p.KeyFile, p.KeyPEM); err != nil {
		return nil, err
	}
	if p.CertPEM == nil {
		return p, nil
	}
	certs, err := cert.ParseCertsPEM(p.CertPEM)
	if err != nil {
		return nil, fmt.Errorf("identity: %s is not a PEM certificate (%v): restore it, or remove it and its key to have both made anew", p.CertFile, err)
	}
	p.Cert = certs[0]
	type equaler interface{ Equal(crypto.PublicKey) bool }
	if pub, ok := p.Cert.PublicKey.(equaler); !ok || !pub.Equal(p.Key.Public()) {
		return nil, fmt.Errorf("identity: %s does not belong to the key %s: restore the matching file, or remove both to have them made anew", p.CertFile, p.KeyFile)
	}
	return p, nil
}

func parseKey(file string, data []byte) (crypto.Signer, error) {
	k, err := keyutil.ParsePrivateKeyPEM(data)
	if err != nil {
		return nil, fmt.Errorf("identity: %s is not a PEM private key (%v): restore it, or remove it and its certificate to have both made anew", file, err)
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("identity: %s holds a %T, which cannot sign: use an ECDSA or RSA key", file, k)
	}
	return s, nil
}

// ensureCA loads or makes a certificate authority. An existing one is never touched.
func ensureCA(base, commonName string, now time.Time) (*Pair, error) {
	p, err := loadPair(base)
	if err != nil {
		return nil, err
	}
	if p != nil {
		switch {
		case p.Cert == nil:
			return nil, fmt.Errorf("identity: the CA key %s is there but its certificate %s is not: restore it; only if nothing was ever signed with it, remove the key", p.KeyFile, p.CertFile)
		case !p.Cert.IsCA:
			return nil, fmt.Errorf("identity: %s is not a CA certificate: put the cluster's CA there", p.CertFile)
		case now.After(p.Cert.NotAfter):
			return nil, fmt.Errorf("identity: the CA %s expired at %s: renew it with its key %s", p.CertFile, p.Cert.NotAfter.Format(time.RFC3339), p.KeyFile)
		}
		return p, nil
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := selfSign(key, commonName, now)
	if err != nil {
		return nil, fmt.Errorf("identity: sign CA %s: %w", commonName, err)
	}
	return storePair(base, key, keyPEM, certPEM(der), der)
}

// ensureLeaf loads, makes or renews a certificate under ca.
func ensureLeaf(base string, ca *Pair, p profile, now time.Time) (*Pair, error) {
	have, err := loadPair(base)
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	var keyPEM []byte
	switch {
	case have == nil:
		if key, keyPEM, err = newKey(); err != nil {
			return nil, err
		}
	case have.Cert == nil: // a crash between the two writes of the first time
		key, keyPEM = have.Key, have.KeyPEM
	default:
		if !bytes.Equal(have.Cert.RawIssuer, ca.Cert.RawSubject) || have.Cert.CheckSignatureFrom(ca.Cert) != nil {
			return nil, fmt.Errorf("identity: %s was not issued by %s: restore the CA it belongs to, or remove %s and %s to have them made anew", have.CertFile, ca.CertFile, have.CertFile, have.KeyFile)
		}
		if p.matches(have.Cert) && !nearEnd(have.Cert, now) {
			return have, nil
		}
		key, keyPEM = have.Key, have.KeyPEM
	}
	der, err := ca.sign(key.Public(), p, now)
	if err != nil {
		return nil, err
	}
	chain := certPEM(der)
	if p.withCA {
		chain = append(chain, certPEM(ca.Cert.Raw)...)
	}
	return storePair(base, key, keyPEM, chain, der)
}

func storePair(base string, key crypto.Signer, keyPEM, chain, der []byte) (*Pair, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	p := &Pair{CertFile: base + ".crt", KeyFile: base + ".key", CertPEM: chain, KeyPEM: keyPEM, Cert: c, Key: key}
	have, err := readOptional(p.KeyFile)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(have, keyPEM) {
		if err := writeFile(p.KeyFile, keyPEM, 0o600); err != nil {
			return nil, err
		}
	}
	return p, writeFile(p.CertFile, chain, 0o644)
}

// moveTo returns the pair as it will be named once the directory from is to.
func (p *Pair) moveTo(from, to string) {
	if p == nil {
		return
	}
	for _, f := range []*string{&p.CertFile, &p.KeyFile} {
		if rel, err := filepath.Rel(from, *f); err == nil {
			*f = filepath.Join(to, rel)
		}
	}
}
