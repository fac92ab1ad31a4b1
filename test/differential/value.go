package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object; values are decoded with json.Number.
type object = map[string]any

// twice is a value that is encoded under its key two times.
type twice struct{ first, second any }

// raw is encoded as it stands.
type raw string

// path leads to a value: strings are keys, ints are indices.
type path []any

func (p path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch s := s.(type) {
		case string:
			if strings.ContainsAny(s, ".[]/") {
				fmt.Fprintf(&b, "[%s]", s)
				continue
			}
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s)
		case int:
			fmt.Fprintf(&b, "[%d]", s)
		}
	}
	return b.String()
}

// generic is the path with indices forgotten.
func (p path) generic() string {
	q := slices.Clone(p)
	for i, s := range q {
		if _, ok := s.(int); ok {
			q[i] = "[*]"
		}
	}
	return strings.ReplaceAll(q.String(), "[[*]]", "[*]")
}

func (p path) with(s any) path { return append(slices.Clone(p), s) }

// decode reads JSON with exact numbers.
func decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// encode writes JSON with sorted keys; twice and raw as they say.
func encode(v any) []byte {
	var b bytes.Buffer
	encodeTo(&b, v)
	return b.Bytes()
}

func encodeTo(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case raw:
		b.WriteString(string(v))
	case int:
		b.WriteString(strconv.Itoa(v))
	case json.Number:
		b.WriteString(string(v))
	case object:
		b.WriteByte('{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				b.WriteByte(',')
			}
			name, _ := json.Marshal(k)
			b.Write(name)
			b.WriteByte(':')
			if t, ok := v[k].(twice); ok {
				encodeTo(b, t.first)
				b.WriteByte(',')
				b.Write(name)
				b.WriteByte(':')
				encodeTo(b, t.second)
				continue
			}
			encodeTo(b, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			encodeTo(b, e)
		}
		b.WriteByte(']')
	default:
		var s bytes.Buffer
		e := json.NewEncoder(&s)
		e.SetEscapeHTML(false)
		_ = e.Encode(v)
		b.Write(bytes.TrimSpace(s.Bytes()))
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// get returns the value at p.
func get(v any, p path) (any, bool) {
	for _, s := range p {
		switch s := s.(type) {
		case string:
			m, ok := v.(object)
			if !ok {
				return nil, false
			}
			if v, ok = m[s]; !ok {
				return nil, false
			}
		case int:
			l, ok := v.([]any)
			if !ok || s >= len(l) {
				return nil, false
			}
			v = l[s]
		}
	}
	return v, true
}

// absent is what change sets to remove a field.
type absent struct{}

// change returns v with the value at p replaced; v itself stays as it is. ok is
// false when the way to p is not there.
func change(v any, p path, value any) (out any, ok bool) {
	if len(p) == 0 {
		return value, true
	}
	switch s := p[0].(type) {
	case string:
		m, isMap := v.(object)
		if !isMap {
			return v, false
		}
		child, there := m[s]
		if !there && len(p) > 1 {
			return v, false
		}
		if _, remove := value.(absent); remove && len(p) == 1 {
			n := clone(m)
			delete(n, s)
			return n, there
		}
		child, ok = change(child, p[1:], value)
		n := clone(m)
		n[s] = child
		return n, ok
	case int:
		l, isList := v.([]any)
		if !isList || s >= len(l) {
			return v, false
		}
		if _, remove := value.(absent); remove && len(p) == 1 {
			return slices.Delete(slices.Clone(l), s, s+1), true
		}
		child, ok := change(l[s], p[1:], value)
		n := slices.Clone(l)
		n[s] = child
		return n, ok
	}
	return v, false
}

func clone(m object) object {
	n := make(object, len(m)+1)
	for k, v := range m {
		n[k] = v
	}
	return n
}

// text returns a string field, "" if it is not there.
func text(v any, keys ...any) string {
	s, _ := get(v, keys)
	t, _ := s.(string)
	return t
}

// with is change for fields whose parents may be missing.
func with(v any, value any, keys ...string) any {
	m, _ := v.(object)
	if len(keys) == 0 {
		return value
	}
	n := clone(m)
	n[keys[0]] = with(n[keys[0]], value, keys[1:]...)
	return n
}

func without(v any, keys ...any) any {
	out, _ := change(v, keys, absent{})
	return out
}
