package parity

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

const (
	tableOf   = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"
	userAgent = "User-Agent: parity"
)

// both sends one request to the two servers and reports every difference of the
// answers; it returns theirs and ours.
func (p *pair) both(t *testing.T, what, method, path string, theirBody, ourBody []byte, headers ...string) (answer, answer) {
	t.Helper()
	headers = append(headers, userAgent)
	theirs, ours := p.theirs.must(t, method, path, theirBody, headers...), p.ours.must(t, method, path, ourBody, headers...)
	where := what + ": " + method
	if theirs.status != ours.status {
		t.Errorf("%s: upstream says %d, ours %d:\n%.500s\n%.500s", where, theirs.status, ours.status, theirs.body, ours.body)
		return theirs, ours
	}
	for _, h := range []string{"Content-Type", "Location", "Warning"} {
		if a, b := theirs.header[h], ours.header[h]; !slices.Equal(a, b) {
			t.Errorf("%s: header %s: upstream %q, ours %q", where, h, a, b)
		}
	}
	report(t, compare(where, normal(parse(t, p.theirs.unported(theirs.body))), normal(parse(t, p.ours.unported(ours.body)))), allowedAnswers())
	return theirs, ours
}

// objects creates every object of testdata at both servers and sets its status.
func (p *pair) objects(t *testing.T) {
	var all []object
	for _, files := range [][]string{{"core", "cluster", "network", "storage", "workloads", "pods"}, {"widgets"}} {
		for _, o := range load(t, p.theirs.kinds(t), files...) {
			theirs, ours := p.both(t, o.name, http.MethodPost, o.path, o.json(), o.json())
			if theirs.status != http.StatusCreated || ours.status != http.StatusCreated {
				t.Errorf("%s: %d %d: %s", o, theirs.status, ours.status, ours.body)
				continue
			}
			all = append(all, o)
		}
		for _, s := range []*server{p.theirs, p.ours} {
			eventually(t, 20e9, s.name+" serves widgets", func() error {
				a, err := s.do("GET", "/apis/parity.example.com/v1/widgets", nil, nil)
				if err == nil && a.status != 200 {
					err = fmt.Errorf("%d", a.status)
				}
				return err
			})
		}
	}
	for _, o := range all {
		if !o.hasStatus() {
			continue
		}
		bodies := [2][]byte{}
		for i, s := range []*server{p.theirs, p.ours} {
			body, _ := s.get(t, o.itself()).(map[string]any)
			body["status"] = o.status
			bodies[i] = encode(body)
		}
		if theirs, _ := p.both(t, o.name+" status", http.MethodPut, o.itself()+"/status", bodies[0], bodies[1]); theirs.status != http.StatusOK {
			t.Errorf("%s: status: %d %s", o, theirs.status, theirs.body)
		}
	}
	t.Logf("%d objects", len(all))
}

// tables compares columns and cells of every kind that can be listed.
func (p *pair) tables(t *testing.T) {
	for _, k := range p.theirs.kinds(t) {
		if slices.Contains(k.verbs, "list") {
			p.both(t, k.String()+" table", http.MethodGet, k.collection(""), nil, nil, tableOf)
			p.both(t, k.String()+" list", http.MethodGet, k.collection(""), nil, nil)
		}
	}
}
