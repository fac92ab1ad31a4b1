package check

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"proa/nodeagent/hostid"
	"proa/nodeagent/runtime"
)

// Gather asks the host. What cannot be found out is left as if it were absent.
func Gather(ctx context.Context, o Options) Facts {
	f := Facts{UID: os.Geteuid(), KernelRelease: kernelRelease(), Ports: map[int]string{}}
	existing := existingParent(o.DataDir)
	f.DataDirWrite = writeProblem(o.DataDir, existing)
	if err := hostid.Locked(o.DataDir); err != nil {
		f.Lock = err.Error()
	}
	f.DiskFree, f.DiskTotal, f.FSType = disk(existing)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		f.RAM = info.Totalram * uint64(info.Unit)
	}
	for _, p := range o.Ports {
		if reason := portProblem(ctx, p); reason != "" {
			f.Ports[p.Number] = reason
		}
	}
	if !o.Node {
		return f
	}
	f.Overlay = hasOverlay() || f.UID == 0 && modprobe(ctx, "overlay") && hasOverlay()
	f.OverlayOnDisk = f.UID == 0 && f.DataDirWrite == "" && runtime.OverlayWorks(existing)
	f.NFT, _ = exec.LookPath("nft")
	if f.UID == 0 {
		f.Links, f.NFTRules = tryNetwork(ctx, f.NFT)
	}
	f.BridgeNetfilter = hasBridgeNetfilter() || f.UID == 0 && modprobe(ctx, "br_netfilter") && hasBridgeNetfilter()
	const forward = "/proc/sys/net/ipv4/ip_forward"
	f.IPForward = readInt(forward) > 0
	f.SysctlWritable = unix.Access(forward, unix.W_OK) == nil
	f.CgroupVersion, f.Controllers = cgroups()
	if f.UID == 0 && f.CgroupVersion != 0 {
		f.CgroupWrite = tryCgroup(f.CgroupVersion)
	}
	f.InotifyInstances = readInt("/proc/sys/fs/inotify/max_user_instances")
	return f
}

// modprobe loads a kernel module, where there is one to load.
func modprobe(ctx context.Context, module string) bool {
	return exec.CommandContext(ctx, "modprobe", module).Run() == nil
}

func hasOverlay() bool {
	filesystems, err := os.ReadFile("/proc/filesystems")
	return err == nil && hasFilesystem(filesystems, "overlay")
}

func hasBridgeNetfilter() bool {
	_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// existingParent is dir, or its nearest ancestor that exists.
func existingParent(dir string) string {
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
	}
}

func writeProblem(dir, existing string) string {
	if info, err := os.Stat(existing); err != nil {
		return err.Error()
	} else if !info.IsDir() {
		return existing + " is not a directory"
	}
	probe, err := os.CreateTemp(existing, ".proa-check-")
	if err != nil {
		return dir + " cannot be written: " + cause(err)
	}
	defer os.Remove(probe.Name())
	_, err = probe.Write(make([]byte, 4096)) // a full disk shows only here
	if err = errors.Join(err, probe.Close()); err != nil {
		return dir + " cannot be written: " + cause(err)
	}
	return ""
}

// cause is the system's reason without the path, which the message has already.
func cause(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func disk(dir string) (free, total uint64, fsType string) {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return 0, 0, ""
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs",
		unix.NFS_SUPER_MAGIC: "nfs", unix.CIFS_SUPER_MAGIC: "cifs", unix.SMB2_SUPER_MAGIC: "smb2",
		unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "fuse", unix.F2FS_SUPER_MAGIC: "f2fs", 0x2fc12fc1: "zfs",
	}
	fsType, ok := names[int64(fs.Type)]
	if !ok {
		fsType = "type 0x" + strconv.FormatInt(int64(fs.Type), 16)
	}
	return fs.Bavail * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), fsType
}

func portProblem(ctx context.Context, p Port) string {
	address := net.JoinHostPort(p.Address, strconv.Itoa(p.Number))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		l.Close()
		return ""
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return "in use by another program; the " + p.Use + " needs it"
	case errors.Is(err, unix.EACCES):
		return "not permitted: ports below 1024 want root"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return p.Address + " is not an address of this host"
	}
	return err.Error()
}

func hasFilesystem(list []byte, name string) bool {
	s := bufio.NewScanner(bytes.NewReader(list))
	for s.Scan() {
		if fields := strings.Fields(s.Text()); len(fields) > 0 && fields[len(fields)-1] == name {
			return true
		}
	}
	return false
}

// cgroups returns the version mounted at /sys/fs/cgroup and its controllers.
func cgroups() (int, []string) {
	const root = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	if unix.Statfs(root, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		b, _ := os.ReadFile(root + "/cgroup.controllers")
		return 2, strings.Fields(string(b))
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	controllers := v1Controllers(mounts)
	if len(controllers) == 0 {
		return 0, nil
	}
	return 1, controllers
}

// v1Controllers returns the controllers of the cgroup v1 hierarchies in a
// /proc/<pid>/mountinfo, sorted.
func v1Controllers(mountinfo []byte) []string {
	known := map[string]bool{"cpu": true, "cpuacct": true, "cpuset": true, "memory": true, "devices": true,
		"freezer": true, "blkio": true, "pids": true, "hugetlb": true, "net_cls": true, "net_prio": true, "perf_event": true}
	found := map[string]bool{}
	s := bufio.NewScanner(bytes.NewReader(mountinfo))
	for s.Scan() {
		_, after, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(after)
		if !ok || len(fields) < 3 || fields[0] != "cgroup" {
			continue
		}
		for _, option := range strings.Split(fields[2], ",") {
			if known[option] {
				found[option] = true
			}
		}
	}
	var list []string
	for c := range found {
		list = append(list, c)
	}
	sort.Strings(list)
	return list
}

// tryCgroup makes and removes a cgroup. On version 2 it also sees whether the
// root can hand its controllers down: it cannot where processes are in it and it
// is not the real root, as in a container.
func tryCgroup(version int) string {
	root := "/sys/fs/cgroup"
	if version == 1 {
		root += "/memory"
	}
	dir, err := os.MkdirTemp(root, "proa-check-")
	if err != nil {
		return "no cgroup can be made: " + cause(err)
	}
	if err := os.Remove(dir); err != nil {
		return err.Error()
	}
	if version == 1 {
		return ""
	}
	control := root + "/cgroup.subtree_control"
	b, err := os.ReadFile(control)
	if err != nil {
		return err.Error()
	}
	for _, c := range undelegated(strings.Fields(string(b))) {
		if err := os.WriteFile(control, []byte("+"+c), 0o600); err != nil {
			return "the controller " + c + " cannot be handed down: " + cause(err) +
				"; are there processes in the root cgroup of this container?"
		}
		if err := os.WriteFile(control, []byte("-"+c), 0o600); err != nil {
			return err.Error()
		}
	}
	return ""
}

// undelegated returns the needed controllers that are not among those given.
func undelegated(delegated []string) []string {
	var missing []string
	for _, c := range neededControllers {
		if !slices.Contains(delegated, c) {
			missing = append(missing, c)
		}
	}
	return missing
}

func readInt(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return n
}
