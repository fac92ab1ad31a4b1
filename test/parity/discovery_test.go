package parity

import (
	"testing"
)

const aggregatedDiscovery = "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// discovery compares the plain and the aggregated documents.
func (p *pair) discovery(t *testing.T) {
	rows := 0
	for _, path := range []string{"/api", "/apis"} {
		report(t, compare(path, p.theirs.get(t, path), p.ours.get(t, path)), allowedDiscovery())
	}
	for _, path := range p.groupVersions(t) {
		theirs := p.theirs.get(t, path)
		rows += len(list(at(theirs, "resources")))
		a := p.ours.must(t, "GET", path, nil)
		if a.status != 200 {
			t.Errorf("%s: ours says %d: %s", path, a.status, a.body)
			continue
		}
		report(t, compare(path, theirs, parse(t, a.body)), allowedDiscovery())
	}
	t.Logf("%d rows", rows)
	for _, path := range []string{"/api", "/apis"} {
		report(t, compare(path+" (aggregated)", p.theirs.get(t, path, aggregatedDiscovery), p.ours.get(t, path, aggregatedDiscovery)), allowedDiscovery())
	}
}

// groupVersions are the paths of upstream's group versions, all stable.
func (p *pair) groupVersions(t *testing.T) []string {
	out := []string{"/api/v1"}
	for _, g := range list(at(p.theirs.get(t, "/apis"), "groups")) {
		for _, v := range list(at(g, "versions")) {
			out = append(out, "/apis/"+text(at(v, "groupVersion")))
		}
	}
	return out
}
