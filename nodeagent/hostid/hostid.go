// Package hostid derives every name that a cluster leaves on its host (links,
// nftables tables, cgroups, run directory, routes) from one cluster id kept in
// the data directory. Two clusters on one machine therefore never touch each
// other's things, and reset can find all of its own by name alone.
package hostid

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// FileName is the file in the data directory that holds the cluster id.
const FileName = "cluster-id"

// RouteProtocol is the rtnetlink protocol number of every route that proa adds
// (`ip route show proto 112`). The kernel assigns no meaning to it.
const RouteProtocol = 112

// ID identifies one data directory's cluster on this host: 8 lower-case
// hexadecimal digits.
type ID string

// Names are the host-wide names derived from an ID. Anything a component
// creates outside its data directory bears one of them, or is found through
// one of them (a veth by its bridge, a pod's cgroup by its parent).
type Names struct {
	// Bridge is the pod bridge's link name, 10 bytes of the 15 Linux allows.
	Bridge string
	// Table is the name of the nftables table. A component that needs several
	// appends "-suffix"; reset removes Table and all of Table + "-".
	Table string
	// CgroupParent is the absolute cgroup path, below every hierarchy's root,
	// under which all pods of this cluster live.
	CgroupParent string
	// RunDir is a short directory on a tmpfs for sockets and runtime state.
	RunDir string
	// CNINetwork is the name of the pod network in the CNI configuration. The
	// CNI library caches results under /var/lib/cni by this name.
	CNINetwork string
	// LinkPrefix starts the name of every further link (vxlan, veth) that a
	// component names itself; at most 5 bytes may follow.
	LinkPrefix string
}

// Names returns the names derived from id.
func (id ID) Names() Names {
	s := string(id)
	return Names{
		Bridge:       "pr" + s,
		Table:        "proa-" + s,
		CgroupParent: "/proa-" + s,
		RunDir:       "/run/proa-" + s,
		CNINetwork:   "proa-" + s,
		LinkPrefix:   "pr" + s,
	}
}

// OwnsTable reports whether an nftables table of this name is the cluster's.
func (n Names) OwnsTable(table string) bool {
	return table == n.Table || strings.HasPrefix(table, n.Table+"-")
}

// OwnsLink reports whether a link of this name is the cluster's. Links that
// the CNI plugins name at random are found by their master, Bridge.
func (n Names) OwnsLink(link string) bool {
	return strings.HasPrefix(link, n.LinkPrefix)
}

// Parse checks that s is a cluster id.
func Parse(s string) (ID, error) {
	if len(s) != 8 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q is not a cluster id: want 8 lower-case hexadecimal digits", s)
	}
	return ID(s), nil
}

// Read returns the id stored in dataDir. The error is os.ErrNotExist (by
// errors.Is) where dataDir has none yet.
func Read(dataDir string) (ID, error) {
	path := filepath.Join(dataDir, FileName)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	id, err := Parse(strings.TrimSpace(string(b)))
	if err != nil {
		return "", fmt.Errorf("%s: %w; restore this file", path, err)
	}
	return id, nil
}

// Load returns the id stored in dataDir, making the directory and a random id
// where there is none. Of several processes that load at once, all get the same
// id: the file appears whole, and only once.
func Load(dataDir string) (ID, error) {
	id, err := Read(dataDir)
	if !errors.Is(err, os.ErrNotExist) {
		return id, err
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return "", err
	}
	var raw [4]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(dataDir, FileName+".*")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(hex.EncodeToString(raw[:]) + "\n")
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return "", err
	}
	// Link, unlike rename, does not replace an id that another process stored
	// in the meantime.
	err = os.Link(tmp.Name(), filepath.Join(dataDir, FileName))
	if err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return Read(dataDir)
}
