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
	}
}

// allowedCrossRead are the differences of one object read by both.
func allowedCrossRead() []allowance {
	return nil
}

// allowedSamples are the differences of filled objects of 1.36.
func allowedSamples() []allowance {
	return nil
}
