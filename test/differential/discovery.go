package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// resource is what discovery says of one kind in one version.
type resource struct {
	group, version, name, kind string
	namespaced                 bool
	verbs                      []string
	sub                        []string // names of subresources
	preferred                  bool
}

// id names a resource in reports: "core.pods", "autoscaling.v1.horizontalpodautoscalers"
// for a version that is not the preferred one.
func (r *resource) id() string {
	group := r.group
	if group == "" {
		group = "core"
	}
	if !r.preferred {
		group += "." + r.version
	}
	return group + "." + r.name
}

func (r *resource) apiVersion() string {
	if r.group == "" {
		return r.version
	}
	return r.group + "/" + r.version
}

func (r *resource) can(verb string) bool { return slices.Contains(r.verbs, verb) }

func (r *resource) has(sub string) bool { return slices.Contains(r.sub, sub) }

// collection is the path of all objects in a namespace.
func (r *resource) collection(namespace string) string {
	root := "/apis/" + r.group + "/" + r.version
	if r.group == "" {
		root = "/api/v1"
	}
	if r.namespaced && namespace != "" {
		root += "/namespaces/" + namespace
	}
	return root + "/" + r.name
}

func (r *resource) one(namespace, name string) string { return r.collection(namespace) + "/" + name }

// discover asks for everything that is served.
func discover(ctx context.Context, s *side) ([]*resource, error) {
	var out []*resource
	fetch := func(url, group, version string, preferred bool) error {
		a := s.send(ctx, "GET", url, nil, nil)
		if a.err != nil || a.code != 200 {
			return fmt.Errorf("%s of %s: %d %v", url, s.name, a.code, a.err)
		}
		byName := map[string]*resource{}
		list, _ := get(a.body, path{"resources"})
		entries, _ := list.([]any)
		for _, e := range entries {
			name := text(e, "name")
			if main, sub, ok := strings.Cut(name, "/"); ok {
				if r := byName[main]; r != nil {
					r.sub = append(r.sub, sub)
				}
				continue
			}
			r := &resource{group: group, version: version, name: name, kind: text(e, "kind"), preferred: preferred}
			namespaced, _ := get(e, path{"namespaced"})
			r.namespaced, _ = namespaced.(bool)
			verbs, _ := get(e, path{"verbs"})
			if l, ok := verbs.([]any); ok {
				for _, v := range l {
					r.verbs = append(r.verbs, fmt.Sprint(v))
				}
			}
			byName[name] = r
			out = append(out, r)
		}
		return nil
	}
	if err := fetch("/api/v1", "", "v1", true); err != nil {
		return nil, err
	}
	groups := s.send(ctx, "GET", "/apis", nil, nil)
	list, _ := get(groups.body, path{"groups"})
	entries, _ := list.([]any)
	for _, g := range entries {
		versions, _ := get(g, path{"versions"})
		l, _ := versions.([]any)
		for _, v := range l {
			version := text(v, "version")
			if err := fetch("/apis/"+text(g, "name")+"/"+version, text(g, "name"), version, version == text(g, "preferredVersion", "version")); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
