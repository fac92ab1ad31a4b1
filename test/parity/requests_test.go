package parity

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fieldLabels are keys that some kind selects by, and some that none does.
func fieldLabels() []string {
	return strings.Fields(`metadata.name metadata.namespace metadata.uid metadata.labels name namespace
		spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork spec.host
		spec.unschedulable spec.clusterIP spec.type spec.signerName spec.podName spec.volumeName spec.group spec.version
		spec.driver spec.pool.name spec.schedulingGroup.podGroupName spec.parentRef.name spec.color spec.replicas
		spec.selector spec.attacher spec.controller spec.service.name
		status.phase status.podIP status.podIPs status.nominatedNodeName status.hostIP status.replicas status.successful
		status.active type reason source message count action reportingComponent reportingController
		involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid involvedObject.apiVersion
		involvedObject.resourceVersion involvedObject.fieldPath regarding.kind regarding.namespace regarding.name
		regarding.uid regarding.apiVersion regarding.resourceVersion regarding.fieldPath deprecatedSource.component
		roleRef.name roleRef.kind roleRef.apiGroup subjects driverName provisioner handler value`)
}

// selectableFields compares, for every kind, which field selectors are good, and
// what is said of the others.
func (p *pair) selectableFields(t *testing.T) {
	good := 0
	for _, k := range p.theirs.kinds(t) {
		if !slices.Contains(k.verbs, "list") || k.resource == "componentstatuses" {
			continue
		}
		for _, label := range fieldLabels() {
			path := k.collection("") + "?limit=1&fieldSelector=" + url.QueryEscape(label+"=nothing-has-this")
			theirs, ours := p.theirs.must(t, http.MethodGet, path, nil), p.ours.must(t, http.MethodGet, path, nil)
			if theirs.status != ours.status {
				t.Errorf("%s: selector %s: upstream says %d, ours %d", k, label, theirs.status, ours.status)
			}
			if theirs.status != http.StatusOK {
				report(t, compare(k.String()+" "+label, parse(t, theirs.body), parse(t, ours.body)), nil)
				continue
			}
			good++
		}
	}
	t.Logf("%d good selectors", good)
}

// deletions deletes what was created, one by one, and compares the answers.
func (p *pair) deletions(t *testing.T) {
	all := load(t, p.theirs.kinds(t), "widgets", "pods", "workloads", "storage", "network", "cluster", "core")
	for _, o := range all {
		if o.kind.kind == "Namespace" {
			continue
		}
		p.both(t, o.name, http.MethodDelete, o.itself(), nil, nil)
		if o.kind.kind != "CustomResourceDefinition" { // goes when its objects are gone
			p.both(t, o.name+" afterwards", http.MethodGet, o.itself(), nil, nil)
		}
	}
	p.both(t, "namespace", http.MethodDelete, "/api/v1/namespaces/parity-terminating", nil, nil)
	p.both(t, "collection", http.MethodDelete, "/api/v1/namespaces/parity/configmaps", nil, nil)
	t.Logf("%d deletions", len(all))
}

// kubectl compares what kubectl prints.
func (p *pair) kubectl(t *testing.T) {
	seconds := regexp.MustCompile(`\b(\d+m)?\d+s\b *`)
	for _, args := range []string{"api-resources -o wide", "api-versions", "get all -n parity -o wide", "get all,ingress,pvc,pdb,cm,secret,sa,role,rolebinding,ep,endpointslices,leases,netpol,events -n parity", "get nodes,pv,sc,priorityclasses,ingressclass,csinodes,csidrivers,runtimeclass -o wide"} {
		out := func(s *server) string {
			cmd := exec.Command(bin(t, "tools/kubectl"), append(strings.Fields(args), "--server", s.url, "--token", token, "--insecure-skip-tls-verify", "--cache-dir", filepath.Join(t.TempDir(), "cache"))...)
			cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null")
			b, err := cmd.CombinedOutput()
			if err != nil && !strings.Contains(args, "api-resources") {
				t.Errorf("%s: kubectl %s: %v\n%s", s.name, args, err, b)
			}
			return uuid.ReplaceAllString(seconds.ReplaceAllString(string(s.unported(b)), "(age) "), "(uid)")
		}
		theirs, ours := strings.Split(out(p.theirs), "\n"), strings.Split(out(p.ours), "\n")
		for _, line := range theirs {
			if !slices.Contains(ours, line) {
				t.Errorf("kubectl %s: only upstream: %s", args, line)
			}
		}
		for _, line := range ours {
			if !slices.Contains(theirs, line) {
				t.Errorf("kubectl %s: only ours: %s", args, line)
			}
		}
	}
}
