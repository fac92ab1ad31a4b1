package nodeagent

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

func holds(cpu, memory string, ports ...hostPort) holding {
	h := holding{requests: v1.ResourceList{}, ports: ports}
	if cpu != "" {
		h.requests[v1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		h.requests[v1.ResourceMemory] = resource.MustParse(memory)
	}
	return h
}

func TestRefusal(t *testing.T) {
	node := v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1Gi"), v1.ResourcePods: resource.MustParse("3")}
	tcp := func(ip string, port int32) hostPort { return hostPort{ip, v1.ProtocolTCP, port} }
	others := map[types.UID]holding{"a": holds("1500m", "", tcp("", 80)), "b": holds("", "512Mi", tcp("10.0.0.1", 81))}
	for _, tc := range []struct {
		name           string
		h              holding
		self           types.UID
		reason, detail string
	}{
		{"fits exactly", holds("500m", "512Mi"), "", "", ""},
		{"too much cpu", holds("501m", ""), "", "OutOfcpu", "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000"},
		{"too much memory", holds("", "513Mi"), "", "OutOfmemory", "Node didn't have enough resource: memory, requested: 537919488, used: 536870912, capacity: 1073741824"},
		{"its own share does not count", holds("2", ""), "a", "", ""},
		{"port of all addresses", holds("", "", tcp("10.0.0.2", 80)), "", "NodePorts", ""},
		{"same port, other address", holds("", "", tcp("10.0.0.2", 81)), "", "", ""},
		{"same port, other protocol", holds("", "", hostPort{"", v1.ProtocolUDP, 80}), "", "", ""},
		{"all addresses of a taken one", holds("", "", tcp("0.0.0.0", 81)), "", "NodePorts", ""},
	} {
		f := tc.h.refusal(others, tc.self, node)
		switch {
		case f == nil && tc.reason != "", f != nil && f.Reason != tc.reason, f != nil && tc.detail != "" && f.Message != tc.detail:
			t.Errorf("%s: %+v, want %s %q", tc.name, f, tc.reason, tc.detail)
		}
	}
	others["c"] = holds("", "")
	if f := holds("", "").refusal(others, "", node); f == nil || f.Reason != "OutOfpods" {
		t.Errorf("a fourth pod of three: %+v", f)
	}
}

func TestDeferredResizeIsConsideredAgain(t *testing.T) {
	node := v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")}
	table := newAllocations()
	for _, uid := range []types.UID{"a", "b"} {
		if f := table.admit(uid, holds("1", ""), node); f != nil {
			t.Fatal(f)
		}
	}
	if f := table.resize("a", holds("2", ""), node); f == nil {
		t.Fatal("granted what is not there")
	}
	if got := table.release("c"); got != nil {
		t.Errorf("nobody gave anything up, and %v are considered", got)
	}
	if got := table.release("b"); len(got) != 1 || got[0] != "a" {
		t.Errorf("considered: %v", got)
	}
	if f := table.resize("a", holds("2", ""), node); f != nil {
		t.Error(f)
	}
}
