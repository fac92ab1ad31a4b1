package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// mutation changes one field of an object.
type mutation struct {
	at    path
	what  string
	value any // absent{} removes, twice doubles
}

func (m mutation) apply(o object) (any, bool) { return change(o, m.at, m.value) }

// group is the field, for sampling.
func (m mutation) group() string {
	if len(m.at) == 0 {
		return "."
	}
	return m.at.generic()
}

var (
	edgeStrings = []string{"", "UPPER.Case_x", strings.Repeat("a", 64), strings.Repeat("b", 254), "-bad-", " ", "1", "a/b", "a.b", "..", "-1",
		"0", "*", "10%", "100m", "ünï", "a\nb", "0.0.0.0", "::1", "True", "5s", "example.com/x", "{x}", "$(X)", "kubernetes.io/x", "2020-01-01T00:00:00Z"}
	edgeNumbers = []string{"0", "-1", "1", "65535", "65536", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "1.5", "101"}
)

// mutations enumerates what can be done to each field of o. Under skip, it does
// nothing; filled is the same kind with every field, to graft from; nil for none.
func (c *corpus) mutations(o object, filled object, skip func(path) bool) []mutation {
	var out []mutation
	add := func(at path, what string, value any) {
		out = append(out, mutation{at, what, value})
	}
	var walk func(at path, v, f any)
	walk = func(at path, v, f any) {
		if skip != nil && skip(at) {
			return
		}
		if len(at) > 0 {
			add(at, "null", nil)
			if _, inList := at[len(at)-1].(int); !inList {
				add(at, "absent", absent{})
				add(at, "duplicate", twice{v, v})
			}
		}
		key := ""
		for i := len(at) - 1; i >= 0 && key == ""; i-- {
			key, _ = at[i].(string)
		}
		switch v := v.(type) {
		case string:
			add(at, "type number", 42)
			add(at, "type object", object{"a": "b"})
			c.strings(key, v, func(what, s string) { add(at, what, s) })
		case json.Number:
			add(at, "type string", "x")
			add(at, "type numeric string", string(v))
			add(at, "type bool", true)
			for _, n := range edgeNumbers {
				if n != string(v) {
					add(at, "number "+n, json.Number(n))
				}
			}
		case bool:
			add(at, "flip", !v)
			add(at, "type string", "true")
			add(at, "type number", 1)
		case object:
			add(at, "type string", "x")
			add(at, "type list", []any{})
			if len(at) > 0 {
				add(at, "empty", object{})
			}
			add(at.with("unknownField"), "unknown field", "x")
			fm, _ := f.(object)
			for _, k := range sortedKeys(v) {
				walk(at.with(k), v[k], fm[k])
			}
			if isStringMap(v, at) {
				for _, k := range []string{"", "Bad Key", strings.Repeat("k", 64), "example.com/x", "/x", "a/b/c", "kubernetes.io/y"} {
					add(at.with(k), "key "+short(k), "x")
				}
				add(at.with("big"), "value long", strings.Repeat("v", 64))
				add(at.with("bad"), "value bad", "not a label value!")
				add(at.with("num"), "value number", 1)
				break
			}
			for _, k := range sortedKeys(fm) {
				if _, there := v[k]; !there {
					c.graft(at.with(k), k, fm[k], add)
				}
			}
		case []any:
			add(at, "type string", "x")
			add(at, "type object", object{})
			add(at, "empty", []any{})
			fl, _ := f.([]any)
			var fe any
			if len(fl) > 0 {
				fe = fl[0]
			}
			for i, e := range v {
				walk(at.with(i), e, fe)
			}
			if len(v) > 0 {
				add(at, "repeat first", append(slices.Clone(v), v[0]))
				if len(v) > 1 {
					turned := slices.Clone(v)
					slices.Reverse(turned)
					add(at, "reverse", turned)
				}
				add(at, "drop last", v[:len(v)-1])
			}
			if fe != nil {
				add(at, "append filled", append(slices.Clone(v), fe))
			}
			add(at, "append null", append(slices.Clone(v), nil))
			if len(v) > 0 {
				many := make([]any, 0, 130)
				for range 130 {
					many = append(many, v[0])
				}
				add(at, "repeat 130", many)
			}
		}
	}
	var f any
	if filled != nil {
		f = filled
	}
	walk(nil, o, f)
	return out
}

// graft puts a field that the object lacks into it.
func (c *corpus) graft(at path, key string, f any, add func(path, string, any)) {
	add(at, "graft", f)
	switch f := f.(type) {
	case string:
		c.strings(key, "", func(what, s string) { add(at, "graft "+what, s) })
	case json.Number:
		for _, n := range edgeNumbers {
			add(at, "graft number "+n, json.Number(n))
		}
	case bool:
		add(at, "graft flip", !f)
	case object:
		add(at, "graft empty", object{})
		for _, k := range sortedKeys(f) { // one field alone: unions
			add(at, "graft only "+k, object{k: f[k]})
			switch e := f[k].(type) {
			case string:
				c.strings(k, "", func(what, s string) { add(at, "graft only "+k+" "+what, object{k: s}) })
			case json.Number:
				for _, n := range []string{"0", "-1", "1"} {
					add(at, "graft only "+k+" "+n, object{k: json.Number(n)})
				}
			case object:
				add(at, "graft only "+k+" empty", object{k: object{}})
				for _, kk := range sortedKeys(e) {
					add(at, "graft only "+k+"."+kk, object{k: object{kk: e[kk]}})
				}
			}
			add(at, "graft all but "+k, without(f, k))
		}
	case []any:
		add(at, "graft empty", []any{})
		if len(f) > 0 {
			add(at, "graft two", []any{f[0], f[0]})
			if e, ok := f[0].(object); ok {
				add(at, "graft empty element", []any{object{}})
				for _, k := range sortedKeys(e) {
					add(at, "graft list only "+k, []any{object{k: e[k]}})
				}
			} else if _, ok := f[0].(string); ok {
				c.strings(key, "", func(what, s string) { add(at, "graft list "+what, []any{s}) })
			}
		}
	}
}

// strings are what a string under key may be replaced with.
func (c *corpus) strings(key, old string, add func(what, s string)) {
	for _, s := range edgeStrings {
		if s != old {
			add("string "+short(s), s)
		}
	}
	words := c.words[key]
	step := max(1, len(words)/12)
	for i := 0; i < len(words); i += step {
		if words[i] != old && !slices.Contains(edgeStrings, words[i]) {
			add("word "+short(words[i]), words[i])
		}
	}
	if old != "" {
		if up := strings.ToUpper(old); up != old {
			add("upper-case", up)
		}
		add("with space", old+" ")
		add("longer", old+strings.Repeat("x", 64))
	}
}

func short(s string) string {
	if len(s) > 24 {
		return fmt.Sprintf("%q…(%d)", s[:12], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// isStringMap guesses that an object is a map with keys of the user's.
func isStringMap(o object, at path) bool {
	for _, v := range o {
		switch v.(type) {
		case object, []any:
			return false
		}
	}
	key := ""
	if len(at) > 0 {
		key, _ = at[len(at)-1].(string)
	}
	switch key {
	case "labels", "annotations", "matchLabels", "nodeSelector", "selector", "data", "stringData", "binaryData", "requests", "limits",
		"hard", "capacity", "allocatable", "parameters", "overhead", "volumeAttributes", "options", "max", "min", "default", "defaultRequest", "used", "attributes", "extra":
		return true
	}
	return false
}
