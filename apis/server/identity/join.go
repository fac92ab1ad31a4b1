package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/certificate/csr"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// JoinOptions says who joins what.
type JoinOptions struct {
	Clock clock.PassiveClock
	// Server is the API server's URL (https://host:port).
	Server string
	Token  JoinToken
	// Dir is the joining machine's data directory.
	Dir      string
	NodeName string
	// Addresses and Names are what the serving certificate is asked for, beyond the
	// node's name. They must be addresses the node reports in its status.
	Addresses []netip.Addr
	Names     []string
}

// Joined is a node's identity after Join.
type Joined struct {
	// CAPEM is the cluster CA; CAFile holds it.
	CAPEM  []byte
	CAFile string
	Client *Pair
	// Kubeconfig is the path of the node's kubeconfig.
	Kubeconfig string
	// Config authenticates as the node.
	Config *rest.Config
}

// Join makes this machine's node identity under o.Dir: it learns the cluster CA
// from the server and checks it against the token's hash, asks for a client
// certificate with the bootstrap token, and waits until it is approved and
// signed. What is already there and valid is kept, so that a restart needs no
// token. ctx bounds the wait.
func Join(ctx context.Context, o JoinOptions) (*Joined, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("join: %q is not an https URL of an API server (want https://host:6443)", o.Server)
	}
	pki := filepath.Join(o.Dir, "pki")
	j := &Joined{CAFile: filepath.Join(pki, "ca.crt"), Kubeconfig: filepath.Join(o.Dir, "kubelet.kubeconfig")}
	if j.CAPEM, err = readOptional(j.CAFile); err != nil {
		return nil, err
	}
	if j.CAPEM == nil {
		ca, err := fetchCA(ctx, u, o.Token.CAHash, o.Clock.Now())
		if err != nil {
			return nil, err
		}
		j.CAPEM = certPEM(ca.Raw)
		if err := writeFile(j.CAFile, j.CAPEM, 0o644); err != nil {
			return nil, err
		}
	}
	base := filepath.Join(pki, "kubelet-client")
	if j.Client, err = loadPair(base); err != nil {
		return nil, err
	}
	subject := pkix.Name{CommonName: "system:node:" + o.NodeName, Organization: []string{"system:nodes"}}
	if !usable(j.Client, subject, j.CAPEM, o.Clock.Now()) {
		client, err := kubernetes.NewForConfig(&rest.Config{Host: o.Server, BearerToken: o.Token.Bearer, TLSClientConfig: rest.TLSClientConfig{CAData: j.CAPEM}, QPS: -1})
		if err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
		j.Client, err = request(ctx, client, base, j.Client, certificatesv1.KubeAPIServerClientKubeletSignerName, &x509.CertificateRequest{Subject: subject}, certificatesv1.UsageClientAuth)
		if err != nil {
			return nil, fmt.Errorf("join: client certificate of node %s: %w", o.NodeName, err)
		}
	}
	if err := WriteKubeconfig(j.Kubeconfig, o.Server, "node", j.CAPEM, j.Client.CertPEM, j.Client.KeyPEM); err != nil {
		return nil, err
	}
	j.Config = &rest.Config{Host: o.Server, TLSClientConfig: rest.TLSClientConfig{CAData: j.CAPEM, CertData: j.Client.CertPEM, KeyData: j.Client.KeyPEM}, QPS: -1}
	return j, nil
}

// RenewClient asks, as the node itself, for a new client certificate when the
// present one nears its end; it says whether it did.
func (j *Joined) RenewClient(ctx context.Context, o JoinOptions) (bool, error) {
	if j.Client.Cert != nil && !nearEnd(j.Client.Cert, o.Clock.Now()) {
		return false, nil
	}
	client, err := kubernetes.NewForConfig(j.Config)
	if err != nil {
		return false, err
	}
	subject := pkix.Name{CommonName: "system:node:" + o.NodeName, Organization: []string{"system:nodes"}}
	p, err := request(ctx, client, filepath.Join(o.Dir, "pki", "kubelet-client"), j.Client, certificatesv1.KubeAPIServerClientKubeletSignerName, &x509.CertificateRequest{Subject: subject}, certificatesv1.UsageClientAuth)
	if err != nil {
		return false, err
	}
	j.Client = p
	return true, WriteKubeconfig(j.Kubeconfig, o.Server, "node", j.CAPEM, p.CertPEM, p.KeyPEM)
}

// Serving returns the node agent's serving certificate, asking for one (signer
// kubernetes.io/kubelet-serving) when there is none that fits. The node object
// must exist first: the approver compares the request with its addresses.
func (j *Joined) Serving(ctx context.Context, o JoinOptions) (*Pair, error) {
	base := filepath.Join(o.Dir, "pki", "kubelet-server")
	have, err := loadPair(base)
	if err != nil {
		return nil, err
	}
	t := &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:" + o.NodeName, Organization: []string{"system:nodes"}},
		DNSNames: append([]string{o.NodeName}, o.Names...),
	}
	for _, a := range o.Addresses {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.Unmap().AsSlice()))
	}
	if usable(have, t.Subject, j.CAPEM, o.Clock.Now()) &&
		sameSet(have.Cert.DNSNames, t.DNSNames) && sameSet(ipStrings(have.Cert.IPAddresses), ipStrings(t.IPAddresses)) {
		return have, nil
	}
	client, err := kubernetes.NewForConfig(j.Config)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	p, err := request(ctx, client, base, have, certificatesv1.KubeletServingSignerName, t, certificatesv1.UsageServerAuth)
	if err != nil {
		return nil, fmt.Errorf("join: serving certificate of node %s: %w", o.NodeName, err)
	}
	return p, nil
}

// usable says whether a pair is this subject's, of this CA and not near its end.
func usable(p *Pair, subject pkix.Name, caPEM []byte, now time.Time) bool {
	if p == nil || p.Cert == nil || p.Cert.Subject.CommonName != subject.CommonName || nearEnd(p.Cert, now) {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)
	_, err := p.Cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// request sends a CSR for template with have's key (or a new one), waits for the
// certificate and stores the pair at base.
func request(ctx context.Context, client kubernetes.Interface, base string, have *Pair, signer string, template *x509.CertificateRequest, usage certificatesv1.KeyUsage) (*Pair, error) {
	var key crypto.Signer
	var keyPEM []byte
	if have != nil {
		key, keyPEM = have.Key, have.KeyPEM
	} else {
		var err error
		if key, keyPEM, err = newKey(); err != nil {
			return nil, err
		}
		// Kept before the request: an interrupted join goes on with the same key.
		if err := writeFile(base+".key", keyPEM, 0o600); err != nil {
			return nil, err
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, err
	}
	name, uid, err := csr.RequestCertificate(client, pemBlock(cert.CertificateRequestBlockType, der), "", signer, nil,
		[]certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, usage}, key)
	if err != nil {
		return nil, err
	}
	klog.FromContext(ctx).V(2).Info("Waiting for certificate", "csr", name, "signer", signer)
	chain, err := csr.WaitForCertificate(ctx, client, name, uid)
	if err != nil {
		return nil, fmt.Errorf("CertificateSigningRequest %s was not granted: %w (see: kubectl describe csr %s)", name, err, name)
	}
	certs, err := cert.ParseCertsPEM(chain)
	if err != nil {
		return nil, fmt.Errorf("CertificateSigningRequest %s: %w", name, err)
	}
	return storePair(base, key, keyPEM, chain, certs[0].Raw)
}

// fetchCA reads the chain the server presents, without trusting it, and returns
// its CA certificate if the token's hash vouches for it and it vouches for the server.
func fetchCA(ctx context.Context, u *url.URL, hash string, now time.Time) (*x509.Certificate, error) {
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "443")
	}
	// Nothing secret is sent before the chain has been checked against the pin below.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("join: reach the server at %s: %w (is the address right and the port open?)", u, err)
	}
	defer func() { _ = conn.Close() }()
	tc, ok := conn.(*tls.Conn)
	if !ok {
		return nil, errors.New("join: no TLS connection")
	}
	chain := tc.ConnectionState().PeerCertificates
	for _, c := range chain {
		if !c.IsCA || !strings.EqualFold(CertHash(c), hash) {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: u.Hostname(), CurrentTime: now}); err != nil {
			return nil, fmt.Errorf("join: the server at %s has a certificate of the right CA that does not fit: %w", u, err)
		}
		return c, nil
	}
	var seen bytes.Buffer
	for _, c := range chain {
		if c.IsCA {
			fmt.Fprintf(&seen, " %s (%s)", CertHash(c), c.Subject)
		}
	}
	if seen.Len() == 0 {
		return nil, fmt.Errorf("join: the server at %s shows no CA certificate in its chain, so the token cannot vouch for it: put the CA's certificate at %s by hand", u, "<data dir>/pki/ca.crt")
	}
	return nil, fmt.Errorf("join: the server at %s is not the one this token is for: it shows CA%s, the token says %s", u, seen.String(), hash)
}
