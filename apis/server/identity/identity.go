package identity

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/clock"
	utilnet "k8s.io/utils/net"
)

// Options says what the certificates must carry.
type Options struct {
	// Clock is the time certificates are issued and judged at; required.
	Clock clock.PassiveClock
	// Hostname is this machine's name; may be empty.
	Hostname string
	// Names and Addresses are further subject alternative names of the API server
	// and of the store's member.
	Names     []string
	Addresses []netip.Addr
	// ServiceCIDRs are the Service ranges; the first address of each is the
	// kubernetes Service's.
	ServiceCIDRs []netip.Prefix
	// ClusterDomain is the DNS domain of Services ("cluster.local" when empty).
	ClusterDomain string
}

// Identity is what Ensure made or found.
type Identity struct {
	// Dir is the data directory.
	Dir string

	ClusterCA, FrontProxyCA, EtcdCA *Pair

	APIServer, APIServerKubeletClient, APIServerEtcdClient, FrontProxyClient *Pair
	Admin, ControllerManager, Scheduler                                      *Pair
	EtcdServer, EtcdPeer                                                     *Pair

	// ServiceAccountKey signs service-account tokens; its files are pki/sa.{key,pub}.
	ServiceAccountKey     crypto.Signer
	ServiceAccountKeyFile string

	clock clock.PassiveClock
}

// Ensure makes what is missing under dir/pki and renews what nears its end. It is
// idempotent, and a directory with half of a pair or a broken file is an error
// that names it, with nothing changed. The first time, all appears at once.
func Ensure(dir string, o Options) (*Identity, error) {
	if o.Clock == nil {
		return nil, errors.New("identity: Options.Clock is required")
	}
	if o.ClusterDomain == "" {
		o.ClusterDomain = "cluster.local"
	}
	final := filepath.Join(dir, "pki")
	_, err := os.Stat(final)
	switch {
	case err == nil:
		return ensureIn(dir, final, o)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("identity: %w", err)
	}
	// First start: build beside it and rename, so that a crash leaves all or nothing.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, ".pki.*")
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	id, err := ensureIn(dir, tmp, o)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, final); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	for _, p := range id.pairs() {
		p.moveTo(tmp, final)
	}
	id.ServiceAccountKeyFile = filepath.Join(final, "sa.key")
	return id, nil
}

func (id *Identity) pairs() []*Pair {
	return []*Pair{
		id.ClusterCA, id.FrontProxyCA, id.EtcdCA,
		id.APIServer, id.APIServerKubeletClient, id.APIServerEtcdClient, id.FrontProxyClient,
		id.Admin, id.ControllerManager, id.Scheduler, id.EtcdServer, id.EtcdPeer,
	}
}

func ensureIn(dir, pki string, o Options) (*Identity, error) {
	id := &Identity{Dir: dir, clock: o.Clock}
	now := o.Clock.Now()

	for _, ca := range []struct {
		into       **Pair
		file, name string
	}{
		{&id.ClusterCA, "ca", "kubernetes"},
		{&id.FrontProxyCA, "front-proxy-ca", "front-proxy-ca"},
		{&id.EtcdCA, "etcd/ca", "etcd-ca"},
	} {
		p, err := ensureCA(filepath.Join(pki, ca.file), ca.name, now)
		if err != nil {
			return nil, err
		}
		*ca.into = p
	}

	server, err := serverNames(o)
	if err != nil {
		return nil, err
	}
	local, err := localNames(o)
	if err != nil {
		return nil, err
	}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	apiserver := profile{commonName: "kube-apiserver", usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, names: server.names, addresses: server.addresses, withCA: true}
	member := profile{commonName: "etcd", usages: both, names: local.names, addresses: local.addresses}

	for _, leaf := range []struct {
		into **Pair
		file string
		ca   *Pair
		profile
	}{
		{&id.APIServer, "apiserver", id.ClusterCA, apiserver},
		// The node agent authorizes by RBAC (system:kubelet-api-admin); masters pass in every cluster.
		{&id.APIServerKubeletClient, "apiserver-kubelet-client", id.ClusterCA, profile{commonName: "kube-apiserver-kubelet-client", organization: []string{"system:masters"}, usages: client}},
		{&id.APIServerEtcdClient, "apiserver-etcd-client", id.EtcdCA, profile{commonName: "kube-apiserver-etcd-client", usages: client}},
		{&id.FrontProxyClient, "front-proxy-client", id.FrontProxyCA, profile{commonName: "front-proxy-client", usages: client}},
		{&id.Admin, "admin", id.ClusterCA, profile{commonName: "kubernetes-admin", organization: []string{"system:masters"}, usages: client}},
		{&id.ControllerManager, "controller-manager", id.ClusterCA, profile{commonName: "system:kube-controller-manager", usages: client}},
		{&id.Scheduler, "scheduler", id.ClusterCA, profile{commonName: "system:kube-scheduler", usages: client}},
		{&id.EtcdServer, "etcd/server", id.EtcdCA, member},
		{&id.EtcdPeer, "etcd/peer", id.EtcdCA, member},
	} {
		p, err := ensureLeaf(filepath.Join(pki, leaf.file), leaf.ca, leaf.profile, now)
		if err != nil {
			return nil, err
		}
		*leaf.into = p
	}
	if err := id.ensureSigningKey(pki); err != nil {
		return nil, err
	}
	return id, nil
}

func (id *Identity) ensureSigningKey(pki string) error {
	file := filepath.Join(pki, "sa.key")
	data, err := readOptional(file)
	if err != nil {
		return err
	}
	if data != nil {
		if id.ServiceAccountKey, err = parseKey(file, data); err != nil {
			return err
		}
	} else {
		if id.ServiceAccountKey, data, err = newKey(); err != nil {
			return err
		}
		if err := writeFile(file, data, 0o600); err != nil {
			return err
		}
	}
	id.ServiceAccountKeyFile = file
	pub := filepath.Join(pki, "sa.pub")
	if have, err := readOptional(pub); err != nil || have != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(id.ServiceAccountKey.Public())
	if err != nil {
		return fmt.Errorf("identity: %s: %w", file, err)
	}
	return writeFile(pub, pemBlock(keyutil.PublicKeyBlockType, der), 0o644)
}

type altNames struct {
	names     []string
	addresses []net.IP
}

// localNames are those under which processes of this machine are reached.
func localNames(o Options) (altNames, error) {
	a := altNames{names: []string{"localhost"}, addresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback}}
	if o.Hostname != "" && o.Hostname != "localhost" {
		a.names = append(a.names, o.Hostname)
	}
	a.names = append(a.names, o.Names...)
	for _, ip := range o.Addresses {
		if !ip.IsValid() {
			return a, errors.New("identity: Options.Addresses holds an invalid address")
		}
		if ip.IsUnspecified() {
			continue
		}
		a.addresses = append(a.addresses, net.IP(ip.Unmap().AsSlice()))
	}
	return a, nil
}

// serverNames adds the kubernetes Service's names and addresses.
func serverNames(o Options) (altNames, error) {
	a, err := localNames(o)
	if err != nil {
		return a, err
	}
	a.names = append(a.names, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc."+o.ClusterDomain)
	for _, c := range o.ServiceCIDRs {
		_, n, err := net.ParseCIDR(c.Masked().String())
		if err != nil {
			return a, fmt.Errorf("identity: service CIDR %s: %w", c, err)
		}
		first, err := utilnet.GetIndexedIP(n, 1)
		if err != nil {
			return a, err
		}
		a.addresses = append(a.addresses, first)
	}
	return a, nil
}

// Node is the identity of a node agent on the server's own machine; other
// machines get theirs by Join.
type Node struct {
	Client, Server *Pair
}

// EnsureNode makes or renews the certificates of the named node's agent: the
// client certificate of user system:node:<name>, group system:nodes, and the
// serving certificate for its port 10250 with the given further names and addresses.
func (id *Identity) EnsureNode(name string, addresses []netip.Addr, names ...string) (*Node, error) {
	a, err := localNames(Options{Hostname: name, Names: names, Addresses: addresses})
	if err != nil {
		return nil, err
	}
	base := filepath.Join(id.Dir, "pki", "nodes", name)
	if filepath.Base(base) != name {
		return nil, fmt.Errorf("identity: %q is no node name", name)
	}
	subject := profile{commonName: "system:node:" + name, organization: []string{"system:nodes"}}
	n := &Node{}
	p := subject
	p.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if n.Client, err = ensureLeaf(filepath.Join(base, "kubelet-client"), id.ClusterCA, p, id.clock.Now()); err != nil {
		return nil, err
	}
	p = subject
	p.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	p.names, p.addresses = a.names, a.addresses
	if n.Server, err = ensureLeaf(filepath.Join(base, "kubelet-server"), id.ClusterCA, p, id.clock.Now()); err != nil {
		return nil, err
	}
	return n, nil
}

// NextRenewal is when Ensure will first have something to renew.
func (id *Identity) NextRenewal() time.Time {
	var next time.Time
	for _, p := range id.pairs() {
		if p.Cert.IsCA {
			continue
		}
		if at := p.Cert.NotAfter.Add(-p.Cert.NotAfter.Sub(p.Cert.NotBefore) / 5); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}
