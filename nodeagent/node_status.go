package nodeagent

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxImages bounds how many images the node's status lists.
const maxImages = 50

// facts are what does not change while the agent runs.
type facts struct {
	capacity, allocatable v1.ResourceList
	info                  v1.NodeSystemInfo
}

func readFacts(o Options) facts {
	f := facts{capacity: v1.ResourceList{
		v1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(capacityMemory(), resource.BinarySI),
		v1.ResourcePods:   *resource.NewQuantity(int64(o.MaxPods), resource.DecimalSI),
		"hugepages-1Gi":   *resource.NewQuantity(0, resource.DecimalSI),
		"hugepages-2Mi":   *resource.NewQuantity(0, resource.DecimalSI),
	}}
	var st unix.Statfs_t
	for _, dir := range []string{o.RootDir, "/"} {
		if unix.Statfs(dir, &st) == nil {
			f.capacity[v1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(st.Blocks)*st.Bsize, resource.BinarySI)
			break
		}
	}
	f.allocatable = f.capacity.DeepCopy()
	if q, ok := f.allocatable[v1.ResourceEphemeralStorage]; ok {
		// Upstream keeps a tenth of the disk, its hard eviction threshold.
		f.allocatable[v1.ResourceEphemeralStorage] = *resource.NewQuantity(q.Value()/10*9, resource.BinarySI)
	}
	for name, q := range o.Reserved {
		if have, ok := f.allocatable[name]; ok {
			have.Sub(q)
			if have.Sign() < 0 {
				have = resource.Quantity{Format: have.Format}
			}
			f.allocatable[name] = have
		}
	}
	f.info = v1.NodeSystemInfo{
		MachineID:       firstLine("/etc/machine-id", "/var/lib/dbus/machine-id"),
		SystemUUID:      firstLine("/sys/class/dmi/id/product_uuid", "/etc/machine-id"),
		BootID:          firstLine("/proc/sys/kernel/random/boot_id"),
		KernelVersion:   firstLine("/proc/sys/kernel/osrelease"),
		OSImage:         osImage(),
		KubeletVersion:  KubeletVersion,
		OperatingSystem: runtime.GOOS,
		Architecture:    runtime.GOARCH,
	}
	return f
}

func firstLine(paths ...string) string {
	for _, p := range paths {
		if data, err := os.ReadFile(p); err == nil {
			line, _, _ := bytes.Cut(data, []byte("\n"))
			if s := strings.TrimSpace(string(line)); s != "" {
				return s
			}
		}
	}
	return ""
}

func osImage() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	for _, line := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return "Linux"
}

// capacityMemory is the machine's memory in bytes.
func capacityMemory() int64 {
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) != nil {
		return 0
	}
	return int64(si.Totalram) * int64(si.Unit)
}

func (n *nodeState) labels() map[string]string {
	l := map[string]string{
		v1.LabelHostname: n.a.o.Hostname, v1.LabelOSStable: runtime.GOOS, v1.LabelArchStable: runtime.GOARCH,
		"beta.kubernetes.io/os": runtime.GOOS, "beta.kubernetes.io/arch": runtime.GOARCH,
	}
	for k, v := range n.a.o.Labels {
		l[k] = v
	}
	return l
}

// fill writes the agent's part of the node's status.
func (n *nodeState) fill(node *v1.Node, now time.Time) {
	n.mu.Lock()
	runtimeErr, network, version, handlers := n.runtime, n.network, n.version, n.handlers
	n.mu.Unlock()
	s := &node.Status
	s.Capacity, s.Allocatable = n.facts.capacity.DeepCopy(), n.facts.allocatable.DeepCopy()
	s.NodeInfo = n.facts.info
	s.NodeInfo.ContainerRuntimeVersion = version
	s.RuntimeHandlers = handlers
	s.Addresses = []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: n.a.o.NodeIP.String()},
		{Type: v1.NodeHostName, Address: n.a.o.Hostname},
	}
	s.DaemonEndpoints.KubeletEndpoint.Port = int32(n.a.o.Port)
	s.Images = n.images()

	set := func(t v1.NodeConditionType, bad bool, reason, message string, status v1.ConditionStatus) {
		c := v1.NodeCondition{Type: t, Status: status, Reason: reason, Message: message, LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now)}
		for i := range s.Conditions {
			if old := &s.Conditions[i]; old.Type == t {
				if old.Status == c.Status {
					c.LastTransitionTime = old.LastTransitionTime
				}
				*old = c
				return
			}
		}
		s.Conditions = append(s.Conditions, c)
	}
	pressure := func(t v1.NodeConditionType, bad bool, yes, no, has, hasNot string) {
		if bad {
			set(t, true, yes, has, v1.ConditionTrue)
		} else {
			set(t, false, no, hasNot, v1.ConditionFalse)
		}
	}
	pressure(v1.NodeMemoryPressure, memoryAvailable() < 100<<20, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory",
		"kubelet has insufficient memory available", "kubelet has sufficient memory available")
	pressure(v1.NodeDiskPressure, diskLow(n.a.o.RootDir), "KubeletHasDiskPressure", "KubeletHasNoDiskPressure",
		"kubelet has disk pressure", "kubelet has no disk pressure")
	pressure(v1.NodePIDPressure, false, "KubeletHasInsufficientPID", "KubeletHasSufficientPID",
		"kubelet has insufficient PID available", "kubelet has sufficient PID available")

	var why []string
	if runtimeErr != nil {
		why = append(why, runtimeErr.Error())
	}
	if !network {
		why = append(why, "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized")
	}
	if len(why) > 0 {
		set(v1.NodeReady, true, "KubeletNotReady", strings.Join(why, ", "), v1.ConditionFalse)
	} else {
		set(v1.NodeReady, false, "KubeletReady", "kubelet is posting ready status", v1.ConditionTrue)
	}
}

// images lists the node's images, the largest first.
func (n *nodeState) images() []v1.ContainerImage {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	list, err := n.a.runtime.ListImages(ctx)
	if err != nil {
		return nil
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].Size != list[j].Size {
			return list[i].Size > list[j].Size
		}
		return list[i].Id < list[j].Id
	})
	var out []v1.ContainerImage
	for _, img := range list {
		names := append(append([]string{}, img.RepoDigests...), img.RepoTags...)
		if len(names) == 0 {
			continue
		}
		if len(names) > 5 {
			names = names[:5]
		}
		out = append(out, v1.ContainerImage{Names: names, SizeBytes: int64(img.Size)})
		if len(out) == maxImages {
			break
		}
	}
	return out
}

func condition(node *v1.Node, t v1.NodeConditionType) v1.NodeCondition {
	if node != nil {
		for _, c := range node.Status.Conditions {
			if c.Type == t {
				return c
			}
		}
	}
	return v1.NodeCondition{}
}

// memoryAvailable is what the kernel could hand out now, in bytes.
func memoryAvailable() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 1 << 62
	}
	for _, line := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if kb, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64); err == nil {
				return kb << 10
			}
		}
	}
	return 1 << 62
}

// diskLow tells whether less than a twentieth of the disk, or of its inodes, is free.
func diskLow(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Blocks == 0 {
		return false
	}
	return st.Bavail < st.Blocks/20 || st.Files > 0 && st.Ffree < st.Files/20
}
