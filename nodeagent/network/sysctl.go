package network

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Sysctl is a kernel setting that the pod network needs.
type Sysctl struct {
	Key   string // as sysctl(8) names it, with dots
	Value string
	Why   string
	// Module is the kernel module without which the setting does not exist.
	Module string
}

// Lack is a setting that the host neither has nor lets us make.
type Lack struct {
	Sysctl
	Got  string // the present value, empty if the setting does not exist
	Err  error
	Mend string
}

// String says what lacks, why it matters and what mends it, in one line.
func (l Lack) String() string {
	got := "is " + l.Got
	if l.Got == "" {
		got = "does not exist"
	}
	return fmt.Sprintf("%s %s, but should be %s: %s; mend it with: %s", l.Key, got, l.Value, l.Why, l.Mend)
}

// Sysctls lists the settings needed for IPv4 and, if asked for, IPv6.
func Sysctls(ipv6 bool) []Sysctl {
	out := []Sysctl{
		{Key: "net.ipv4.ip_forward", Value: "1", Why: "pods cannot reach anything outside of their node without it"},
		{Key: "net.bridge.bridge-nf-call-iptables", Value: "1", Module: "br_netfilter",
			Why: "a pod cannot reach a pod of the same node through a service address without it"},
	}
	if ipv6 {
		out = append(out,
			Sysctl{Key: "net.ipv6.conf.all.forwarding", Value: "1", Why: "pods cannot reach anything outside of their node over IPv6 without it"},
			Sysctl{Key: "net.bridge.bridge-nf-call-ip6tables", Value: "1", Module: "br_netfilter",
				Why: "a pod cannot reach a pod of the same node through an IPv6 service address without it"})
	}
	return out
}

// EnsureSysctls makes the settings under root (/proc/sys) and returns those it
// could not. They belong to the network namespace of the process.
func EnsureSysctls(root string, settings []Sysctl) []Lack {
	var lacks []Lack
	for _, s := range settings {
		path := filepath.Join(root, strings.ReplaceAll(s.Key, ".", "/"))
		got, err := readSysctl(path)
		if os.IsNotExist(err) && s.Module != "" {
			// The kernel loads no module on behalf of a mere path.
			if exec.Command("modprobe", s.Module).Run() == nil {
				got, err = readSysctl(path)
			}
		}
		if err == nil && got == s.Value {
			continue
		}
		if err == nil {
			if err = os.WriteFile(path, []byte(s.Value), 0o644); err == nil {
				continue
			}
		}
		mend := fmt.Sprintf("sysctl -w %s=%s", s.Key, s.Value)
		if got == "" && s.Module != "" {
			mend = fmt.Sprintf("modprobe %s && %s", s.Module, mend)
		}
		lacks = append(lacks, Lack{Sysctl: s, Got: got, Err: err, Mend: mend})
	}
	return lacks
}

func readSysctl(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}
