package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// base is an object to begin from.
type base struct {
	name string // where it is from
	obj  object
	// rich marks the valid ones of testdata/.
	rich bool
}

// corpus is everything that objects are made of.
type corpus struct {
	bases map[string][]base // by apiVersion/kind
	// filled has k8s.io/api's objects, by apiVersion/kind.
	filled map[string]object
	// words are the strings seen under a key anywhere: candidates for that key.
	words map[string][]string
}

func gvk(o object) string { return text(o, "apiVersion") + "/" + text(o, "kind") }

// moduleDir finds a module of upstream's in the module cache, through the module
// of ours that requires it.
func moduleDir(name string) (string, error) {
	var last error
	for _, args := range [][]string{{"list", "-m", "-f", "{{.Dir}}", name}, {"mod", "download", name}, {"list", "-m", "-f", "{{.Dir}}", name}} {
		c := exec.Command("go", args...)
		c.Dir = "../conformance"
		out, err := c.Output()
		last = err
		if d := strings.TrimSpace(string(out)); err == nil && args[0] == "list" && d != "" {
			return d, nil
		}
	}
	return "", fmt.Errorf("module %s: not found through ../conformance (%v)", name, last)
}

// load reads all corpora.
func load() (*corpus, error) {
	c := &corpus{bases: map[string][]base{}, filled: map[string]object{}, words: map[string][]string{}}
	api, err := moduleDir("k8s.io/api")
	if err != nil {
		return nil, err
	}
	kubernetes, err := moduleDir("k8s.io/kubernetes")
	if err != nil {
		return nil, err
	}
	own, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		return nil, err
	}
	slices.Sort(own)
	for _, file := range own {
		if filepath.Base(file) == "prerequisites.yaml" {
			continue
		}
		docs, err := documents(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for i, d := range docs {
			c.add(base{fmt.Sprintf("%s#%d", filepath.Base(file), i), d, true})
		}
	}
	filled, err := filepath.Glob(filepath.Join(api, "testdata/HEAD/*.json"))
	if err != nil {
		return nil, err
	}
	for _, file := range filled {
		docs, err := documents(file)
		if err != nil || len(docs) == 0 {
			continue
		}
		c.filled[gvk(docs[0])] = docs[0]
		c.add(base{"HEAD/" + filepath.Base(file), docs[0], false})
	}
	err = filepath.WalkDir(filepath.Join(kubernetes, "test"), func(file string, _ fs.DirEntry, err error) error {
		if err != nil || (!strings.HasSuffix(file, ".yaml") && !strings.HasSuffix(file, ".json")) ||
			strings.Contains(file, "featuregates_linter") || strings.Contains(file, "/images/") {
			return err
		}
		docs, err := documents(file)
		if err != nil {
			return nil // templates and what is no manifest
		}
		rel, _ := filepath.Rel(kubernetes, file)
		for i, d := range docs {
			c.add(base{fmt.Sprintf("%s#%d", rel, i), d, false})
		}
		return nil
	})
	for _, l := range c.bases {
		for _, b := range l {
			c.harvest(b)
		}
	}
	for k := range c.words {
		slices.Sort(c.words[k])
		c.words[k] = slices.Compact(c.words[k])
	}
	return c, err
}

func (c *corpus) add(b base) {
	if text(b.obj, "kind") == "" {
		return
	}
	if text(b.obj, "kind") == "List" {
		items, _ := get(b.obj, path{"items"})
		l, _ := items.([]any)
		for i, item := range l {
			if o, ok := item.(object); ok {
				c.add(base{fmt.Sprintf("%s/%d", b.name, i), o, b.rich})
			}
		}
		return
	}
	c.bases[gvk(b.obj)] = append(c.bases[gvk(b.obj)], b)
}

// harvest collects short strings by their key, of real objects only.
func (c *corpus) harvest(b base) {
	if strings.HasPrefix(b.name, "HEAD/") {
		return
	}
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case string:
			if len(v) < 60 && len(c.words[key]) < 400 {
				c.words[key] = append(c.words[key], v)
			}
		case object:
			for k, e := range v {
				walk(k, e)
			}
		case []any:
			for _, e := range v {
				walk(key, e)
			}
		}
	}
	walk("", b.obj)
}

// documents reads the YAML or JSON documents of a file.
func documents(file string) ([]object, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []object
	parts := [][]byte{data}
	if strings.HasSuffix(file, ".yaml") {
		parts = bytes.Split(append([]byte("\n"), data...), []byte("\n---"))
	}
	for _, part := range parts {
		j, err := yaml.YAMLToJSON(part)
		if err != nil {
			return nil, err
		}
		v, err := decode(j)
		if err != nil {
			return nil, err
		}
		if o, ok := v.(object); ok && len(o) > 0 {
			out = append(out, o)
		}
	}
	return out, nil
}
