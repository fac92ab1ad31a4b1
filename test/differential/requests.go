package main

import (
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// request is an entry of testdata/requests/*.yaml: one that does not follow from
// a kind, such as to a subresource.
type request struct {
	// Kind is the resource's id ("core.pods"); Live the live object that {rv} and
	// {uid} in the body are of.
	Kind   string            `json:"kind"`
	Live   string            `json:"live,omitempty"`
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Header map[string]string `json:"header,omitempty"`
	Body   any               `json:"body,omitempty"`
	// Text is a body that is no object.
	Text string `json:"text,omitempty"`
	// Mutate sends all mutations of the body too; Filled grafts from the k8s.io/api
	// object of that name (authentication.k8s.io/v1/TokenRequest).
	Mutate bool   `json:"mutate,omitempty"`
	Filled string `json:"filled,omitempty"`
}

func (b *builder) requests(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	j, err := yaml.YAMLToJSON(data)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	v, err := decode(j)
	if err != nil {
		return err
	}
	list, _ := v.([]any)
	for i, e := range list {
		r := request{Kind: text(e, "kind"), Live: text(e, "live"), Method: text(e, "method"), Path: text(e, "path"), Text: text(e, "text"), Filled: text(e, "filled")}
		r.Body, _ = get(e, path{"body"})
		mutate, _ := get(e, path{"mutate"})
		r.Mutate, _ = mutate.(bool)
		if h, ok := get(e, path{"header"}); ok {
			r.Header = map[string]string{}
			for k, v := range h.(object) {
				r.Header[k] = fmt.Sprint(v)
			}
		}
		if r.Method == "" || r.Path == "" || r.Kind == "" {
			return fmt.Errorf("%s: entry %d needs kind, method and path", file, i)
		}
		b.request(r)
	}
	return nil
}

func (b *builder) request(r request) {
	add := func(what, at, group string, body any) {
		b.add(&testCase{kind: r.Kind, category: "sub", base: r.Method + " " + r.Path, at: at, what: what, method: r.Method, url: r.Path, header: r.Header, group: group,
			body: func(s *side) ([]byte, bool) {
				var data []byte
				switch {
				case r.Text != "":
					data = []byte(r.Text)
				case body != nil:
					data = encode(body)
				}
				if r.Live != "" {
					o, ok := s.live[r.Live]
					if !ok {
						return nil, false
					}
					data = []byte(strings.NewReplacer("{uid}", text(o, "metadata", "uid"), "{rv}", text(o, "metadata", "resourceVersion")).Replace(string(data)))
				}
				return data, true
			}})
	}
	add("as it is "+brief(r.Body)[:min(60, len(brief(r.Body)))]+r.Text, "", "as it is", r.Body)
	o, ok := r.Body.(object)
	if !r.Mutate || !ok {
		return
	}
	for _, m := range b.corpus.mutations(o, b.corpus.filled[r.Filled], func(p path) bool { return under(p, "metadata", "managedFields") }) {
		if n, ok := m.apply(o); ok {
			add(m.what, m.at.generic(), m.at.generic(), n)
		}
	}
}
