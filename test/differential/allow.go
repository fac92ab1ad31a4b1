package main

import (
	"fmt"
	"os"
	"regexp"

	"sigs.k8s.io/yaml"
)

// exception is an entry of allow.yaml: every pattern that is there must match.
type exception struct {
	// Reason says why upstream 1.36 and we differ rightly.
	Reason string `json:"reason"`
	// Kind, Category, Class, Request, Upstream and Ours are regular expressions:
	// of the resource ("core.pods"), the case's category, the class, the method and
	// path with the changed field, and of what the two sides said.
	Kind     string `json:"kind,omitempty"`
	Category string `json:"category,omitempty"`
	Class    string `json:"class,omitempty"`
	Request  string `json:"request,omitempty"`
	// Detail matches any line of what differs; all lines if Every.
	Detail string `json:"detail,omitempty"`
	Every  bool   `json:"every,omitempty"`

	// Cause makes an entry of another sort: causes of both sides ("field reason")
	// that match it are not compared where both sides give one.
	Cause string `json:"cause,omitempty"`

	cause, kind, category, class, request, detail *regexp.Regexp
	used                                          int
}

func loadExceptions(file string) ([]*exception, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []*exception
	if err := yaml.UnmarshalStrict(data, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i, e := range out {
		if e.Reason == "" {
			return nil, fmt.Errorf("%s: entry %d has no reason", file, i)
		}
		for _, p := range []struct {
			text string
			to   **regexp.Regexp
		}{{e.Cause, &e.cause}, {e.Kind, &e.kind}, {e.Category, &e.category}, {e.Class, &e.class}, {e.Request, &e.request}, {e.Detail, &e.detail}} {
			if *p.to, err = regexp.Compile("(?s)" + p.text); err != nil {
				return nil, fmt.Errorf("%s: entry %d: %w", file, i, err)
			}
		}
	}
	return out, nil
}

// drop returns a Status without the causes that match.
func (e *exception) drop(status any) (any, bool) {
	v, ok := get(status, path{"details", "causes"})
	l, isList := v.([]any)
	if !ok || !isList {
		return status, false
	}
	kept := make([]any, 0, len(l))
	for _, c := range l {
		if !e.cause.MatchString(text(c, "field") + " " + text(c, "reason")) {
			kept = append(kept, c)
		}
	}
	return with(status, kept, "details", "causes"), len(kept) < len(l)
}

// sameCauses are the entries for causes.
func sameCauses(all []*exception) (out []*exception) {
	for _, e := range all {
		if e.Cause != "" {
			out = append(out, e)
		}
	}
	return out
}

// allows says whether an entry covers the verdict.
func (e *exception) allows(t *testCase, v verdict) bool {
	if e.Cause != "" || !e.kind.MatchString(t.kind) || !e.category.MatchString(t.category) || !e.class.MatchString(string(v.class)) ||
		!e.request.MatchString(t.method+" "+t.url+" "+t.at+" "+t.what) {
		return false
	}
	if e.Detail == "" {
		return true
	}
	matched := 0
	for _, d := range v.detail {
		if e.detail.MatchString(d) {
			matched++
		}
	}
	if e.Every {
		return matched == len(v.detail)
	}
	return matched > 0
}
