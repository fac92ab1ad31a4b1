package reset

import (
	"net/netip"
	"slices"
	"testing"

	"proa/nodeagent/hostid"
)

var own = hostid.ID("0a1b2c3d").Names()

func TestMountsUnder(t *testing.T) {
	mountinfo := `1 0 8:1 / / rw - ext4 /dev/vda rw
2 1 0:5 / /data/proa/pods/1/volumes/token rw - tmpfs tmpfs rw
3 1 0:6 / /run/proa-0a1b2c3d/containerd/rootfs rw shared:1 - overlay overlay rw
4 3 0:7 / /run/proa-0a1b2c3d/containerd/rootfs/deep rw - tmpfs tmpfs rw
5 1 0:8 / /data/proa2 rw - tmpfs tmpfs rw
6 1 0:9 / /run/proa-0a1b2c3d4 rw - tmpfs tmpfs rw
7 1 0:9 / /data/proa/pods/with\040blank rw - tmpfs tmpfs rw
8 1 0:9 / /data/proa rw - ext4 /dev/vdb rw
short
`
	want := []string{
		"/data/proa", "/data/proa/pods/with blank", "/run/proa-0a1b2c3d/containerd/rootfs/deep",
		"/run/proa-0a1b2c3d/containerd/rootfs", "/data/proa/pods/1/volumes/token",
	}
	if got := mountsUnder([]byte(mountinfo), []string{"/data/proa", own.RunDir}); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestOwnTables(t *testing.T) {
	output := `table inet filter
table ip proa-0a1b2c3d
table ip6 proa-0a1b2c3d
table inet proa-0a1b2c3d-proxy
table inet proa-ffffffff
table ip proa-0a1b2c3d4

`
	want := []table{{"ip", "proa-0a1b2c3d"}, {"ip6", "proa-0a1b2c3d"}, {"inet", "proa-0a1b2c3d-proxy"}}
	if got := ownTables([]byte(output), own); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOwnLinks(t *testing.T) {
	links := []link{
		{"lo", 1, 0}, {"eth0", 2, 0}, {"pr0a1b2c3d", 3, 0}, {"prffffffff", 4, 0},
		{"veth11", 5, 3}, {"veth22", 6, 4}, {"pr0a1b2c3dvx", 7, 3}, {"docker0", 8, 0}, {"veth33", 9, 8},
	}
	want := []string{"veth11", "pr0a1b2c3d", "pr0a1b2c3dvx"}
	if got := ownLinks(links, own); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := ownLinks([]link{{"eth0", 2, 0}, {"veth", 3, 0}}, own); len(got) != 0 {
		t.Errorf("without our bridge: %v", got)
	}
	if !otherBridges(links, own) {
		t.Error("the other cluster's bridge is not seen")
	}
	if otherBridges([]link{{"pr0a1b2c3d", 1, 0}, {"prison", 2, 0}, {"private0", 3, 0}}, own) {
		t.Error("a link that only looks like a bridge of ours counts as another cluster")
	}
}

func TestOwnRoute(t *testing.T) {
	scope := []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
	inside, outside := netip.MustParsePrefix("10.244.3.0/24"), netip.MustParsePrefix("10.42.3.0/24")
	for _, c := range []struct {
		dst    netip.Prefix
		scope  []netip.Prefix
		others bool
		want   bool
	}{
		{inside, scope, true, true},
		{outside, scope, false, false},
		{netip.MustParsePrefix("10.0.0.0/8"), scope, false, false},
		{inside, nil, false, true},
		{inside, nil, true, false},
	} {
		if got := ownRoute(c.dst, c.scope, c.others); got != c.want {
			t.Errorf("ownRoute(%v, %v, %v) = %v", c.dst, c.scope, c.others, got)
		}
	}
}

func TestPodUID(t *testing.T) {
	const uid = "7e1f0a52-0d3c-4c5e-9b57-5b1d0c3a6a11"
	for cgroup, want := range map[string]string{
		"/sys/fs/cgroup/memory/proa-0a1b2c3d/kubepods/burstable/pod" + uid:                     uid,
		"kubepods-besteffort-pod7e1f0a52_0d3c_4c5e_9b57_5b1d0c3a6a11.slice":                    uid,
		"/sys/fs/cgroup/proa-0a1b2c3d/kubepods":                                                "",
		"/sys/fs/cgroup/proa-0a1b2c3d/pods":                                                    "",
		"/sys/fs/cgroup/proa-0a1b2c3d/runtime":                                                 "",
		"/sys/fs/cgroup/proa-0a1b2c3d":                                                         "",
		"/sys/fs/cgroup/proa-0a1b2c3d/kubepods/besteffort/pod" + uid + "/0123456789abcdef0123": "",
	} {
		if got, ok := podUID(cgroup); got != want || ok != (want != "") {
			t.Errorf("podUID(%q) = %q, %v, want %q", cgroup, got, ok, want)
		}
	}
}

func TestOwnPodLogs(t *testing.T) {
	entries := []string{"default_web_uid-1", "default_web_uid-2", "kube-system_dns_uid-3", "stray", "a_b_c_uid-1"}
	want := []string{"default_web_uid-1", "kube-system_dns_uid-3"}
	if got := ownPodLogs(entries, map[string]bool{"uid-1": true, "uid-3": true}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestProcesses(t *testing.T) {
	const socket, runtimeDir = "/run/proa-0a1b2c3d/containerd.sock", "/data/proa/runtime"
	for _, c := range []struct {
		argv          []string
		shim, runtime bool
	}{
		{[]string{"/x/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "1", "-address", socket}, true, false},
		{[]string{"/x/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"}, false, false},
		{[]string{"/x/containerd-shim-runc-v2", "-address"}, false, false},
		{[]string{"vi", "-address", socket}, false, false},
		{[]string{"/data/proa/runtime/b/bin/containerd", "--config", runtimeDir + "/config-1.toml"}, false, true},
		{[]string{"/usr/bin/containerd", "--config", "/etc/containerd/config.toml"}, false, false},
		{[]string{"/usr/bin/containerd", "--config", "/data/proa/runtime2/config.toml"}, false, false},
		{nil, false, false},
	} {
		if got := isShim(c.argv, socket); got != c.shim {
			t.Errorf("isShim(%q) = %v", c.argv, got)
		}
		if got := isRuntime(c.argv, runtimeDir); got != c.runtime {
			t.Errorf("isRuntime(%q) = %v", c.argv, got)
		}
	}
}

func TestOwnCacheEntry(t *testing.T) {
	boxes := map[string]bool{"abc123": true}
	for _, c := range []struct {
		name, content string
		want          bool
	}{
		{"proa-abc123-eth0", "{}", true},
		{"proa-def456-eth0", `{"result":{"interfaces":[{"name":"pr0a1b2c3d"}]}}`, true},
		{"proa-0a1b2c3d-def456-eth0", "{}", true},
		{"proa-def456-eth0", `{"result":{"interfaces":[{"name":"prffffffff"}]}}`, false},
		{"docker-xyz-eth0", "", false},
	} {
		if got := ownCacheEntry(c.name, []byte(c.content), boxes, own); got != c.want {
			t.Errorf("%s %s: got %v", c.name, c.content, got)
		}
	}
}
