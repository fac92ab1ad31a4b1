package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// lively is a base under the name that it has as a live object, with what may
// exist only once (groups, addresses, ports) exchanged.
func lively(o object) object {
	before := text(o, "metadata", "name")
	s := strings.NewReplacer("diff.example.com", "live.example.com", "10.0.77.", "10.0.78.", "10.9.77.", "10.9.78.", "30077", "30078", "2001:db8:77:", "2001:db8:78:").Replace(string(encode(o)))
	v, err := decode([]byte(s))
	if err != nil {
		return o
	}
	n := v.(object)
	if name := text(n, "metadata", "name"); name == before {
		n = with(n, "live-"+name, "metadata", "name").(object)
	}
	return n
}

// seed creates the prerequisites and the live objects on both sides. What only
// one of them takes becomes a case.
func seed(ctx context.Context, c *corpus, resources []*resource, sides [2]*side) ([]outcome, error) {
	byGVK := map[string]*resource{}
	for _, r := range resources {
		byGVK[r.apiVersion()+"/"+r.kind] = r
	}
	docs, err := documents(filepath.Join("testdata", "prerequisites.yaml"))
	if err != nil {
		return nil, err
	}
	var out []outcome
	both := func(t *testCase) [2]answer {
		var a [2]answer
		for i, s := range sides {
			body, _ := t.body(s)
			a[i] = s.send(ctx, t.method, t.url, t.header, body)
		}
		out = append(out, outcome{testCase: t, answers: a})
		return a
	}
	for _, d := range docs {
		r := byGVK[gvk(d)]
		if r == nil {
			return nil, fmt.Errorf("prerequisites: upstream serves no %s", gvk(d))
		}
		namespaces := []string{""}
		if r.namespaced {
			namespaces = []string{"diff", "live"}
		}
		for _, ns := range namespaces {
			o := placed(d, r, ns)
			a := both(&testCase{kind: r.id(), category: "seed", base: text(d, "metadata", "name"), what: "prerequisite", method: "POST", url: r.collection(ns), body: fixed(o)})
			if a[0].code >= 300 {
				return nil, fmt.Errorf("prerequisite %s %s: upstream says %s", gvk(d), text(d, "metadata", "name"), describe(a[0].code, a[0].body))
			}
		}
	}
	time.Sleep(200 * time.Millisecond) // for the admission plugins' informers
	type created struct {
		f    ref
		body object
	}
	var all []created
	for _, r := range resources {
		for _, b := range c.bases[r.apiVersion()+"/"+r.kind] {
			if !b.rich || !r.can("create") || !r.can("get") {
				continue
			}
			o := lively(placed(b.obj, r, "live"))
			f := ref{r, text(o, "metadata", "name"), b, "live"}
			both(&testCase{kind: r.id(), category: "seed", base: b.name, what: "create", method: "POST", url: r.collection("live") + "?fieldManager=differential", body: fixed(o)})
			all = append(all, created{f, o})
		}
	}
	// Statuses of what is there, as a controller would write them.
	for _, e := range all {
		status, there := e.body["status"]
		if !there || !e.f.r.has("status") {
			continue
		}
		both(&testCase{kind: e.f.r.id(), category: "seed", base: e.f.base.name, what: "status", method: "PATCH", url: e.f.url() + "/status?fieldManager=controller",
			header: map[string]string{"Content-Type": "application/merge-patch+json"}, body: fixed(object{"status": status})})
	}
	time.Sleep(3 * time.Second) // for the servers' own controllers: CRDs, API services
	for _, e := range all {
		t := &testCase{kind: e.f.r.id(), category: "seed", base: e.f.base.name, what: "get", method: "GET", url: e.f.url(), body: func(*side) ([]byte, bool) { return nil, true }}
		a := both(t)
		for i, s := range sides {
			if o, ok := a[i].body.(object); ok && a[i].code == 200 {
				s.live[e.f.key()] = o
			}
		}
	}
	return out, nil
}
