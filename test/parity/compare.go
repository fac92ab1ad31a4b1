package parity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// parse decodes JSON with numbers as they are written.
func parse(t *testing.T, data []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("no JSON: %v: %.200s", err, data)
	}
	return v
}

// at follows keys into nested maps; nil where there is none.
func at(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// difference is one place where two documents are not equal.
type difference struct {
	path         string
	theirs, ours any // absent{} where one has nothing
}

type absent struct{}

func (d difference) String() string {
	show := func(v any) string {
		if v == (absent{}) {
			return "nothing"
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v)
		s := strings.TrimSpace(b.String())
		if len(s) > 700 {
			s = s[:700] + "…"
		}
		return s
	}
	return fmt.Sprintf("%s: upstream %s, ours %s", d.path, show(d.theirs), show(d.ours))
}

// compare lists where two JSON documents differ. Lists whose items all have a
// name are compared by it and for the order of the names, others by index.
func compare(path string, theirs, ours any) []difference {
	switch a := theirs.(type) {
	case map[string]any:
		b, ok := ours.(map[string]any)
		if !ok {
			break
		}
		return compareMaps(path, a, b)
	case []any:
		b, ok := ours.([]any)
		if !ok {
			break
		}
		x, order, ok1 := byName(a)
		y, order2, ok2 := byName(b)
		if ok1 && ok2 && len(a)+len(b) > 0 {
			out := compareMaps(path, x, y)
			// Differences of the set are told above; here only the order of what both have.
			common := func(names []string, other map[string]any) []string {
				return slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := other[n]; return !ok })
			}
			if u, v := common(order, y), common(order2, x); !slices.Equal(u, v) {
				out = append(out, difference{path + " (order)", u, v})
			}
			return out
		}
		var out []difference
		for i := range max(len(a), len(b)) {
			p := fmt.Sprintf("%s[%d]", path, i)
			switch {
			case i >= len(a):
				out = append(out, difference{p, absent{}, b[i]})
			case i >= len(b):
				out = append(out, difference{p, a[i], absent{}})
			default:
				out = append(out, compare(p, a[i], b[i])...)
			}
		}
		return out
	default:
		if theirs == ours {
			return nil
		}
	}
	return []difference{{path, theirs, ours}}
}

func compareMaps(path string, a, b map[string]any) []difference {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	var out []difference
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		x, inA := a[k]
		y, inB := b[k]
		p := path + "." + k
		switch {
		case !inA:
			out = append(out, difference{p, absent{}, y})
		case !inB:
			out = append(out, difference{p, x, absent{}})
		default:
			out = append(out, compare(p, x, y)...)
		}
	}
	return out
}

// byName keys a list of objects by what names them in discovery documents and
// OpenAPI parameters.
func byName(l []any) (map[string]any, []string, bool) {
	out, order := map[string]any{}, []string{}
	for _, v := range l {
		name := ""
		if g, ok := at(v, "group").(string); ok && text(at(v, "kind")) != "" { // a group, version and kind
			name = g + "/" + text(at(v, "version")) + "/" + text(at(v, "kind"))
		}
		for _, key := range []string{"name", "groupVersion", "version", "resource", "subresource"} {
			if s := text(at(v, key)); s != "" && name == "" {
				name = s
				break
			}
		}
		for _, metadata := range []any{at(v, "metadata"), at(v, "object", "metadata")} { // an object, or a table's row
			if s := text(at(metadata, "name")); s != "" {
				name = text(at(metadata, "namespace")) + "/" + s
			}
		}
		if _, again := out[name]; name == "" || again {
			return nil, nil, false
		}
		out[name] = v
		order = append(order, name)
	}
	return out, order, true
}
