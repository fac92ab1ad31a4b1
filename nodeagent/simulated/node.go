package simulated

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// version is what the nodes report as their agent's version.
const version = "v1.37.2+proa"

// name of the i-th node.
func (n *Nodes) name(i int) string { return n.options.NamePrefix + strconv.Itoa(i) }

// index is the inverse of name; ok is false for names that are not ours.
func (n *Nodes) index(name string) (i int, ok bool) {
	digits, found := strings.CutPrefix(name, n.options.NamePrefix)
	i, err := strconv.Atoi(digits)
	return i, found && err == nil && i >= 0 && i < n.options.Count && n.name(i) == name
}

// node is the i-th Node as it registers itself.
func (n *Nodes) node(i int) *v1.Node {
	name := n.name(i)
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			v1.LabelHostname:           name,
			v1.LabelOSStable:           "linux",
			v1.LabelArchStable:         runtime.GOARCH,
			v1.LabelInstanceTypeStable: "simulated",
			"type":                     "simulated",
			// As the kubelet sets them; otherwise node lifecycle patches every node for them.
			"beta.kubernetes.io/os":   "linux",
			"beta.kubernetes.io/arch": runtime.GOARCH,
		}},
		Status: n.nodeStatus(i),
	}
}

func (n *Nodes) nodeStatus(i int) v1.NodeStatus {
	now := metav1.NewTime(n.options.Clock.Now())
	capacity := v1.ResourceList{v1.ResourceCPU: n.options.CPU, v1.ResourceMemory: n.options.Memory, v1.ResourcePods: n.options.Pods}
	s := v1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: nodeAddress(i)}, {Type: v1.NodeHostName, Address: n.name(i)}},
		NodeInfo: v1.NodeSystemInfo{
			OperatingSystem: "linux", Architecture: runtime.GOARCH, KubeletVersion: version,
			ContainerRuntimeVersion: "simulated://1", OSImage: "simulated", KernelVersion: "simulated",
			MachineID: n.name(i), SystemUUID: n.name(i), BootID: n.name(i),
		},
	}
	for _, c := range []v1.NodeCondition{
		{Type: v1.NodeMemoryPressure, Status: v1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
		{Type: v1.NodeDiskPressure, Status: v1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
		{Type: v1.NodePIDPressure, Status: v1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	} {
		c.LastHeartbeatTime, c.LastTransitionTime = now, now
		s.Conditions = append(s.Conditions, c)
	}
	return s
}

// register makes the i-th Node, or takes over the one that is there.
func (n *Nodes) register(ctx context.Context, i int) error {
	want := n.node(i)
	got, err := n.client.CoreV1().Nodes().Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return n.report(ctx, i)
	}
	if err != nil {
		return fmt.Errorf("create node %s: %w", want.Name, err)
	}
	if len(got.Status.Conditions) == 0 {
		return n.report(ctx, i) // a server that keeps status for the status subresource
	}
	n.setUID(i, got.UID)
	return nil
}

// report writes the i-th node's status.
func (n *Nodes) report(ctx context.Context, i int) error {
	node, err := n.client.CoreV1().Nodes().Get(ctx, n.name(i), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get node %s: %w", n.name(i), err)
	}
	n.setUID(i, node.UID)
	status := n.nodeStatus(i)
	for k := range status.Conditions {
		for _, old := range node.Status.Conditions {
			if old.Type == status.Conditions[k].Type && old.Status == status.Conditions[k].Status {
				status.Conditions[k].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	// Others have conditions here too; keep those.
	for _, old := range node.Status.Conditions {
		if !hasCondition(status.Conditions, old.Type) {
			status.Conditions = append(status.Conditions, old)
		}
	}
	status.VolumesAttached, status.VolumesInUse = node.Status.VolumesAttached, node.Status.VolumesInUse
	node.Status = status
	if _, err := n.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update status of node %s: %w", node.Name, err)
	}
	return nil
}

func hasCondition(list []v1.NodeCondition, t v1.NodeConditionType) bool {
	for i := range list {
		if list[i].Type == t {
			return true
		}
	}
	return false
}
