package parity

import (
	"os"
	"regexp"
	"strings"
)

// allowance is a reviewed difference: where, and why it is right.
type allowance struct {
	path   *regexp.Regexp
	reason string
}

func allow(path, reason string) allowance {
	return allowance{regexp.MustCompile("^(?:" + path + ")$"), reason}
}

func permitted(d difference, allowed []allowance) bool {
	for _, a := range allowed {
		if a.path.MatchString(d.path) {
			return true
		}
	}
	return false
}

// allowedDiscovery are the differences of discovery.
func allowedDiscovery() []allowance {
	return []allowance{
		allow(`/api\.serverAddressByClientCIDRs\[0\]\.serverAddress`, "each has a port of its own"),
		allow(`/apis/admissionregistration.k8s.io/v1.resources.mutatingadmissionpolic(ies|ybindings).storageVersionHash`,
			"1.36 stores v1beta1, since 1.35 knows no v1; 1.37 stores v1"),
	}
}

// allowedSchemas are the paths below a schema's name in testdata/schemas-1.37.txt.
func allowedSchemas() (map[string]bool, error) {
	data, err := os.ReadFile("testdata/schemas-1.37.txt")
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out[line] = true
		}
	}
	return out, nil
}

// allowedKeys are keys that only one server has, or whose values are its own.
func allowedKeys() []allowance {
	return []allowance{
		allow(`/registry/(leases/kube-system|masterleases|apiregistration.k8s.io/apiservices|services/(specs|endpoints)/default|endpointslices/default)/.*`, "each server's own address and times"),
		allow(`/registry/(flowschemas/.*|servicecidrs/kubernetes|peerserverleases/.*)`, "times of conditions; upstream's servers tell each other their addresses"),
		allow(`/registry/csinodes/.*`, "1.37 has a status"),
		allow(`/registry/(clusterrole|role|clusterrolebinding|rolebinding)s/.*proa:.*`, "roles of our own node agent and controllers"),
		allow(`/registry/mutatingadmissionpolic(ies|ybindings)/policy`, "1.36 stores v1beta1, since 1.35 knows no v1; 1.37 stores v1"),
	}
}

// allowedAnswers are the differences of answers to one request. Paths are "what:
// METHOD.field".
func allowedAnswers() []allowance {
	return []allowance{
		allow(`v1/componentstatuses (table|list): GET.(rows|items) \(order\)`, "upstream's order is that of a Go map"),
		allow(`storage.k8s.io/v1/csinodes .*\.status`, "1.37 has a status"),
		allow(`v1/pods sample: GET.status.nodeAllocatableResourceClaimStatuses.*|resource.k8s.io/v1/resourceslices sample: GET.spec.devices.*.nodeAllocatableResourceMappings`,
			"alpha fields that 1.37 has in another form"),
		allow(`apps/v1/daemonsets (table|sample): GET.rows.*.object.metadata.annotations.*`,
			"deprecated.daemonset.template.generation is a field of upstream's internal type, which its partial metadata does not have"),
		allow(`(networking.k8s.io/v1/(ipaddresses|servicecidrs)|rbac.authorization.k8s.io/v1/(cluster)?rolebindings|storage.k8s.io/v1/volumeattributesclasses|resource.k8s.io/v1/resourceslices) (table|sample): GET.columnDefinitions.[A-Za-z]*.description`,
			"1.37 words it otherwise"),
		allow(`networking.k8s.io/v1/ipaddresses (table|sample): GET.rows.*.cells\[2\]`, "upstream's rows have one cell more than it has columns"),
		allow(`apiextensions.k8s.io/v1/customresourcedefinitions table: GET.(columnDefinitions.*|rows.*.cells.*)`, "1.37 has columns of its own for these"),
		allow(`coordination.k8s.io/v1/leases (table|list): GET.(rows|items).kube-system/apiserver-.*`, "upstream's servers tell each other their addresses"),
		allow(`rbac.authorization.k8s.io/v1/.* (table|list): GET.(rows|items).(kube-system)?/proa:.*`, "roles of our own node agent and controllers"),
	}
}

// allowedCrossRead are the differences of one object read by both.
func allowedCrossRead() []allowance {
	return []allowance{
		allow(`storage.k8s.io/v1/csinodes.*.status`, "1.37 has a status"),
	}
}
