package check

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"proa/nodeagent/hostid"
)

// good is a host that lacks nothing.
func good() Facts {
	return Facts{
		KernelRelease: "6.1.0", Overlay: true, OverlayOnDisk: true, NFT: "/usr/sbin/nft", BridgeNetfilter: true,
		IPForward: true, SysctlWritable: true, CgroupVersion: 2, Controllers: []string{"cpu", "cpuset", "memory", "pids"},
		DiskFree: 100 * gibibyte, DiskTotal: 200 * gibibyte, FSType: "ext4", RAM: 4 * gibibyte, InotifyInstances: 128,
	}
}

func TestJudge(t *testing.T) {
	node := Options{DataDir: "/d", Node: true, Ports: []Port{{Number: 6443, Use: "API server", Flag: "--secure-port"}}}
	control := Options{DataDir: "/d"}
	cases := map[string]struct {
		o      Options
		change func(*Facts)
		// name/severity of each lack, and a word of each mend
		lacks, mends []string
	}{
		"good":       {node, func(*Facts) {}, nil, nil},
		"no root":    {node, func(f *Facts) { f.UID = 1000 }, []string{"root/error"}, []string{"--no-node"}},
		"old kernel": {node, func(f *Facts) { f.KernelRelease = "4.19.0-1" }, []string{"kernel/error"}, []string{"upgrade"}},
		"odd kernel": {node, func(f *Facts) { f.KernelRelease = "unknown" }, nil, nil},
		"no overlay": {node, func(f *Facts) { f.Overlay, f.OverlayOnDisk = false, false }, []string{"overlayfs/warning"}, []string{"modprobe overlay"}},
		"overlay on overlay": {node, func(f *Facts) { f.OverlayOnDisk, f.FSType = false, "overlay" },
			[]string{"overlayfs/warning"}, []string{"--data-dir"}},
		"no bridge":     {node, func(f *Facts) { f.Links = "a bridge cannot be made" }, []string{"bridge and veth/error"}, []string{"modprobe"}},
		"no nft":        {node, func(f *Facts) { f.NFT = "" }, []string{"nftables/error"}, []string{"apt-get install nftables"}},
		"no nft kernel": {node, func(f *Facts) { f.NFTRules = "refused" }, []string{"nftables/error"}, []string{"modprobe"}},
		"no br_netfilter": {node, func(f *Facts) { f.BridgeNetfilter = false },
			[]string{"bridge netfilter/error"}, []string{"br_netfilter"}},
		"forwarding off": {node, func(f *Facts) { f.IPForward = false }, nil, nil},
		"forwarding off, read-only": {node, func(f *Facts) { f.IPForward, f.SysctlWritable = false, false },
			[]string{"ip forwarding/error"}, []string{"sysctl"}},
		"no cgroups": {node, func(f *Facts) { f.CgroupVersion, f.Controllers = 0, nil }, []string{"cgroups/error"}, []string{"mount"}},
		"no memory controller": {node, func(f *Facts) { f.Controllers = []string{"cpu", "cpuset", "pids"} },
			[]string{"cgroups/error"}, []string{"cgroup_enable=memory"}},
		"read-only cgroups": {node, func(f *Facts) { f.CgroupWrite = "read-only file system" }, []string{"cgroups/error"}, []string{"privileged"}},
		"few inotify":       {node, func(f *Facts) { f.InotifyInstances = 16 }, []string{"inotify/warning"}, []string{"sysctl"}},
		"read-only data":    {control, func(f *Facts) { f.DataDirWrite = "no" }, []string{"data directory/error"}, []string{"--data-dir"}},
		"locked":            {control, func(f *Facts) { f.Lock = "in use" }, []string{"data directory lock/error"}, []string{"stop"}},
		"own lock":          {Options{OwnLock: true}, func(f *Facts) { f.Lock = "in use" }, nil, nil},
		"full disk":         {control, func(f *Facts) { f.DiskFree = 10 * mebibyte }, []string{"disk space/error"}, []string{"free"}},
		"small disk":        {node, func(f *Facts) { f.DiskFree = 2 * gibibyte }, []string{"disk space/warning"}, []string{"larger"}},
		"small disk, no node": {control, func(f *Facts) { f.DiskFree = 2 * gibibyte },
			nil, nil},
		"nfs":           {control, func(f *Facts) { f.FSType = "nfs" }, []string{"file system/warning"}, []string{"local disk"}},
		"tmpfs":         {control, func(f *Facts) { f.FSType = "tmpfs" }, []string{"file system/warning"}, []string{"--data-dir"}},
		"little memory": {control, func(f *Facts) { f.RAM = 256 * mebibyte }, []string{"memory/warning"}, []string{"1 GiB"}},
		"port taken": {node, func(f *Facts) { f.Ports = map[int]string{6443: "in use"} },
			[]string{"port 6443/error"}, []string{"--secure-port"}},
		"no node needs no node's things": {control, func(f *Facts) { *f = Facts{UID: 1, DiskFree: gibibyte, DiskTotal: gibibyte, RAM: gibibyte} }, nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := good()
			c.change(&f)
			results := Judge(c.o, f)
			var lacks []string
			for i, r := range Lacks(results) {
				lacks = append(lacks, r.Name+"/"+string(r.Severity))
				if r.Message == "" || i < len(c.mends) && !strings.Contains(r.Mend, c.mends[i]) {
					t.Errorf("%+v: want a message, and %q in the mend", r, c.mends[i])
				}
			}
			if !slices.Equal(lacks, c.lacks) {
				t.Errorf("lacks %v, want %v", lacks, c.lacks)
			}
			if got, want := Failed(results), strings.Contains(strings.Join(c.lacks, " "), "/error"); got != want {
				t.Errorf("Failed = %v, want %v", got, want)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	results := []Result{{"root", OK, "user 0", ""}, {"nftables", Error, "absent", "install it"}}
	for format, want := range map[string]string{
		"table": "ok     root      user 0\nerror  nftables  absent\n                 mend: install it\n",
		"json":  "[\n  {\n    \"name\": \"root\",\n    \"severity\": \"ok\",\n    \"message\": \"user 0\"\n  },\n  {\n    \"name\": \"nftables\",\n    \"severity\": \"error\",\n    \"message\": \"absent\",\n    \"mend\": \"install it\"\n  }\n]\n",
	} {
		var b strings.Builder
		if err := Print(&b, results, format); err != nil || b.String() != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", format, err, b.String(), want)
		}
	}
	if err := Print(&strings.Builder{}, results, "yaml"); err == nil {
		t.Error("an unknown format is accepted")
	}
}

func TestGather(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	o := Options{DataDir: dir, Node: true, Ports: []Port{{Address: "127.0.0.1", Number: taken, Use: "test"}}}
	f := Gather(t.Context(), o)
	if !strings.Contains(f.Ports[taken], "in use") {
		t.Errorf("port %d: %q", taken, f.Ports[taken])
	}
	if f.DataDirWrite != "" || f.DiskTotal == 0 || f.FSType == "" || f.RAM == 0 || f.KernelRelease == "" || f.Lock != "" {
		t.Errorf("facts: %+v", f)
	}
	if _, err := os.Stat(filepath.Dir(filepath.Dir(dir))); !os.IsNotExist(err) {
		t.Errorf("the check made directories: %v", err)
	}

	locked := t.TempDir()
	release, err := hostid.Lock(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if f := Gather(t.Context(), Options{DataDir: locked}); !strings.Contains(f.Lock, "in use") {
		t.Errorf("lock: %q", f.Lock)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := Gather(t.Context(), Options{DataDir: file + "/d"}); !strings.Contains(f.DataDirWrite, "not a directory") {
		t.Errorf("below a file: %q", f.DataDirWrite)
	}
}

func TestV1Controllers(t *testing.T) {
	mountinfo := `30 27 0:26 / /sys/fs/cgroup rw - tmpfs cgroup rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
broken line
`
	want := []string{"cpu", "cpuacct", "memory"}
	if got := v1Controllers([]byte(mountinfo)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHasFilesystem(t *testing.T) {
	list := []byte("nodev\tsysfs\n\text4\nnodev\toverlay\n")
	if !hasFilesystem(list, "overlay") || !hasFilesystem(list, "ext4") || hasFilesystem(list, "xfs") {
		t.Error("wrong answer")
	}
}
