package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/sys/unix"
)

// Options are where the member keeps its data and how clients reach it.
type Options struct {
	// Dir is the member's data directory; one process at a time may use it.
	Dir string
	// Address is the host the client and peer listeners bind; loopback when empty.
	Address string
	// ClientPort and PeerPort are TCP ports; upstream's are 2379 and 2380.
	ClientPort, PeerPort int
	// CAFile verifies clients and peers; the pairs are this member's.
	CAFile                                             string
	ServerCert, ServerKey, PeerCert, PeerKey, MemberID string
	// LogFile takes the member's own log; standard error when empty.
	LogFile string
}

// Etcd is the embedded member as a component.
type Etcd struct {
	o     Options
	ready chan struct{}
}

// New returns a member that Run starts.
func New(o Options) *Etcd {
	if o.Address == "" {
		o.Address = "127.0.0.1"
	}
	if o.MemberID == "" {
		o.MemberID = "default"
	}
	return &Etcd{o: o, ready: make(chan struct{})}
}

// Name implements the component.
func (*Etcd) Name() string { return "etcd" }

// Ready is closed when clients can write.
func (e *Etcd) Ready() <-chan struct{} { return e.ready }

// Endpoint is the URL clients use, with TLS and a client certificate.
func (e *Etcd) Endpoint() string { return e.url(e.o.ClientPort).String() }

// maxSocketPath is what the kernel takes, less its closing zero.
const maxSocketPath = 107

// LocalEndpoint is a socket in the data directory, which only its owner can
// enter: clients in this process save TLS. It is empty where the path is too
// long for a socket.
func (e *Etcd) LocalEndpoint() string {
	path := e.socket()
	if len(path) > maxSocketPath {
		return ""
	}
	return "unix://" + path
}

func (e *Etcd) socket() string { return filepath.Join(e.o.Dir, "client.sock") }

func (e *Etcd) url(port int) *url.URL {
	return &url.URL{Scheme: "https", Host: net.JoinHostPort(e.o.Address, strconv.Itoa(port))}
}

// Run serves until ctx ends. A data directory that another process uses, or
// that is damaged, is refused with nothing changed.
func (e *Etcd) Run(ctx context.Context) error {
	if err := os.MkdirAll(e.o.Dir, 0o700); err != nil {
		return fmt.Errorf("etcd data directory: %w", err)
	}
	unlock, err := lock(filepath.Join(e.o.Dir, "proa.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	fatal := make(fatalHook, 1)
	config, err := e.config(fatal)
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	var member *embed.Etcd
	go func() {
		var err error
		member, err = embed.StartEtcd(config)
		started <- err
	}()
	select {
	case err := <-started:
		if err != nil {
			return e.explain(err)
		}
	case err := <-fatal:
		return e.explain(err)
	}
	defer member.Close()
	select {
	case <-member.Server.ReadyNotify():
		close(e.ready)
	case err := <-member.Err():
		return e.explain(err)
	case err := <-fatal:
		return e.explain(err)
	case <-ctx.Done():
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-member.Err():
		return e.explain(err)
	case err := <-fatal:
		return e.explain(err)
	}
}

func (e *Etcd) config(fatal fatalHook) (*embed.Config, error) {
	c := embed.NewConfig()
	c.Name, c.Dir = e.o.MemberID, e.o.Dir
	client, peer := *e.url(e.o.ClientPort), *e.url(e.o.PeerPort)
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	if e.LocalEndpoint() != "" {
		c.ListenClientUrls = append(c.ListenClientUrls, url.URL{Scheme: "unix", Path: e.socket()})
	}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ClientTLSInfo = transport.TLSInfo{CertFile: e.o.ServerCert, KeyFile: e.o.ServerKey, TrustedCAFile: e.o.CAFile, ClientCertAuth: true}
	c.PeerTLSInfo = transport.TLSInfo{CertFile: e.o.PeerCert, KeyFile: e.o.PeerKey, TrustedCAFile: e.o.CAFile, ClientCertAuth: true}
	log, err := e.logger(fatal)
	if err != nil {
		return nil, err
	}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	// One voter elects itself: no reason to wait a second for rivals.
	c.TickMs, c.ElectionMs = 10, 100
	c.QuotaBackendBytes = 8 << 30
	c.MaxRequestBytes = 1.5 * 1024 * 1024
	c.SnapshotCount = 10000
	return c, nil
}

// explain adds the way out to etcd's own errors.
func (e *Etcd) explain(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("etcd ports %d and %d on %s: %w; stop the other program or choose others with --etcd-port and --etcd-peer-port", e.o.ClientPort, e.o.PeerPort, e.o.Address, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("etcd data in %s: %w; free some space on that disk and start again", e.o.Dir, err)
	}
	return fmt.Errorf("etcd data in %s: %w; if it is damaged, move the directory away and restore a snapshot", e.o.Dir, err)
}

// lock takes the directory for this process; it is released when the process ends.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("etcd data directory: %w", err)
	}
	// A server that was just told to stop may still be flushing.
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return func() { _ = f.Close() }, nil
		}
		if time.Now().After(deadline) {
			_ = f.Close()
			return nil, fmt.Errorf("data directory %s is in use by another proa server; stop it or give another --data-dir", filepath.Dir(filepath.Dir(path)))
		}
	}
}
