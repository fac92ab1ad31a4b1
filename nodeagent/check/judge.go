package check

import (
	"fmt"
	"strings"
)

// neededControllers limit what pods use.
var neededControllers = [...]string{"cpu", "cpuset", "memory", "pids"}

const (
	mebibyte = 1 << 20
	gibibyte = 1 << 30
	// Unpacked runtime, images of our own and etcd's preallocated log.
	leastDisk  = 512 * mebibyte
	usefulDisk = 5 * gibibyte
	leastRAM   = 768 * mebibyte
)

// Facts are what Judge judges. A text that is empty means that the try worked
// or that the thing is absent, as the field says.
type Facts struct {
	UID           int
	KernelRelease string
	// Overlay is whether overlayfs is in /proc/filesystems; OverlayOnDisk
	// whether it can be mounted on the data directory's file system.
	Overlay, OverlayOnDisk bool
	// Links is why a bridge and a veth pair cannot be made; empty if they can.
	Links string
	// NFT is nft's path, empty if absent; NFTRules why it cannot load the kind
	// of rules proa writes, empty if it can.
	NFT, NFTRules string
	// BridgeNetfilter is whether traffic between pods of one node passes
	// netfilter, which service addresses need.
	BridgeNetfilter bool
	// IPForward is the kernel's setting, SysctlWritable whether it can be set.
	IPForward, SysctlWritable bool
	// CgroupVersion is 1, 2 or 0 (none); Controllers are those in effect;
	// CgroupWrite why no cgroup can be made, empty if one can.
	CgroupVersion int
	Controllers   []string
	CgroupWrite   string
	// DataDirWrite is why the data directory cannot be written.
	DataDirWrite string
	// Lock is who uses the data directory.
	Lock string
	// DiskFree and DiskTotal are in bytes; FSType is the kernel's name.
	DiskFree, DiskTotal uint64
	FSType              string
	// RAM is in bytes.
	RAM uint64
	// InotifyInstances is the limit per user.
	InotifyInstances int
	// Ports that are taken, by number, with the reason.
	Ports map[int]string
}

// Judge draws conclusions from facts alone.
func Judge(o Options, f Facts) []Result {
	var results []Result
	add := func(name string, severity Severity, mend, format string, args ...any) {
		r := Result{Name: name, Severity: severity, Message: fmt.Sprintf(format, args...)}
		if severity != OK {
			r.Mend = mend
		}
		results = append(results, r)
	}
	// must adds an error with the reason, or OK with what was found.
	must := func(name, reason, found, mend string) {
		if reason != "" {
			add(name, Error, mend, "%s", reason)
		} else {
			add(name, OK, "", "%s", found)
		}
	}

	if o.Node {
		judgeNode(f, add, must)
	}
	must("data directory", f.DataDirWrite, o.DataDir, "choose a writable directory with --data-dir")
	if o.OwnLock {
		f.Lock = ""
	}
	must("data directory lock", f.Lock, "not in use", "stop the other proa, or choose another directory with --data-dir")
	judgeDisk(o, f, add)
	if f.RAM < leastRAM {
		add("memory", Warning, "use a machine with 1 GiB or more", "%s", size(f.RAM))
	} else {
		add("memory", OK, "", "%s", size(f.RAM))
	}
	for _, p := range o.Ports {
		mend := fmt.Sprintf("see who listens with `ss -ltnp sport = :%d` and stop it", p.Number)
		if p.Flag != "" {
			mend += ", or choose another port with " + p.Flag
		}
		must(fmt.Sprintf("port %d", p.Number), f.Ports[p.Number], "free for the "+p.Use, mend)
	}
	return results
}

func judgeNode(f Facts, add func(string, Severity, string, string, ...any), must func(name, reason, found, mend string)) {
	if f.UID != 0 {
		add("root", Error, "run as root (sudo), or without a node (--no-node)", "user %d cannot run containers", f.UID)
	} else {
		add("root", OK, "", "user 0")
	}
	const oldest = "5.4"
	if older(f.KernelRelease, 5, 4) {
		add("kernel", Error, "upgrade the kernel", "%s is older than %s", f.KernelRelease, oldest)
	} else {
		add("kernel", OK, "", "%s", f.KernelRelease)
	}
	switch {
	case f.OverlayOnDisk:
		add("overlayfs", OK, "", "mounts on the data directory's file system")
	case f.Overlay:
		add("overlayfs", Warning, "put the data directory on ext4, xfs or btrfs with --data-dir",
			"does not mount on the data directory's file system (%s): images will be copied, which is slower and takes more space", f.FSType)
	default:
		add("overlayfs", Warning, "load it: modprobe overlay", "the kernel has no overlayfs: images will be copied, which is slower and takes more space")
	}
	must("bridge and veth", f.Links, "can be made", "load the modules: modprobe -a bridge veth")
	if f.NFT == "" {
		add("nftables", Error, "install it: apt-get install nftables", "the program nft is not on PATH")
	} else {
		must("nftables", f.NFTRules, f.NFT, "load the modules: modprobe -a nf_tables nft_nat nft_masq nft_ct nft_fib_inet nf_conntrack")
	}
	if !f.BridgeNetfilter {
		add("bridge netfilter", Error, "load it: modprobe br_netfilter; to keep it: echo br_netfilter > /etc/modules-load.d/proa.conf",
			"/proc/sys/net/bridge/bridge-nf-call-iptables is missing: services would not answer pods on the same node")
	} else {
		add("bridge netfilter", OK, "", "present")
	}
	switch {
	case f.IPForward:
		add("ip forwarding", OK, "", "on")
	case f.SysctlWritable:
		add("ip forwarding", OK, "", "off; proa turns it on")
	default:
		add("ip forwarding", Error, "on the host: sysctl -w net.ipv4.ip_forward=1", "off, and /proc/sys is read-only")
	}
	judgeCgroups(f, add)
	if f.InotifyInstances > 0 && f.InotifyInstances < 128 {
		add("inotify", Warning, "sysctl -w fs.inotify.max_user_instances=512", "%d instances per user are too few for many pods", f.InotifyInstances)
	} else {
		add("inotify", OK, "", "%d instances per user", f.InotifyInstances)
	}
}

func judgeCgroups(f Facts, add func(string, Severity, string, string, ...any)) {
	if f.CgroupVersion == 0 {
		add("cgroups", Error, "mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup", "none are mounted at /sys/fs/cgroup")
		return
	}
	lack := undelegated(f.Controllers)
	switch {
	case len(lack) > 0:
		mend := "on the kernel's command line: cgroup_enable=" + strings.Join(lack, " cgroup_enable=")
		if f.CgroupVersion == 2 {
			mend = "if this is a container, run it with all controllers (a privileged one); else " + mend
		} else {
			mend = "mount them below /sys/fs/cgroup; if the kernel has them disabled, " + mend
		}
		add("cgroups", Error, mend, "version %d without %s", f.CgroupVersion, strings.Join(lack, ", "))
	case f.CgroupWrite != "":
		add("cgroups", Error, "run proa where /sys/fs/cgroup is writable; in a container, that is a privileged one", "version %d: %s", f.CgroupVersion, f.CgroupWrite)
	default:
		add("cgroups", OK, "", "version %d: %s", f.CgroupVersion, strings.Join(f.Controllers, ", "))
	}
}

func judgeDisk(o Options, f Facts, add func(string, Severity, string, string, ...any)) {
	mend := "free some space, or choose a larger disk with --data-dir"
	switch {
	case f.DiskTotal == 0:
		add("disk space", Warning, "see that the data directory's disk is mounted", "unknown")
	case f.DiskFree < leastDisk:
		add("disk space", Error, mend, "%s free on the disk of %s; proa needs %s", size(f.DiskFree), o.DataDir, size(leastDisk))
	case o.Node && f.DiskFree < usefulDisk:
		add("disk space", Warning, mend, "%s free on the disk of %s leave little for images", size(f.DiskFree), o.DataDir)
	default:
		add("disk space", OK, "", "%s free (%s)", size(f.DiskFree), f.FSType)
	}
	switch f.FSType {
	case "nfs", "cifs", "smb2", "9p", "fuse":
		add("file system", Warning, "choose a directory on a local disk with --data-dir", "%s: etcd wants a local disk whose flush is durable", f.FSType)
	case "tmpfs", "ramfs":
		add("file system", Warning, "choose a directory on a disk with --data-dir", "%s: the cluster will be gone after a reboot", f.FSType)
	}
}

// older reports whether a kernel release is before major.minor. An unreadable
// one is not: it is no reason to refuse.
func older(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || a == major && b < minor
}

// size writes bytes for people.
func size(n uint64) string {
	if n >= gibibyte {
		return fmt.Sprintf("%.1f GiB", float64(n)/gibibyte)
	}
	return fmt.Sprintf("%d MiB", n/mebibyte)
}
