package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What differs between any two servers, within strings.
var accidents = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`192\.0\.2\.10:\d+`), "<address>"},
	{regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`), "kube-api-access-*****"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<uid>"},
	{regexp.MustCompile(`(ResourceVersion in (precondition|object meta)): \d+`), "$1: <rv>"},
	{regexp.MustCompile(`resourceVersion="?\d+"?`), "resourceVersion=<rv>"},
	{regexp.MustCompile(`current: \d+`), "current: <rv>"},
	{regexp.MustCompile(`0x[0-9a-f]{6,}`), "<pointer>"},
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`), "<token>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000 UTC( m=[+-][\d.]+)?`), "<time>"},
}

var (
	nodePort = regexp.MustCompile(`:3[0-3]\d{3}/`)
	age      = regexp.MustCompile(`^(\d+[smhdy])+( ago)?$`)
	serviceA = regexp.MustCompile(`^10\.0\.\d+\.\d+$`)
)

// normalise returns what two equal servers would both have said.
func normalise(v any) any { return normaliseAt("", v) }

func normaliseAt(key string, v any) any {
	switch v := v.(type) {
	case object:
		n := make(object, len(v))
		for k, e := range v {
			switch k {
			case "metadata":
				n[k] = metadata(e)
			case "resourceRules", "nonResourceRules": // of a rules review: in no order
				l, ok := normaliseAt(k, e).([]any)
				if ok && key == "status" {
					slices.SortStableFunc(l, func(a, b any) int { return strings.Compare(string(encode(a)), string(encode(b))) })
				}
				if n[k] = any(l); !ok {
					n[k] = e
				}
			case "cells":
				n[k] = cells(e)
			case "nodePort", "healthCheckNodePort":
				if port := fmt.Sprint(e); len(port) == 5 && port >= "30000" && port <= "33999" {
					e = "<port>"
				}
				n[k] = e
			default:
				n[k] = normaliseAt(k, e)
			}
		}
		return n
	case []any:
		n := make([]any, 0, len(v))
		for _, e := range v {
			if strings.HasPrefix(text(e, "metadata", "name")+text(e, "object", "metadata", "name")+text(e, "object", "rows", 0, "object", "metadata", "name"), "proa:") {
				continue // the roles of our own parts
			}
			n = append(n, normaliseAt(key, e))
		}
		return n
	case string:
		if (key == "clusterIP" || key == "clusterIPs") && serviceA.MatchString(v) {
			return "<ip>"
		}
		return accidental(v)
	}
	return v
}

func accidental(s string) string {
	if t, err := time.Parse(time.RFC3339, s); err == nil && time.Since(t).Abs() < 2*time.Hour {
		return "<now>"
	}
	for _, a := range accidents {
		s = a.pattern.ReplaceAllString(s, a.instead)
	}
	return s
}

func metadata(v any) any {
	m, ok := v.(object)
	if !ok {
		return v
	}
	n := clone(m)
	delete(n, "uid")
	delete(n, "creationTimestamp")
	delete(n, "resourceVersion")
	for _, k := range []string{"continue", "deletionTimestamp"} {
		if _, there := n[k]; there {
			n[k] = "<set>"
		}
	}
	if name := text(n, "name"); serviceA.MatchString(name) && !strings.HasPrefix(name, "10.0.77.") && !strings.HasPrefix(name, "10.0.78.") {
		n["name"] = "<ip>" // an allocated IPAddress
	}
	if g := text(n, "generateName"); g != "" && strings.HasPrefix(text(n, "name"), g[:min(len(g), 58)]) {
		n["name"] = g + "*****"
	}
	if managed, ok := n["managedFields"].([]any); ok {
		l := make([]any, len(managed))
		for i, e := range managed {
			l[i] = e
			if o, ok := e.(object); ok {
				o = clone(o)
				delete(o, "time")
				if manager := text(o, "manager"); strings.HasPrefix(manager, "kube-apiserver") || manager == "proa" {
					o["manager"] = "kube-apiserver"
				}
				l[i] = o
			}
		}
		slices.SortStableFunc(l, func(a, b any) int {
			return strings.Compare(text(a, "manager")+text(a, "operation")+text(a, "subresource"), text(b, "manager")+text(b, "operation")+text(b, "subresource"))
		})
		n["managedFields"] = l
	}
	for _, k := range []string{"annotations", "labels", "ownerReferences", "name"} {
		if e, there := n[k]; there {
			n[k] = normaliseAt(k, e)
		}
	}
	return n
}

func cells(v any) any {
	l, ok := v.([]any)
	if !ok {
		return v
	}
	out := make([]any, len(l))
	for i, e := range l {
		out[i] = normaliseAt("cell", e)
		if s, ok := e.(string); ok {
			out[i] = nodePort.ReplaceAllString(accidental(s), ":<port>/")
			if age.MatchString(s) {
				out[i] = "<age>"
			} else if serviceA.MatchString(s) {
				out[i] = "<ip>"
			}
		}
	}
	return out
}

// change at a path, as two normalised objects show it.
type discrepancy struct {
	at     path
	theirs any // nil where it is missing
	ours   any
	how    string // "missing", "extra", "changed"
}

func (d discrepancy) String() string {
	return fmt.Sprintf("%s %s: upstream %s, ours %s", d.at, d.how, brief(d.theirs), brief(d.ours))
}

func brief(v any) string {
	s := string(encode(v))
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// compare lists where two values differ, deepest first found.
func compare(theirs, ours any) []discrepancy {
	var out []discrepancy
	var walk func(at path, a, b any)
	walk = func(at path, a, b any) {
		switch x := a.(type) {
		case object:
			y, ok := b.(object)
			if !ok {
				break
			}
			for _, k := range sortedKeys(x) {
				if e, there := y[k]; there {
					walk(at.with(k), x[k], e)
				} else {
					out = append(out, discrepancy{at.with(k), x[k], nil, "missing"})
				}
			}
			for _, k := range sortedKeys(y) {
				if _, there := x[k]; !there {
					out = append(out, discrepancy{at.with(k), nil, y[k], "extra"})
				}
			}
			return
		case []any:
			y, ok := b.([]any)
			if !ok {
				break
			}
			for i := range min(len(x), len(y)) {
				walk(at.with(i), x[i], y[i])
			}
			for i := len(y); i < len(x); i++ {
				out = append(out, discrepancy{at.with(i), x[i], nil, "missing"})
			}
			for i := len(x); i < len(y); i++ {
				out = append(out, discrepancy{at.with(i), nil, y[i], "extra"})
			}
			return
		case json.Number:
			if y, ok := b.(json.Number); ok && x == y {
				return
			}
		default:
			if a == b {
				return
			}
		}
		out = append(out, discrepancy{at, a, b, "changed"})
	}
	walk(nil, theirs, ours)
	return out
}
