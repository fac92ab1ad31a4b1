package server

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	kubelettypes "k8s.io/kubelet/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

func u64(v uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: v} }

func sandboxStats() []*runtimeapi.PodSandboxStats {
	labels := map[string]string{kubelettypes.KubernetesPodNamespaceLabel: "ns", kubelettypes.KubernetesPodNameLabel: "web", kubelettypes.KubernetesPodUIDLabel: "uid-1"}
	stamp := int64(1500 * time.Second)
	old := &runtimeapi.PodSandboxStats{Attributes: &runtimeapi.PodSandboxAttributes{Labels: labels}, Linux: &runtimeapi.LinuxPodSandboxStats{Cpu: &runtimeapi.CpuUsage{Timestamp: stamp - 1}}}
	return []*runtimeapi.PodSandboxStats{old, {
		Attributes: &runtimeapi.PodSandboxAttributes{Labels: labels},
		Linux: &runtimeapi.LinuxPodSandboxStats{
			Cpu:     &runtimeapi.CpuUsage{Timestamp: stamp, UsageCoreNanoSeconds: u64(3e9), UsageNanoCores: u64(5)},
			Memory:  &runtimeapi.MemoryUsage{Timestamp: stamp, WorkingSetBytes: u64(300)},
			Network: &runtimeapi.NetworkUsage{Timestamp: stamp, DefaultInterface: &runtimeapi.NetworkInterfaceUsage{Name: "eth0", RxBytes: u64(10), TxBytes: u64(20)}},
			Process: &runtimeapi.ProcessUsage{ProcessCount: u64(4)},
			Containers: []*runtimeapi.ContainerStats{{
				Attributes:    &runtimeapi.ContainerAttributes{Labels: map[string]string{kubelettypes.KubernetesContainerNameLabel: "c"}},
				Cpu:           &runtimeapi.CpuUsage{Timestamp: stamp, UsageCoreNanoSeconds: u64(2e9)},
				Memory:        &runtimeapi.MemoryUsage{Timestamp: stamp, WorkingSetBytes: u64(200)},
				WritableLayer: &runtimeapi.FilesystemUsage{Timestamp: stamp, UsedBytes: u64(50)},
			}},
		},
	}, {Attributes: &runtimeapi.PodSandboxAttributes{}}}
}

func TestSummary(t *testing.T) {
	f := newFixture(t)
	f.runtime.stats = sandboxStats()
	var got stats.Summary
	_, body := f.do(t, "admin", "GET", "/stats/summary")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	node := got.Node
	if node.NodeName != "node-1" || node.CPU == nil || *node.CPU.UsageCoreNanoSeconds == 0 || node.Memory == nil || *node.Memory.AvailableBytes == 0 || node.Fs == nil || *node.Runtime.ImageFs.UsedBytes != 7 {
		t.Errorf("node: %s", body)
	}
	if len(got.Pods) != 1 {
		t.Fatalf("pods: %s", body)
	}
	pod := got.Pods[0]
	if pod.PodRef != (stats.PodReference{Namespace: "ns", Name: "web", UID: "uid-1"}) || *pod.CPU.UsageCoreNanoSeconds != 3e9 || *pod.Memory.WorkingSetBytes != 300 ||
		*pod.Network.RxBytes != 10 || len(pod.Network.Interfaces) != 1 || *pod.ProcessStats.ProcessCount != 4 || *pod.EphemeralStorage.UsedBytes != 50 || pod.StartTime.Unix() != 900 {
		t.Errorf("pod: %s", body)
	}
	c := pod.Containers[0]
	if c.Name != "c" || *c.CPU.UsageCoreNanoSeconds != 2e9 || c.StartTime.Unix() != 1000 || *c.Rootfs.UsedBytes != 50 {
		t.Errorf("container: %s", body)
	}
	if _, body := f.do(t, "admin", "GET", "/stats/summary?only_cpu_and_memory=true"); strings.Contains(body, "rootfs") || strings.Contains(body, "network") || !strings.Contains(body, `"usageCoreNanoSeconds":2000000000`) {
		t.Errorf("only CPU and memory: %s", body)
	}
	f.runtime.statsErr = errors.New("no answer")
	if code, _ := f.do(t, "admin", "GET", "/stats/summary"); code != 500 {
		t.Errorf("got %d", code)
	}
}

func TestResourceMetrics(t *testing.T) {
	f := newFixture(t)
	f.runtime.stats = sandboxStats()
	_, body := f.do(t, "admin", "GET", "/metrics/resource")
	for _, line := range []string{
		`container_cpu_usage_seconds_total{container="c",namespace="ns",pod="web"} 2 1500000`,
		`container_memory_working_set_bytes{container="c",namespace="ns",pod="web"} 200 1500000`,
		`container_start_time_seconds{container="c",namespace="ns",pod="web"} 1000`,
		`pod_cpu_usage_seconds_total{namespace="ns",pod="web"} 3 1500000`,
		`pod_memory_working_set_bytes{namespace="ns",pod="web"} 300 1500000`,
		"node_cpu_usage_seconds_total ", "node_memory_working_set_bytes ", "resource_scrape_error 0",
	} {
		if !strings.Contains(body, "\n"+line) {
			t.Errorf("%s is missing:\n%s", line, body)
		}
	}
	_, body = f.do(t, "admin", "GET", "/metrics/cadvisor")
	for _, line := range []string{
		`container_cpu_usage_seconds_total{container="c",namespace="ns",pod="web"} 2 1500000`,
		`container_network_receive_bytes_total{interface="eth0",namespace="ns",pod="web"} 10 1500000`,
		`container_processes{container="",namespace="ns",pod="web"} 4 1500000`,
		"machine_cpu_cores ", "machine_memory_bytes ",
	} {
		if !strings.Contains(body, "\n"+line) {
			t.Errorf("%s is missing:\n%s", line, body)
		}
	}
	f.runtime.statsErr = errors.New("no answer")
	if code, body := f.do(t, "admin", "GET", "/metrics/resource"); code != 200 || !strings.Contains(body, "resource_scrape_error 1\n") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestNodeReader(t *testing.T) {
	proc := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(proc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", "cpu  100 0 50 9999 9999 10 10 30 77 0\ncpu0 1 2\nbtime 1234\n")
	write("meminfo", "MemTotal:  1000 kB\nMemFree:  400 kB\nInactive(file):  100 kB\nAnonPages:  250 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\n")
	write("net/dev", "Inter-| Receive | Transmit\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0:100 1 2 0 0 0 0 0 200 1 3 0 0 0 0 0\nveth1: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n")
	write("net/route", "Iface Destination\neth0 00000000\n")
	write("loadavg", "0.1 0.2 0.3 1/321 99\n")
	write("sys/kernel/pid_max", "4194304\n")
	clock := clocktesting.NewFakePassiveClock(time.Unix(2000, 0))
	n := newNodeReader(proc, clock)
	got, err := n.node("node-1", proc)
	if err != nil {
		t.Fatal(err)
	}
	if *got.CPU.UsageCoreNanoSeconds != 2e9 || got.CPU.UsageNanoCores != nil || got.StartTime.Unix() != 1234 {
		t.Errorf("CPU %+v", got.CPU)
	}
	if m := got.Memory; *m.UsageBytes != 600<<10 || *m.WorkingSetBytes != 500<<10 || *m.AvailableBytes != 500<<10 || *m.RSSBytes != 250<<10 {
		t.Errorf("memory %d %d %d", *m.UsageBytes, *m.WorkingSetBytes, *m.AvailableBytes)
	}
	if *got.Swap.SwapUsageBytes != 6<<10 {
		t.Errorf("swap %d", *got.Swap.SwapUsageBytes)
	}
	if len(got.Network.Interfaces) != 1 || got.Network.Name != "eth0" || *got.Network.RxBytes != 100 || *got.Network.RxErrors != 2 || *got.Network.TxBytes != 200 || *got.Network.TxErrors != 3 {
		t.Errorf("network %+v", got.Network)
	}
	if *got.Rlimit.MaxPID != 4194304 || *got.Rlimit.NumOfRunningProcesses != 321 {
		t.Errorf("rlimit %+v", got.Rlimit)
	}
	// Half a core for ten seconds, seen by two askers in the same moment.
	write("stat", "cpu 600 0 50 0 0 10 10 30\nbtime 1234\n")
	clock.SetTime(time.Unix(2010, 0))
	for range 2 {
		cpu, _, err := n.cpu()
		if err != nil || cpu.UsageNanoCores == nil || *cpu.UsageNanoCores != 5e8 {
			t.Errorf("got %+v, %v", cpu, err)
		}
	}
	// What is missing is named, the rest is there.
	if err := os.Remove(filepath.Join(proc, "meminfo")); err != nil {
		t.Fatal(err)
	}
	got, err = n.node("node-1", proc)
	if err == nil || !strings.Contains(err.Error(), "meminfo") || got.CPU == nil || got.Memory != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}
