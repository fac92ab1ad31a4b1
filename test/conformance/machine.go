package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// network is a switch that machines are plugged into: a bridge in a namespace
// of its own, so that its subnet meets no other.
type network struct {
	name  string
	names []string // of the namespaces made, its own first
}

const subnet = "10.98.0"

func newNetwork() (*network, error) {
	n := &network{name: fmt.Sprintf("pc%d", os.Getpid())}
	if err := command("ip", "netns", "add", n.name); err != nil {
		return nil, err
	}
	n.names = append(n.names, n.name)
	return n, n.in(
		"ip link set lo up",
		"ip link add br0 type bridge",
		"ip addr add "+subnet+".254/24 dev br0",
		"ip link set br0 up")
}

func (n *network) in(lines ...string) error { return inside(n.name, lines...) }

// remove deletes the namespaces and with them all links.
func (n *network) remove() error {
	var errs []error
	for _, name := range n.names {
		errs = append(errs, command("ip", "netns", "del", name))
	}
	return errors.Join(errs...)
}

// machine is a host: a network namespace with one address, a host name, and a
// directory of its own.
type machine struct {
	name, address, ns, dir string
}

func (n *network) newMachine(name string) (*machine, error) {
	i := len(n.names)
	m := &machine{name: name, address: fmt.Sprintf("%s.%d", subnet, i), ns: fmt.Sprintf("%s-%d", n.name, i)}
	if err := command("ip", "netns", "add", m.ns); err != nil {
		return nil, err
	}
	n.names = append(n.names, m.ns)
	port := fmt.Sprintf("v%d", i)
	if err := n.in(
		"ip link add "+port+" type veth peer name eth0 netns "+m.ns,
		"ip link set "+port+" master br0 up"); err != nil {
		return nil, err
	}
	if err := inside(m.ns,
		"ip link set lo up",
		"ip addr add "+m.address+"/24 dev eth0",
		"ip link set eth0 up",
		"ip route add default via "+subnet+".254"); err != nil {
		return nil, err
	}
	var err error
	m.dir, err = os.MkdirTemp("", "proa-conformance-")
	return m, err
}

func (m *machine) data() string { return filepath.Join(m.dir, "data") }

// command is a command that runs on the machine. nsenter, not `ip netns exec`,
// which would hide the cgroups; unshare for the host name.
func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	line := append([]string{"--net=/run/netns/" + m.ns, "unshare", "--uts", "sh", "-c", `hostname "$0" && exec "$@"`, m.name}, args...)
	c := exec.CommandContext(ctx, "nsenter", line...)
	c.Env = append(os.Environ(), "HOME="+m.dir)
	return c
}

// inside runs command lines, words separated by blanks, in a network namespace.
func inside(ns string, lines ...string) error {
	for _, line := range lines {
		if err := command("nsenter", append([]string{"--net=/run/netns/" + ns}, strings.Fields(line)...)...); err != nil {
			return err
		}
	}
	return nil
}

func command(program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
