package parity

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// object is one from testdata/objects.
type object struct {
	name string // of the kind and itself, for messages
	kind kind
	// path is the collection's, with the namespace.
	path   string
	body   map[string]any
	status any
}

func (o object) String() string { return o.name }
func (o object) itself() string { return o.path + "/" + text(at(o.body, "metadata", "name")) }
func (o object) json() []byte   { return encode(o.body) }
func (o object) hasStatus() bool {
	return o.status != nil && slices.Contains(o.kind.subresources, "status")
}
func encode(v any) []byte         { b, _ := json.Marshal(v); return b }
func cloned(v map[string]any) any { return mustDecode(encode(v)) }

func mustDecode(data []byte) any {
	var v any
	_ = json.Unmarshal(data, &v)
	return v
}

// kind is one resource of upstream's discovery.
type kind struct {
	groupVersion, kind, resource string
	namespaced                   bool
	verbs                        []string
	subresources                 []string
}

// collection is the path of all its objects, in a namespace or (empty) all.
func (k kind) collection(namespace string) string {
	path := "/apis/" + k.groupVersion
	if k.groupVersion == "v1" {
		path = "/api/v1"
	}
	if k.namespaced && namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + k.resource
}

func (k kind) String() string { return k.groupVersion + "/" + k.resource }

// kinds are all resources of a server's discovery, subresources folded in.
func (s *server) kinds(t *testing.T) []kind {
	paths := []string{"/api/v1"}
	for _, g := range list(at(s.get(t, "/apis"), "groups")) {
		for _, v := range list(at(g, "versions")) {
			paths = append(paths, "/apis/"+text(at(v, "groupVersion")))
		}
	}
	var out []kind
	for _, path := range paths {
		a, err := s.do("GET", path, nil, nil)
		if err != nil || a.status != 200 {
			continue // a remote API that does not answer
		}
		doc, first := parse(t, a.body), len(out)
		for _, r := range list(at(doc, "resources")) {
			name, sub, isSub := strings.Cut(text(at(r, "name")), "/")
			if isSub {
				if i := slices.IndexFunc(out[first:], func(k kind) bool { return k.resource == name }); i >= 0 {
					out[first+i].subresources = append(out[first+i].subresources, sub)
				}
				continue
			}
			k := kind{groupVersion: text(at(doc, "groupVersion")), kind: text(at(r, "kind")), resource: name, namespaced: at(r, "namespaced") == true}
			for _, v := range list(at(r, "verbs")) {
				k.verbs = append(k.verbs, text(v))
			}
			out = append(out, k)
		}
	}
	return out
}

// load reads the named files of testdata/objects; kinds tell their paths.
func load(t *testing.T, kinds []kind, files ...string) []object {
	t.Helper()
	var out []object
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join("testdata", "objects", file+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for i, document := range strings.Split(string(data), "\n---\n") {
			var body map[string]any
			if err := yaml.Unmarshal([]byte(document), &body); err != nil {
				t.Fatalf("%s, document %d: %v", file, i+1, err)
			}
			o := object{body: body, status: body["status"]}
			at := slices.IndexFunc(kinds, func(k kind) bool { return k.groupVersion == text(body["apiVersion"]) && k.kind == text(body["kind"]) })
			if at < 0 {
				t.Fatalf("%s: no kind %v of %v", file, body["kind"], body["apiVersion"])
			}
			o.kind = kinds[at]
			metadata, _ := body["metadata"].(map[string]any)
			o.path = o.kind.collection(text(metadata["namespace"]))
			o.name = fmt.Sprintf("%s %s", o.kind, metadata["name"])
			out = append(out, o)
		}
	}
	return out
}

// young is an age of seconds, which differ between two servers.
var young = regexp.MustCompile(`^(\d+m)?\d+s$`)

// now is a time of this run; those of testdata are of 2024.
var now = regexp.MustCompile(`\b20(2[5-9]|[3-9]\d)-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?Z)?\b`)

var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// normal replaces what differs between any two servers: identities, versions and
// times of writing.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			switch k {
			case "uid", "resourceVersion", "creationTimestamp", "time", "deletionTimestamp":
				if s, ok := e.(string); ok && s != "" && !strings.HasPrefix(s, "2024-") && s != "abc" {
					e = "(" + k + ")"
				}
			}
			out[k] = normal(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = normal(v[i])
		}
		return out
	case string:
		if young.MatchString(v) {
			return "(age)"
		}
		return now.ReplaceAllString(uuid.ReplaceAllString(v, "(uid)"), "(now)")
	}
	return v
}
