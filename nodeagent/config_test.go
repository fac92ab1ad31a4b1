package nodeagent

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/cri"
)

func ptr[T any](v T) *T { return &v }

func podWith(spec v1.PodSpec) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-0", UID: "u"}, Spec: spec}
}

func TestPodDNS(t *testing.T) {
	node := parseResolvConf("# comment\nnameserver 192.0.2.53\nsearch example.org. lab.example.org\noptions timeout:2\n")
	cluster := []net.IP{net.ParseIP("10.96.0.10")}
	for _, tc := range []struct {
		name    string
		spec    v1.PodSpec
		cluster []net.IP
		want    resolvConf
		missing bool
	}{
		{name: "cluster first", spec: v1.PodSpec{DNSPolicy: v1.DNSClusterFirst}, cluster: cluster, want: resolvConf{
			servers: []string{"10.96.0.10"}, searches: []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org", "lab.example.org"}, options: []string{"ndots:5"},
		}},
		{name: "cluster first on the host network is the node's", spec: v1.PodSpec{DNSPolicy: v1.DNSClusterFirst, HostNetwork: true}, cluster: cluster, want: node},
		{name: "cluster first with host net", spec: v1.PodSpec{DNSPolicy: v1.DNSClusterFirstWithHostNet, HostNetwork: true}, cluster: cluster, want: resolvConf{
			servers: []string{"10.96.0.10"}, searches: []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org", "lab.example.org"}, options: []string{"ndots:5"},
		}},
		{name: "default", spec: v1.PodSpec{DNSPolicy: v1.DNSDefault}, cluster: cluster, want: node},
		{name: "no cluster DNS", spec: v1.PodSpec{DNSPolicy: v1.DNSClusterFirst}, want: node, missing: true},
		{name: "none", cluster: cluster, spec: v1.PodSpec{DNSPolicy: v1.DNSNone, DNSConfig: &v1.PodDNSConfig{
			Nameservers: []string{"1.2.3.4"}, Searches: []string{"a.b"}, Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: ptr("2")}, {Name: "edns0"}},
		}}, want: resolvConf{servers: []string{"1.2.3.4"}, searches: []string{"a.b"}, options: []string{"ndots:2", "edns0"}}},
		{name: "config merges", cluster: cluster, spec: v1.PodSpec{DNSPolicy: v1.DNSClusterFirst, DNSConfig: &v1.PodDNSConfig{
			Nameservers: []string{"10.96.0.10", "1.1.1.1"}, Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: ptr("1")}},
		}}, want: resolvConf{
			servers: []string{"10.96.0.10", "1.1.1.1"}, searches: []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org", "lab.example.org"}, options: []string{"ndots:1"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, missing := podDNS(podWith(tc.spec), node, tc.cluster, "cluster.local")
			if missing != tc.missing {
				t.Errorf("missing = %v, want %v", missing, tc.missing)
			}
			if d := cmp.Diff(tc.want, resolvConf{got.Servers, got.Searches, got.Options}, cmp.AllowUnexported(resolvConf{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHostname(t *testing.T) {
	long := strings.Repeat("a", 62) + "-" + strings.Repeat("b", 9)
	for _, tc := range []struct {
		name string
		pod  *v1.Pod
		host string
		err  bool
	}{
		{name: "name", pod: podWith(v1.PodSpec{}), host: "web-0"},
		{name: "hostname and subdomain", pod: podWith(v1.PodSpec{Hostname: "h", Subdomain: "s"}), host: "h"},
		{name: "as FQDN", pod: podWith(v1.PodSpec{Hostname: "h", Subdomain: "s", SetHostnameAsFQDN: ptr(true)}), host: "h.s.ns.svc.cluster.local"},
		{name: "cut", pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: long}}, host: long[:62]},
		{name: "FQDN too long", pod: podWith(v1.PodSpec{Hostname: strings.Repeat("h", 60), Subdomain: "s", SetHostnameAsFQDN: ptr(true)}), err: true},
		{name: "bad hostname", pod: podWith(v1.PodSpec{Hostname: "a_b"}), err: true},
		{name: "override", pod: podWith(v1.PodSpec{HostnameOverride: ptr("x.example.org")}), host: "x.example.org"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := sandboxHostname(tc.pod, "cluster.local")
			if got != tc.host || (err != nil) != tc.err {
				t.Errorf("got %q, %v; want %q, error %v", got, err, tc.host, tc.err)
			}
		})
	}
}

func TestHostsFile(t *testing.T) {
	pod := podWith(v1.PodSpec{HostAliases: []v1.HostAlias{{IP: "1.2.3.4", Hostnames: []string{"a", "b"}}}})
	got := string(hostsFile(pod, []string{"10.0.0.2"}, "web-0", "s.ns.svc.cluster.local", nil))
	want := `# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
10.0.0.2	web-0.s.ns.svc.cluster.local	web-0

# Entries added by HostAliases.
1.2.3.4	a	b
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	pod.Spec.HostNetwork, pod.Spec.HostAliases = true, nil
	if got := string(hostsFile(pod, nil, "web-0", "", []byte("127.0.0.1 x\n"))); got != "# Kubernetes-managed hosts file (host network).\n127.0.0.1 x\n" {
		t.Errorf("host network: %q", got)
	}
}

func TestVerifyNonRoot(t *testing.T) {
	for _, tc := range []struct {
		name string
		pod  *v1.PodSecurityContext
		own  *v1.SecurityContext
		user imageUser
		want string
	}{
		{name: "not asked", user: imageUser{uid: ptr(int64(0))}},
		{name: "image is root", pod: &v1.PodSecurityContext{RunAsNonRoot: ptr(true)}, user: imageUser{uid: ptr(int64(0))}, want: "image will run as root"},
		{name: "image says nothing", pod: &v1.PodSecurityContext{RunAsNonRoot: ptr(true)}, want: "image will run as root"},
		{name: "image has a name", pod: &v1.PodSecurityContext{RunAsNonRoot: ptr(true)}, user: imageUser{name: "nobody"}, want: "non-numeric user (nobody)"},
		{name: "image has a uid", pod: &v1.PodSecurityContext{RunAsNonRoot: ptr(true)}, user: imageUser{uid: ptr(int64(5))}},
		{name: "the pod's user", pod: &v1.PodSecurityContext{RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(7))}},
		{name: "the container's user is root", pod: &v1.PodSecurityContext{RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(7))}, own: &v1.SecurityContext{RunAsUser: ptr(int64(0))}, want: "breaks non-root policy"},
		{name: "the container allows it", pod: &v1.PodSecurityContext{RunAsNonRoot: ptr(true)}, own: &v1.SecurityContext{RunAsNonRoot: ptr(false)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := verifyNonRoot(podWith(v1.PodSpec{SecurityContext: tc.pod}), &v1.Container{Name: "c", SecurityContext: tc.own}, tc.user)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSecurityContext(t *testing.T) {
	pod := podWith(v1.PodSpec{SecurityContext: &v1.PodSecurityContext{
		RunAsUser: ptr(int64(1000)), RunAsGroup: ptr(int64(1001)), FSGroup: ptr(int64(2000)), SupplementalGroups: []int64{3000},
		SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault},
	}, ShareProcessNamespace: ptr(true)})
	c := &v1.Container{Name: "c", SecurityContext: &v1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true), RunAsUser: ptr(int64(42)),
		Capabilities:   &v1.Capabilities{Add: []v1.Capability{"NET_ADMIN"}, Drop: []v1.Capability{"ALL"}},
		SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeLocalhost, LocalhostProfile: ptr("a.json")},
	}}
	got, err := securityContext(pod, c, imageUser{uid: ptr(int64(9))}, "", "/seccomp")
	if err != nil {
		t.Fatal(err)
	}
	if got.RunAsUser.Value != 42 || got.RunAsGroup.Value != 1001 || !got.NoNewPrivs || !got.ReadonlyRootfs || got.Privileged ||
		got.Seccomp.LocalhostRef != "/seccomp/a.json" || got.NamespaceOptions.Pid != runtimeapi.NamespaceMode_POD || len(got.MaskedPaths) == 0 ||
		!cmp.Equal(got.SupplementalGroups, []int64{2000, 3000}) || !cmp.Equal(got.Capabilities.DropCapabilities, []string{"ALL"}) {
		t.Errorf("got %v", got)
	}
	c.SecurityContext = &v1.SecurityContext{Privileged: ptr(true)}
	if got, err = securityContext(pod, c, imageUser{}, "", ""); err != nil || !got.Privileged || len(got.MaskedPaths) != 0 ||
		got.Seccomp.ProfileType != runtimeapi.SecurityProfile_RuntimeDefault {
		t.Errorf("privileged: %v %v", got, err)
	}
	// An ephemeral container joins its target's processes.
	if ns := namespaces(podWith(v1.PodSpec{}), "abc"); ns.Pid != runtimeapi.NamespaceMode_TARGET || ns.TargetId != "abc" {
		t.Errorf("target: %v", ns)
	}
}

func TestContainerResources(t *testing.T) {
	list := func(cpu, memory string) v1.ResourceList {
		l := v1.ResourceList{}
		if cpu != "" {
			l[v1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			l[v1.ResourceMemory] = resource.MustParse(memory)
		}
		return l
	}
	for _, tc := range []struct {
		name string
		r    v1.ResourceRequirements
		want *runtimeapi.LinuxContainerResources
	}{
		{name: "best effort", want: &runtimeapi.LinuxContainerResources{CpuShares: 2, OomScoreAdj: 1000}},
		{name: "burstable", r: v1.ResourceRequirements{Requests: list("100m", "1Gi"), Limits: list("200m", "2Gi")},
			want: &runtimeapi.LinuxContainerResources{CpuShares: 102, CpuPeriod: 100000, CpuQuota: 20000, MemoryLimitInBytes: 2 << 30, OomScoreAdj: 900}},
		{name: "guaranteed", r: v1.ResourceRequirements{Requests: list("1", "1Gi"), Limits: list("1", "1Gi")},
			want: &runtimeapi.LinuxContainerResources{CpuShares: 1024, CpuPeriod: 100000, CpuQuota: 100000, MemoryLimitInBytes: 1 << 30, OomScoreAdj: -997}},
		{name: "limit only", r: v1.ResourceRequirements{Limits: list("5m", "")},
			want: &runtimeapi.LinuxContainerResources{CpuShares: 5, CpuPeriod: 100000, CpuQuota: 1000, OomScoreAdj: 999}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := v1.Container{Name: "c", Resources: tc.r}
			got := containerResources(podWith(v1.PodSpec{Containers: []v1.Container{c}}), &c, 10<<30)
			if got.String() != tc.want.String() {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPullPolicy(t *testing.T) {
	for image, want := range map[string]v1.PullPolicy{
		"a": v1.PullAlways, "a:latest": v1.PullAlways, "a:1": v1.PullIfNotPresent, "host:5000/a": v1.PullAlways,
		"host:5000/a:2": v1.PullIfNotPresent, "a@sha256:0123": v1.PullIfNotPresent,
	} {
		if got := pullPolicy(&v1.Container{Image: image}); got != want {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
}

func TestTerminationMessage(t *testing.T) {
	dir := t.TempDir()
	file, log := filepath.Join(dir, "m"), filepath.Join(dir, "0.log")
	if err := os.WriteFile(log, []byte("2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr P tw\n2026-01-01T00:00:00Z stderr F o\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, message string
		c             cri.Container
		want          string
	}{
		{name: "the file", message: "bye", c: cri.Container{TerminationMessageHostPath: file}, want: "bye"},
		{name: "nothing", c: cri.Container{TerminationMessageHostPath: file}},
		{name: "the log on error", c: cri.Container{TerminationMessageHostPath: file, ExitCode: 1, LogPath: log, TerminationMessagePolicy: v1.TerminationMessageFallbackToLogsOnError}, want: "one\ntwo\n"},
		{name: "not without error", c: cri.Container{TerminationMessageHostPath: file, LogPath: log, TerminationMessagePolicy: v1.TerminationMessageFallbackToLogsOnError}},
		{name: "cut", message: strings.Repeat("x", 5000), c: cri.Container{TerminationMessageHostPath: file}, want: strings.Repeat("x", 4096)},
		{name: "beside the runtime's", message: "bye", c: cri.Container{Message: "oops", TerminationMessageHostPath: file}, want: "oops: bye"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(tc.message), 0o644); err != nil {
				t.Fatal(err)
			}
			c := tc.c
			terminationMessage(&c)
			if c.Message != tc.want {
				t.Errorf("got %q, want %q", c.Message, tc.want)
			}
		})
	}
}

func TestSysctls(t *testing.T) {
	a := &Agent{o: Options{AllowedUnsafeSysctls: []string{"net.core.*"}}}
	for name, ok := range map[string]bool{
		"net.ipv4.tcp_syncookies": true, "net/ipv4/tcp_syncookies": true, "net.core.somaxconn": true, "kernel.msgmax": false, "vm.swappiness": false,
	} {
		pod := podWith(v1.PodSpec{SecurityContext: &v1.PodSecurityContext{Sysctls: []v1.Sysctl{{Name: name, Value: "1"}}}})
		if got := a.sysctlsAllowed(pod); got != ok {
			t.Errorf("%s: allowed %v, want %v", name, got, ok)
		}
	}
}
