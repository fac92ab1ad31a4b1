package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	kubelettypes "k8s.io/kubelet/pkg/types"
)

// statsSummary shows what the node, its pods and their containers use: GET
// /stats/summary[?only_cpu_and_memory=true].
func (s *Server) statsSummary(w http.ResponseWriter, r *http.Request) {
	summary, err := s.summary(r.Context())
	if err != nil {
		writeText(w, http.StatusInternalServerError, err.Error())
		return
	}
	if r.FormValue("only_cpu_and_memory") == "true" {
		summary = onlyCPUAndMemory(summary)
	}
	writeJSON(w, r, summary)
}

// summary gathers all numbers. That some of the node's own are missing is
// logged; without the runtime's there is no summary.
func (s *Server) summary(ctx context.Context) (*stats.Summary, error) {
	sandboxes, err := s.o.Runtime.ListPodSandboxStats(ctx)
	if err != nil {
		return nil, err
	}
	node, err := s.node.node(s.o.NodeName, s.o.RootDir)
	if err != nil {
		klog.FromContext(ctx).V(2).Info("Some of the node's numbers could not be read", "err", err)
	}
	node.Runtime = s.imageFilesystem(ctx)
	return &stats.Summary{Node: node, Pods: podStats(sandboxes, s.o.Backend.Pods())}, nil
}

func (s *Server) imageFilesystem(ctx context.Context) *stats.RuntimeStats {
	info, err := s.o.Runtime.ImageFsInfo(ctx)
	if err != nil || len(info.GetImageFilesystems()) == 0 {
		return nil
	}
	one := func(list []*runtimeapi.FilesystemUsage) *stats.FsStats {
		if len(list) == 0 || list[0].GetFsId() == nil {
			return nil
		}
		fs, err := filesystem(list[0].FsId.Mountpoint, s.o.Clock.Now())
		if err != nil {
			return nil
		}
		fs.UsedBytes, fs.InodesUsed = value(list[0].UsedBytes), value(list[0].InodesUsed)
		return fs
	}
	return &stats.RuntimeStats{ImageFs: one(info.ImageFilesystems), ContainerFs: one(info.ContainerFilesystems)}
}

// podStats joins what the runtime measured with when things started. A pod
// with several sandboxes shows the newest measurements.
func podStats(sandboxes []*runtimeapi.PodSandboxStats, pods []*v1.Pod) []stats.PodStats {
	known := make(map[string]*v1.Pod, len(pods))
	for _, pod := range pods {
		known[string(pod.UID)] = pod
	}
	out := []stats.PodStats{}
	byUID := map[string]int{}
	for _, sandbox := range sandboxes {
		labels := sandbox.GetAttributes().GetLabels()
		uid := kubelettypes.GetPodUID(labels)
		if uid == "" || sandbox.Linux == nil {
			continue
		}
		pod := stats.PodStats{
			PodRef:     stats.PodReference{Namespace: kubelettypes.GetPodNamespace(labels), Name: kubelettypes.GetPodName(labels), UID: uid},
			Containers: []stats.ContainerStats{},
			CPU:        cpuOf(sandbox.Linux.Cpu),
			Memory:     memoryOf(sandbox.Linux.Memory),
			Network:    networkOf(sandbox.Linux.Network),
		}
		if p := sandbox.Linux.Process; p != nil {
			pod.ProcessStats = &stats.ProcessStats{ProcessCount: value(p.ProcessCount)}
		}
		object := known[uid]
		if object != nil && object.Status.StartTime != nil {
			pod.StartTime = *object.Status.StartTime
		}
		var storage uint64
		for _, c := range sandbox.Linux.Containers {
			container := containerOf(c, object)
			if container.Rootfs != nil && container.Rootfs.UsedBytes != nil {
				storage += *container.Rootfs.UsedBytes
			}
			pod.Containers = append(pod.Containers, container)
		}
		slices.SortFunc(pod.Containers, func(a, b stats.ContainerStats) int { return strings.Compare(a.Name, b.Name) })
		if pod.CPU != nil {
			pod.EphemeralStorage = &stats.FsStats{Time: pod.CPU.Time, UsedBytes: &storage}
		}
		if i, ok := byUID[uid]; ok {
			if newer(pod.CPU, out[i].CPU) {
				out[i] = pod
			}
			continue
		}
		byUID[uid] = len(out)
		out = append(out, pod)
	}
	slices.SortFunc(out, func(a, b stats.PodStats) int {
		return strings.Compare(a.PodRef.Namespace+"/"+a.PodRef.Name, b.PodRef.Namespace+"/"+b.PodRef.Name)
	})
	return out
}

func newer(a, b *stats.CPUStats) bool {
	return a != nil && (b == nil || a.Time.After(b.Time.Time))
}

func containerOf(c *runtimeapi.ContainerStats, pod *v1.Pod) stats.ContainerStats {
	out := stats.ContainerStats{
		Name:   kubelettypes.GetContainerName(c.GetAttributes().GetLabels()),
		CPU:    cpuOf(c.Cpu),
		Memory: memoryOf(c.Memory),
		Swap:   swapOf(c.Swap),
	}
	if c.WritableLayer != nil {
		out.Rootfs = &stats.FsStats{Time: nanoTime(c.WritableLayer.Timestamp), UsedBytes: value(c.WritableLayer.UsedBytes), InodesUsed: value(c.WritableLayer.InodesUsed)}
	}
	if pod == nil {
		return out
	}
	if status := containerStatus(pod, out.Name); status != nil && status.State.Running != nil {
		out.StartTime = status.State.Running.StartedAt
	}
	return out
}

func cpuOf(c *runtimeapi.CpuUsage) *stats.CPUStats {
	if c == nil {
		return nil
	}
	return &stats.CPUStats{Time: nanoTime(c.Timestamp), UsageCoreNanoSeconds: value(c.UsageCoreNanoSeconds), UsageNanoCores: value(c.UsageNanoCores)}
}

func memoryOf(m *runtimeapi.MemoryUsage) *stats.MemoryStats {
	if m == nil {
		return nil
	}
	return &stats.MemoryStats{
		Time: nanoTime(m.Timestamp), WorkingSetBytes: value(m.WorkingSetBytes), AvailableBytes: value(m.AvailableBytes), UsageBytes: value(m.UsageBytes),
		RSSBytes: value(m.RssBytes), PageFaults: value(m.PageFaults), MajorPageFaults: value(m.MajorPageFaults),
	}
}

func swapOf(s *runtimeapi.SwapUsage) *stats.SwapStats {
	if s == nil {
		return nil
	}
	return &stats.SwapStats{Time: nanoTime(s.Timestamp), SwapAvailableBytes: value(s.SwapAvailableBytes), SwapUsageBytes: value(s.SwapUsageBytes)}
}

func networkOf(n *runtimeapi.NetworkUsage) *stats.NetworkStats {
	if n == nil {
		return nil
	}
	out := &stats.NetworkStats{Time: nanoTime(n.Timestamp), InterfaceStats: interfaceOf(n.DefaultInterface)}
	if n.DefaultInterface != nil {
		out.Interfaces = append(out.Interfaces, out.InterfaceStats)
	}
	for _, i := range n.Interfaces {
		out.Interfaces = append(out.Interfaces, interfaceOf(i))
	}
	return out
}

func interfaceOf(i *runtimeapi.NetworkInterfaceUsage) stats.InterfaceStats {
	if i == nil {
		return stats.InterfaceStats{}
	}
	return stats.InterfaceStats{Name: i.Name, RxBytes: value(i.RxBytes), RxErrors: value(i.RxErrors), TxBytes: value(i.TxBytes), TxErrors: value(i.TxErrors)}
}

func value(v *runtimeapi.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	return &v.Value
}

func nanoTime(nanos int64) metav1.Time { return metav1.NewTime(time.Unix(0, nanos)) }

func onlyCPUAndMemory(s *stats.Summary) *stats.Summary {
	out := &stats.Summary{Node: stats.NodeStats{NodeName: s.Node.NodeName, StartTime: s.Node.StartTime, CPU: s.Node.CPU, Memory: s.Node.Memory}, Pods: []stats.PodStats{}}
	for _, p := range s.Pods {
		pod := stats.PodStats{PodRef: p.PodRef, StartTime: p.StartTime, CPU: p.CPU, Memory: p.Memory, Containers: []stats.ContainerStats{}}
		for _, c := range p.Containers {
			pod.Containers = append(pod.Containers, stats.ContainerStats{Name: c.Name, StartTime: c.StartTime, CPU: c.CPU, Memory: c.Memory})
		}
		out.Pods = append(out.Pods, pod)
	}
	return out
}
