package parity

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// openapi compares the documents of both OpenAPI versions, descriptions apart.
func (p *pair) openapi(t *testing.T) {
	allowed, err := allowedSchemas()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	same := func(t *testing.T, path string) {
		theirs, ours := p.theirs.get(t, path), p.ours.get(t, path)
		for _, d := range compare("", undescribed(theirs), undescribed(ours)) {
			_, schema, ok := strings.Cut(d.path, ".components.schemas.")
			if !ok {
				_, schema, ok = strings.Cut(d.path, ".definitions.")
			}
			switch {
			case d.path == ".info.version": // each tells its own
			case ok && allowed[schema]:
				used[schema] = true
			default:
				t.Error(d)
			}
		}
	}
	paths, _ := at(p.theirs.get(t, "/openapi/v3"), "paths").(map[string]any)
	have, _ := at(p.ours.get(t, "/openapi/v3"), "paths").(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if have[path] == nil {
			t.Errorf("/openapi/v3 has no %s", path)
			continue
		}
		t.Run(path, func(t *testing.T) { same(t, "/openapi/v3/"+path) })
	}
	for path := range have {
		if paths[path] == nil {
			t.Errorf("/openapi/v3 has %s, upstream's has not", path)
		}
	}
	t.Run("v2", func(t *testing.T) { same(t, "/openapi/v2") })
	for schema := range allowed {
		if !used[schema] {
			t.Errorf("testdata/schemas-1.37.txt: %s is no difference", schema)
		}
	}
	t.Logf("%d documents, %d listed differences of schemas", len(paths)+1, len(used))
}

// undescribed drops the descriptions, which change with every minor version, and
// what 1.37's generator no longer writes: the defaults of the elements of lists
// and maps, whose references need no allOf then.
func undescribed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if _, isText := e.(string); k == "description" && isText {
				continue
			}
			out[k] = undescribed(e)
			if schema, ok := out[k].(map[string]any); ok && (k == "items" || k == "additionalProperties") {
				out[k] = element(schema)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = undescribed(v[i])
		}
		return out
	}
	return v
}

// element is the schema of an element without its default.
func element(schema map[string]any) map[string]any {
	delete(schema, "default")
	if all := list(schema["allOf"]); len(schema) == 1 && len(all) == 1 {
		if ref, ok := all[0].(map[string]any); ok {
			return ref
		}
	}
	return schema
}
