package reset

import (
	"bufio"
	"bytes"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"proa/nodeagent/hostid"
)

// The pure part: which of the host's things are the cluster's.

// mountsUnder returns the mount points at or below one of the directories in a
// /proc/<pid>/mountinfo, in the order in which to unmount them.
func mountsUnder(mountinfo []byte, dirs []string) []string {
	var mounts []string
	s := bufio.NewScanner(bytes.NewReader(mountinfo))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescapeMount(fields[4])
		if slices.ContainsFunc(dirs, func(dir string) bool { return point == dir || strings.HasPrefix(point, dir+"/") }) {
			mounts = append(mounts, point)
		}
	}
	slices.Reverse(mounts) // the last mounted is the first to go
	return mounts
}

// unescapeMount undoes the kernel's octal escapes for blanks and backslashes.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// table is an nftables table.
type table struct{ family, name string }

// ownTables returns the cluster's tables in the output of `nft list tables`.
func ownTables(output []byte, names hostid.Names) []table {
	var own []table
	s := bufio.NewScanner(bytes.NewReader(output))
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) == 3 && fields[0] == "table" && names.OwnsTable(fields[2]) {
			own = append(own, table{fields[1], fields[2]})
		}
	}
	return own
}

// link is what matters of a network interface.
type link struct {
	name          string
	index, master int
}

// ownLinks returns the names of the cluster's links, those on its bridge before
// the bridge: the CNI plugins name them at random.
func ownLinks(links []link, names hostid.Names) []string {
	bridge := -1
	for _, l := range links {
		if l.name == names.Bridge {
			bridge = l.index
		}
	}
	var members, named []string
	for _, l := range links {
		switch {
		case names.OwnsLink(l.name):
			named = append(named, l.name)
		case bridge > 0 && l.master == bridge:
			members = append(members, l.name)
		}
	}
	return append(members, named...)
}

// otherBridges reports whether another cluster's pod bridge is on this host.
func otherBridges(links []link, names hostid.Names) bool {
	return slices.ContainsFunc(links, func(l link) bool {
		id, ok := strings.CutPrefix(l.name, "pr")
		if !ok || l.name == names.Bridge {
			return false
		}
		_, err := hostid.Parse(id)
		return err == nil
	})
}

// ownRoute reports whether a route with proa's protocol number is this
// cluster's. The number is the same for all clusters; what tells them apart is
// the pod address range, where it is known (scope), and else that there is no
// other cluster.
func ownRoute(dst netip.Prefix, scope []netip.Prefix, others bool) bool {
	if len(scope) == 0 {
		return !others
	}
	return slices.ContainsFunc(scope, func(s netip.Prefix) bool { return s.Bits() <= dst.Bits() && s.Overlaps(dst) })
}

// podUID returns the pod UID in a cgroup name such as "pod<uid>" or
// "kubepods-burstable-pod<uid>.slice".
func podUID(cgroup string) (string, bool) {
	base := strings.TrimSuffix(path.Base(cgroup), ".slice")
	_, uid, ok := strings.Cut(base, "pod")
	if i := strings.LastIndex(base, "-pod"); i >= 0 {
		uid = base[i+len("-pod"):]
	}
	if !ok || uid == "" || uid == "s" || strings.HasPrefix(uid, "s-") {
		return "", false
	}
	return strings.ReplaceAll(uid, "_", "-"), true
}

// ownPodLogs returns which entries of /var/log/pods (<namespace>_<name>_<uid>)
// belong to the pods.
func ownPodLogs(entries []string, uids map[string]bool) []string {
	var own []string
	for _, e := range entries {
		parts := strings.Split(e, "_")
		if len(parts) == 3 && uids[parts[2]] {
			own = append(own, e)
		}
	}
	return own
}

// isShim reports whether a command line is that of a containerd shim serving
// the given containerd socket.
func isShim(argv []string, socket string) bool {
	if len(argv) == 0 || !strings.HasPrefix(path.Base(argv[0]), "containerd-shim") {
		return false
	}
	for i, arg := range argv {
		if arg == "-address" && i+1 < len(argv) && argv[i+1] == socket {
			return true
		}
	}
	return false
}

// isRuntime reports whether a command line is that of a containerd whose
// configuration lies below the runtime directory.
func isRuntime(argv []string, runtimeDir string) bool {
	if len(argv) == 0 || path.Base(argv[0]) != "containerd" {
		return false
	}
	for i, arg := range argv {
		if arg == "--config" && i+1 < len(argv) && strings.HasPrefix(argv[i+1], runtimeDir+"/") {
			return true
		}
	}
	return false
}
