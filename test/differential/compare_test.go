package main

import (
	"encoding/json"
	"testing"
)

func decoded(t *testing.T, s string) any {
	t.Helper()
	v, err := decode([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestChange(t *testing.T) {
	const before = `{"a":{"b":[{"c":1},2]}}`
	for _, tt := range []struct {
		name  string
		at    path
		value any
		want  string
		ok    bool
	}{
		{"replace", path{"a", "b", 0, "c"}, "x", `{"a":{"b":[{"c":"x"},2]}}`, true},
		{"add", path{"a", "d"}, json.Number("3"), `{"a":{"b":[{"c":1},2],"d":3}}`, true},
		{"remove", path{"a", "b"}, absent{}, `{"a":{}}`, true},
		{"remove element", path{"a", "b", 0}, absent{}, `{"a":{"b":[2]}}`, true},
		{"twice", path{"a", "b"}, twice{1, 2}, `{"a":{"b":1,"b":2}}`, true},
		{"no way there", path{"x", "y"}, 1, before, false},
		{"the whole", nil, "x", `"x"`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := decoded(t, before)
			got, ok := change(v, tt.at, tt.value)
			if ok != tt.ok || ok && string(encode(got)) != tt.want {
				t.Errorf("got %s, %t", encode(got), ok)
			}
			if string(encode(v)) != before {
				t.Errorf("the original became %s", encode(v))
			}
		})
	}
}

func TestPatches(t *testing.T) {
	o := decoded(t, `{"spec":{"list":[{"name":"a","x":1},{"name":"b"}],"y":1}}`).(object)
	for _, tt := range []struct {
		m                       mutation
		json, merge, strategic_ string
	}{
		{mutation{path{"spec", "y"}, "absent", absent{}}, `[{"op":"remove","path":"/spec/y"}]`, `{"spec":{"y":null}}`, `{"spec":{"y":null}}`},
		{mutation{path{"spec", "list", 0, "x"}, "absent", absent{}}, `[{"op":"remove","path":"/spec/list/0/x"}]`,
			`{"spec":{"list":[{"name":"a"},{"name":"b"}]}}`, `{"spec":{"list":[{"name":"a","x":null}]}}`},
		{mutation{path{"spec", "list", 1, "x/y"}, "", "z"}, `[{"op":"add","path":"/spec/list/1/x~1y","value":"z"}]`,
			`{"spec":{"list":[{"name":"a","x":1},{"name":"b","x/y":"z"}]}}`, `{"spec":{"list":[{"name":"b","x/y":"z"}]}}`},
	} {
		changed, _ := tt.m.apply(o)
		for want, got := range map[string]any{tt.json: jsonPatch(o, changed, tt.m), tt.merge: mergePatch(o, changed, tt.m), tt.strategic_: strategicPatch(o, changed, tt.m)} {
			if string(encode(got)) != want {
				t.Errorf("%s: got %s, want %s", tt.m.at, encode(got), want)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	ok := func(s string) answer { return answer{code: 200, body: decoded(t, s)} }
	status := func(code int, reason, causes string) answer {
		return answer{code: code, body: decoded(t, `{"reason":"`+reason+`","message":"m","details":{"causes":[`+causes+`]}}`)}
	}
	const a, b = `{"field":"spec.a[0]","reason":"R","message":"x"}`, `{"field":"spec.a[0]","reason":"R","message":"y"}`
	for _, tt := range []struct {
		name         string
		theirs, ours answer
		class        class
		signature    string
	}{
		{"equal but for the accidental", ok(`{"metadata":{"uid":"a","name":"n"}}`), ok(`{"metadata":{"uid":"b","name":"n"}}`), same, ""},
		{"object", ok(`{"spec":{"a":[1]}}`), ok(`{"spec":{"a":[2],"b":1}}`), objects, "spec.a[*] changed, spec.b extra"},
		{"accepts", status(422, "Invalid", a), ok(`{}`), accepts, "upstream: spec.a[*] R"},
		{"refuses", ok(`{}`), status(422, "Invalid", a), refuses, "ours: spec.a[*] R"},
		{"reason", status(409, "Conflict", ""), status(409, "AlreadyExists", ""), codes, "409 AlreadyExists instead of 409 Conflict"},
		{"causes", status(422, "Invalid", a), status(422, "Invalid", a+`,{"field":"spec.b","reason":"R"}`), causes, "extra spec.b R"},
		{"messages", status(422, "Invalid", a), status(422, "Invalid", b), messages, "spec.a[0]: x"},
		{"panic", status(422, "Invalid", a), status(500, "InternalError", ""), panics, "500: m"},
		{"warnings", answer{code: 200, warnings: []string{"w"}}, answer{code: 200}, warns, "missing w"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := judge(tt.theirs, tt.ours, nil)
			if v.class != tt.class || generalise(v.signature) != generalise(tt.signature) {
				t.Errorf("got %s, %s", v.class, v.signature)
			}
		})
	}
}
