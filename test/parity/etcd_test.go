package parity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stored compares keys and values of both stores, identities and times apart.
func (p *pair) stored(t *testing.T) {
	theirs, ours := p.keys(t, p.theirStore), p.keys(t, p.ourStore)
	same := 0
	for _, key := range slices.Sorted(maps.Keys(theirs)) {
		if permitted(difference{path: key}, allowedKeys()) {
			continue
		}
		value, ok := ours[key]
		if !ok {
			t.Errorf("%s: not in our store", key)
			continue
		}
		a, err := anonymous(theirs[key])
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		b, err := anonymous(value)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if json.Valid(a) && json.Valid(b) {
			report(t, compare(key, normal(parse(t, a)), normal(parse(t, b))), nil)
		} else if !bytes.Equal(a, b) {
			t.Errorf("%s:\nupstream %q\nours     %q", key, a, b)
		}
		same++
	}
	for key := range ours {
		if _, ok := theirs[key]; !ok && !permitted(difference{path: key}, allowedKeys()) {
			t.Errorf("%s: only in our store", key)
		}
	}
	t.Logf("%d values", same)
}

func (p *pair) keys(t *testing.T, s *store) map[string][]byte {
	t.Helper()
	keys, err := s.get("/registry/")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// crossRead lets each kind of server read the other's store.
func (p *pair) crossRead(t *testing.T) {
	t.Run("ours reads upstream's", func(t *testing.T) {
		sameObjects(t, p.theirs, newServer(t, "ours on upstream's store", ours(t), p.theirStore))
	})
	t.Run("upstream reads ours", func(t *testing.T) {
		sameObjects(t, newServer(t, "upstream on our store", upstream(t), p.ourStore), p.ours)
	})
}

// sameObjects compares all objects as two servers on one store show them.
func sameObjects(t *testing.T, theirs, ours *server) {
	eventually(t, 20e9, "both serve widgets", func() error {
		for _, s := range []*server{theirs, ours} {
			a, err := s.do("GET", "/apis/parity.example.com/v1/widgets", nil, nil)
			if err == nil && a.status != 200 {
				err = fmt.Errorf("%s: %d", s.name, a.status)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	objects := 0
	for _, k := range theirs.kinds(t) {
		if !slices.Contains(k.verbs, "list") || k.resource == "componentstatuses" {
			continue
		}
		a, b := theirs.get(t, k.collection("")), ours.get(t, k.collection(""))
		objects += len(list(at(a, "items")))
		report(t, compare(k.String(), at(a, "items"), at(b, "items")), allowedCrossRead())
	}
	t.Logf("%d objects", objects)
}

// samples writes the filled objects of k8s.io/api's own compatibility tests to both
// stores, as they are, and compares how the servers show them; known are keys of
// objects of every kind.
func (p *pair) samples(t *testing.T, known map[string][]byte) {
	out, err := exec.Command("go", "-C", filepath.Join("..", ".."), "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatalf("go list k8s.io/api: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "testdata", "v1.36.0")
	written := 0
	for _, k := range p.theirs.kinds(t) {
		group, version, ok := strings.Cut(k.groupVersion, "/")
		if !ok {
			group, version = "core", k.groupVersion
		}
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%s.%s.%s.pb", group, version, k.kind)))
		if err != nil || !slices.Contains(k.verbs, "watch") {
			continue // custom resources and what is not stored
		}
		prefix := prefixOf(known, k)
		if prefix == "" {
			t.Errorf("%s: no key is known", k)
			continue
		}
		key, path := prefix+"nameValue", k.collection("")+"/nameValue"
		if k.namespaced {
			key, path = prefix+"namespaceValue/nameValue", k.collection("namespaceValue")+"/nameValue"
		}
		for _, s := range []*store{p.theirStore, p.ourStore} {
			if err := s.put(key, data); err != nil {
				t.Fatal(err)
			}
		}
		for _, headers := range [][]string{nil, {tableOf}} {
			eventually(t, 5e9, path, func() error {
				for _, s := range []*server{p.theirs, p.ours} {
					if a, err := s.do(http.MethodGet, path, nil, headers); err != nil || a.status != http.StatusOK {
						return fmt.Errorf("%s: %d %s %w", s.name, a.status, a.body, err)
					}
				}
				return nil
			})
			p.both(t, k.String()+" sample", http.MethodGet, path, nil, nil, headers...)
		}
		written++
	}
	t.Logf("%d samples", written)
}

// prefixOf is where objects of a kind are kept, found by one that was created.
func prefixOf(keys map[string][]byte, k kind) string {
	for _, prefix := range []string{k.resource, "services/" + strings.Replace(k.resource, "services", "specs", 1), "minions", "controllers", "ingress"} {
		special := map[string]string{"minions": "nodes", "controllers": "replicationcontrollers", "ingress": "ingresses", "services/specs": "services", "services/endpoints": "endpoints"}
		if of, ok := special[prefix]; ok && of != k.resource || !ok && prefix != k.resource {
			continue
		}
		group, _, _ := strings.Cut(k.groupVersion, "/")
		for _, full := range []string{"/registry/" + prefix + "/", "/registry/" + group + "/" + prefix + "/"} {
			for key := range keys {
				if rest, ok := strings.CutPrefix(key, full); ok && strings.Count(rest, "/") == map[bool]int{true: 1}[k.namespaced] && rest != "" {
					return full
				}
			}
		}
	}
	return ""
}
