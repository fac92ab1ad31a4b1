package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// upstream is etcd and kube-apiserver as upstream builds them, on the PKI of a
// proa data directory, for the same measurement in the same run.
type upstream struct {
	cluster *cluster
	etcd    *exec.Cmd
	api     *exec.Cmd
	// ready is from the start of etcd to /readyz.
	ready time.Duration
}

// hasUpstream says whether `make upstream` has built what a comparison needs.
func (b *bench) hasUpstream() bool {
	for _, name := range []string{"tools/kube-apiserver", "tools/etcd"} {
		if _, err := os.Stat(b.path(name)); err != nil {
			return false
		}
	}
	return true
}

// startUpstream starts both in the namespace of a proa that made the PKI and has stopped.
func (b *bench) startUpstream(ctx context.Context) (*upstream, error) {
	c, err := b.start(ctx, "--no-node")
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil, err
	}
	_ = c.cmd.Wait()
	u, pki := &upstream{cluster: c}, filepath.Join(c.dir, "pki")
	file := func(name string) string { return filepath.Join(pki, name) }
	begin := time.Now()
	u.etcd = c.command(b.path("tools/etcd"), "--data-dir", filepath.Join(c.dir, "upstream-etcd"), "--log-level", "error",
		"--cert-file", file("etcd/server.crt"), "--key-file", file("etcd/server.key"), "--trusted-ca-file", file("etcd/ca.crt"), "--client-cert-auth",
		"--listen-client-urls", "https://127.0.0.1:2379", "--advertise-client-urls", "https://127.0.0.1:2379")
	u.api = c.command(b.path("tools/kube-apiserver"), "--etcd-servers", "https://127.0.0.1:2379",
		"--etcd-cafile", file("etcd/ca.crt"), "--etcd-certfile", file("apiserver-etcd-client.crt"), "--etcd-keyfile", file("apiserver-etcd-client.key"),
		"--tls-cert-file", file("apiserver.crt"), "--tls-private-key-file", file("apiserver.key"), "--client-ca-file", file("ca.crt"),
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-signing-key-file", file("sa.key"), "--service-account-key-file", file("sa.pub"),
		"--authorization-mode", "Node,RBAC", "--advertise-address", address, "--service-cluster-ip-range", "10.96.0.0/16", "--v", "0")
	for _, p := range []*exec.Cmd{u.etcd, u.api} {
		if err := p.Start(); err != nil {
			return nil, err
		}
		b.cleanups = append(b.cleanups, func() { _ = p.Process.Kill(); _ = p.Wait() })
	}
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	err = until(ctx, time.Minute, func() (bool, error) {
		resp, err := client.Get(config.Host + "/readyz")
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, nil
	})
	u.ready = time.Since(begin)
	return u, err
}

func (c *cluster) command(program string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + c.ns, program}, args...)...)
}

// ratio says how a figure of ours compares with upstream's in the same run.
func ratio(ours, theirs float64, unit string) string {
	return fmt.Sprintf("%.2f × upstream's %.4g %s", ours/theirs, theirs, unit)
}
