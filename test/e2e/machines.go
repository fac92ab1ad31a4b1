package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Network is a switch that machines are plugged into: a bridge in a namespace
// of its own, 10.99.<n>.0/24.
type Network struct {
	name     string
	subnet   string
	machines atomic.Int32
}

var networks atomic.Int32

// NewNetwork makes a switch for this test and removes it with all its machines at the end.
func NewNetwork(t *testing.T) *Network {
	t.Helper()
	n := networks.Add(1)
	net := &Network{name: fmt.Sprintf("pe%d-%d", os.Getpid()%100000, n), subnet: fmt.Sprintf("10.99.%d", n)}
	must(t, "ip", "netns", "add", net.name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", net.name).Run() })
	net.in(t, "ip", "link", "set", "lo", "up")
	net.in(t, "ip", "link", "add", "br0", "type", "bridge")
	net.in(t, "ip", "addr", "add", net.subnet+".254/24", "dev", "br0")
	net.in(t, "ip", "link", "set", "br0", "up")
	return net
}

func (n *Network) in(t *testing.T, args ...string) {
	t.Helper()
	must(t, "nsenter", append([]string{"--net=/run/netns/" + n.name}, args...)...)
}

// Machine is a host: a network namespace with one address and a directory of its own.
type Machine struct {
	t       *testing.T
	Name    string
	Address string
	Dir     string
	ns      string
	id      string // cluster id, once noted
}

// NewMachine plugs a machine in. Its directory is kept when the test fails and
// PROA_E2E_KEEP is set.
func (n *Network) NewMachine(t *testing.T, name string) *Machine {
	t.Helper()
	i := n.machines.Add(1)
	m := &Machine{t: t, Name: name, Address: fmt.Sprintf("%s.%d", n.subnet, i), ns: fmt.Sprintf("%s-%d", n.name, i)}
	must(t, "ip", "netns", "add", m.ns)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", m.ns).Run() })
	port := fmt.Sprintf("v%d", i)
	n.in(t, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", m.ns)
	n.in(t, "ip", "link", "set", port, "master", "br0", "up")
	m.must("ip", "link", "set", "lo", "up")
	m.must("ip", "addr", "add", m.Address+"/24", "dev", "eth0")
	m.must("ip", "link", "set", "eth0", "up")
	m.must("ip", "route", "add", "default", "via", n.subnet+".254")
	dir, err := os.MkdirTemp("", "proa-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	m.Dir = dir
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("PROA_E2E_KEEP") != "" {
			t.Logf("%s: kept %s", name, dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return m
}

// Command is a command that runs on the machine.
func (m *Machine) Command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + m.ns}, args...)...)
	c.Env = append(os.Environ(), "HOME="+m.Dir, "KUBECONFIG="+filepath.Join(m.Dir, "data", "admin.kubeconfig"))
	return c
}

// Try runs a command and returns its output, standard error included.
func (m *Machine) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := m.Command(ctx, args...).CombinedOutput()
	return string(out), err
}

func (m *Machine) must(args ...string) string {
	m.t.Helper()
	out, err := m.Try(args...)
	if err != nil {
		m.t.Fatalf("%s: %s: %v\n%s", m.Name, strings.Join(args, " "), err, out)
	}
	return out
}

func must(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}
