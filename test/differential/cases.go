package main

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// testCase is one request that both sides get.
type testCase struct {
	kind, category string
	base           string // what it was made of
	at, what       string // the changed field, and how
	method, url    string
	header         map[string]string
	// body makes the request's body for a side; nil for none. It is not ok when the
	// side lacks what it is made of.
	body func(*side) ([]byte, bool)
	// group is what sampling treats equally: a field.
	group string
}

// id names the case, independently of the others.
func (t *testCase) id() string {
	h := fnv.New64a()
	for _, s := range []string{t.kind, t.category, t.base, t.at, t.what, t.method, t.url, fmt.Sprint(t.header)} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// builder makes cases.
type builder struct {
	corpus    *corpus
	upstream  *side
	resources []*resource
	rng       *rand.Rand
	out       []*testCase
}

func fixed(o object) func(*side) ([]byte, bool) {
	return func(*side) ([]byte, bool) { return encode(o), true }
}

// placed is the base as an object of namespace.
func placed(o object, r *resource, namespace string) object {
	if !r.namespaced {
		if _, ok := get(o, path{"metadata", "namespace"}); ok {
			return without(o, "metadata", "namespace").(object)
		}
		return o
	}
	if _, ok := get(o, path{"metadata"}); !ok {
		return o
	}
	if m, _ := get(o, path{"metadata"}); m == nil {
		return o
	}
	return with(o, namespace, "metadata", "namespace").(object)
}

var validations = []string{"", "", "", "", "&fieldValidation=Strict", "&fieldValidation=Ignore", "&fieldValidation=Warn"}

// modeOf chooses a field validation mode, of which unknown fields get all.
func modeOf(t *testCase, rng *rand.Rand) int {
	if strings.Contains(t.what, "unknown") || strings.Contains(t.what, "duplicate") {
		return 3 + rng.IntN(4)
	}
	return rng.IntN(len(validations))
}

func under(p path, keys ...string) bool {
	for i, k := range keys {
		if i >= len(p) || p[i] != any(k) {
			return false
		}
	}
	return true
}

// cases makes all of one resource.
func (b *builder) cases(r *resource) {
	bases := b.corpus.bases[r.apiVersion()+"/"+r.kind]
	if r.can("create") {
		b.creates(r, bases)
	}
	for ref := range b.liveOf(r) {
		b.changes(r, ref)
	}
	if r.can("list") && r.name != "componentstatuses" { // which shows what listens on this machine, in any order
		b.reads(r)
	}
	if r.can("delete") {
		b.deletes(r)
	}
}

// creates sends every base, and mutations of some.
func (b *builder) creates(r *resource, bases []base) {
	manifests := 0
	b.rng.Shuffle(len(bases), func(i, j int) {
		if !bases[i].rich && !bases[j].rich {
			bases[i], bases[j] = bases[j], bases[i]
		}
	})
	for _, base := range bases {
		o := placed(base.obj, r, "diff")
		url := r.collection("diff") + "?dryRun=All&fieldManager=differential"
		for _, v := range []string{"", "&fieldValidation=Strict"} {
			b.add(&testCase{kind: r.id(), category: "create", base: base.name, what: "as it is" + v, method: "POST", url: url + v, body: fixed(o)})
		}
		var filled object
		switch {
		case base.rich:
			filled = b.corpus.filled[r.apiVersion()+"/"+r.kind]
		case strings.HasPrefix(base.name, "HEAD/"):
		default:
			if manifests++; manifests > 6 {
				continue
			}
		}
		for _, m := range b.corpus.mutations(o, filled, func(p path) bool {
			return under(p, "apiVersion") || under(p, "kind") || len(p) > 1 && under(p, "status") || len(p) > 2 && under(p, "metadata", "managedFields")
		}) {
			group := m.group()
			if !base.rich {
				group = base.name[:4] // one share for all fields of what is mostly invalid
			}
			b.add(&testCase{kind: r.id(), category: "create", base: base.name, at: m.at.generic(), what: m.what, method: "POST", url: url, group: group,
				body: func(*side) ([]byte, bool) {
					n, ok := m.apply(o)
					return encode(n), ok
				}})
		}
	}
}

func (b *builder) add(t *testCase) { b.out = append(b.out, t) }

// ref names a live object.
type ref struct {
	r         *resource
	name      string
	base      base
	namespace string
}

func (f ref) key() string { return f.r.id() + "/" + f.name }

func (f ref) url() string { return f.r.one(f.namespace, f.name) }

// liveOf yields the live objects of a resource.
func (b *builder) liveOf(r *resource) func(func(ref) bool) {
	return func(yield func(ref) bool) {
		for _, base := range b.corpus.bases[r.apiVersion()+"/"+r.kind] {
			if !base.rich {
				continue
			}
			o := lively(base.obj)
			f := ref{r, text(o, "metadata", "name"), base, "live"}
			if _, ok := b.upstream.live[f.key()]; ok && !yield(f) {
				return
			}
		}
	}
}

// current is a live object as a client would send it back.
func current(s *side, f ref) (object, bool) {
	o, ok := s.live[f.key()]
	if !ok {
		return nil, false
	}
	return without(o, "metadata", "managedFields").(object), true
}

// changes sends updates and patches of a live object.
func (b *builder) changes(r *resource, f ref) {
	o, _ := current(b.upstream, f)
	filled := b.corpus.filled[r.apiVersion()+"/"+r.kind]
	spec := func(p path) bool {
		return under(p, "apiVersion") || under(p, "kind") || len(p) > 1 && under(p, "status")
	}
	ms := b.corpus.mutations(o, filled, spec)
	ofOneSide := func(m mutation) bool { return ofOneSide(o, m) }
	ms = slices.DeleteFunc(ms, ofOneSide)
	if r.can("update") {
		b.puts(r, f, "update", "", ms)
	}
	if r.can("patch") {
		b.patches(r, f, "", ms)
		apply := b.corpus.mutations(lively(placed(f.base.obj, r, "live")), filled, spec)
		b.applies(r, f, "", apply)
	}
	if r.has("status") {
		if _, there := o["status"]; !there {
			o = with(o, object{}, "status").(object)
		}
		ms := b.corpus.mutations(o, filled, func(p path) bool {
			return len(p) > 0 && !under(p, "status") && !(under(p, "spec") && len(p) == 1) && !(under(p, "metadata") && len(p) <= 2)
		})
		ms = slices.DeleteFunc(ms, ofOneSide)
		b.puts(r, f, "status", "/status", ms)
		var few []mutation
		for _, m := range ms {
			if under(m.at, "status") {
				few = append(few, m)
			}
		}
		b.patches(r, f, "/status", few)
	}
}

// ofOneSide says whether a mutation would carry upstream's UID or version to us.
func ofOneSide(o object, m mutation) bool {
	t, doubled := m.value.(twice)
	if !doubled {
		t.first = m.value
	}
	return bytes.Contains(encode([]any{t.first}), []byte(text(o, "metadata", "uid"))) || doubled && under(m.at, "metadata", "resourceVersion")
}

func (b *builder) puts(r *resource, f ref, category, sub string, ms []mutation) {
	url := f.url() + sub + "?dryRun=All&fieldManager=differential"
	b.add(&testCase{kind: r.id(), category: category, base: f.base.name, what: "as it is", method: "PUT", url: url,
		body: func(s *side) ([]byte, bool) { o, ok := current(s, f); return encode(o), ok }})
	for _, m := range ms {
		b.add(&testCase{kind: r.id(), category: category, base: f.base.name, at: m.at.generic(), what: m.what, method: "PUT", url: url, group: m.group(),
			body: func(s *side) ([]byte, bool) {
				o, ok := current(s, f)
				if !ok {
					return nil, false
				}
				changed, ok := m.apply(o)
				return encode(changed), ok
			}})
	}
}

// patches sends the same changes as JSON patch, merge patch and strategic merge patch.
func (b *builder) patches(r *resource, f ref, sub string, ms []mutation) {
	for _, m := range ms {
		for _, p := range []struct {
			category, media string
			make            func(o object, changed any, m mutation) any
		}{
			{"json-patch", "application/json-patch+json", jsonPatch},
			{"merge-patch", "application/merge-patch+json", mergePatch},
			{"strategic-patch", "application/strategic-merge-patch+json", strategicPatch},
		} {
			b.add(&testCase{kind: r.id(), category: p.category, base: f.base.name, at: m.at.generic(), what: m.what, method: "PATCH",
				url: f.url() + sub + "?dryRun=All&fieldManager=differential", header: map[string]string{"Content-Type": p.media}, group: m.group(),
				body: func(s *side) ([]byte, bool) {
					o, ok := current(s, f)
					if !ok {
						return nil, false
					}
					changed, ok := m.apply(o)
					return encode(p.make(o, changed, m)), ok
				}})
		}
	}
}

func (b *builder) applies(r *resource, f ref, sub string, ms []mutation) {
	for _, m := range ms {
		force := b.rng.IntN(2) == 0
		b.add(&testCase{kind: r.id(), category: "apply", base: f.base.name, at: m.at.generic(), what: fmt.Sprintf("%s force=%t", m.what, force), method: "PATCH",
			url:    fmt.Sprintf("%s%s?dryRun=All&fieldManager=applier&force=%t", f.url(), sub, force),
			header: map[string]string{"Content-Type": "application/apply-patch+yaml"}, group: m.group(),
			body: func(*side) ([]byte, bool) {
				o, ok := m.apply(lively(placed(f.base.obj, r, "live")))
				return encode(o), ok
			}})
	}
}

func pointer(p path) string {
	var b strings.Builder
	for _, s := range p {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(fmt.Sprint(s)))
	}
	return b.String()
}

func jsonPatch(o object, _ any, m mutation) any {
	op := object{"op": "add", "path": pointer(m.at), "value": m.value}
	if _, there := get(o, m.at); there {
		op["op"] = "replace"
	}
	if _, remove := m.value.(absent); remove {
		op = object{"op": "remove", "path": pointer(m.at)}
	}
	if t, ok := m.value.(twice); ok {
		op["value"] = t.first
	}
	return []any{op}
}

// mergePatch has the changed list whole.
func mergePatch(_ object, changed any, m mutation) any {
	at := m.at
	if i := slices.IndexFunc(at, func(s any) bool { _, ok := s.(int); return ok }); i >= 0 {
		at = at[:i]
	}
	v, there := get(changed, at)
	if !there {
		v = nil
	}
	return nest(at, v)
}

// strategicPatch has the changed element alone.
func strategicPatch(o object, changed any, m mutation) any {
	i := slices.IndexFunc(m.at, func(s any) bool { _, ok := s.(int); return ok })
	if i < 0 {
		return mergePatch(o, changed, m)
	}
	element, _ := get(changed, m.at[:i+1])
	if _, remove := m.value.(absent); remove && len(m.at) > i+1 {
		if e, ok := change(element, m.at[i+1:], nil); ok {
			element = e
		}
	}
	return nest(m.at[:i], []any{element})
}

func nest(at path, v any) any {
	for _, s := range slices.Backward(at) {
		v = object{s.(string): v}
	}
	return v
}

// sample chooses about n of the cases: equal shares for each group of fields
// within each category, and the shares of the categories as they are here.
func sample(cases []*testCase, n int, rng *rand.Rand) []*testCase {
	if n <= 0 || n >= len(cases) {
		return cases
	}
	byCategory := map[string][]*testCase{}
	for _, c := range cases {
		byCategory[c.category] = append(byCategory[c.category], c)
	}
	shares := map[string]float64{"create": 48, "update": 20, "status": 6, "json-patch": 3, "merge-patch": 3, "strategic-patch": 4, "apply": 5, "read": 7, "delete": 2, "sub": 10}
	var total float64
	for c := range byCategory {
		total += shares[c]
	}
	var out []*testCase
	for _, c := range sortedKeys(byCategory) {
		out = append(out, fair(byCategory[c], int(math.Ceil(float64(n)*shares[c]/total)), rng)...)
	}
	return out
}

// fair takes n, one of each group in turn. Those without a group come first.
func fair(cases []*testCase, n int, rng *rand.Rand) []*testCase {
	groups := map[string][]*testCase{}
	var out []*testCase
	for _, c := range cases {
		if c.group == "" {
			out = append(out, c)
			continue
		}
		groups[c.group] = append(groups[c.group], c)
	}
	if len(out) > n/2 {
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		out = out[:n/2]
	}
	names := sortedKeys(groups)
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, g := range names {
		l := groups[g]
		rng.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
	}
	for i := 0; len(out) < n; i++ {
		any := false
		for _, g := range names {
			if i < len(groups[g]) && len(out) < n {
				out, any = append(out, groups[g][i]), true
			}
		}
		if !any {
			break
		}
	}
	return out
}
