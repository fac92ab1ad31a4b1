package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestEveryFlagOfUpstream: the link named kube-apiserver takes each flag of
// kube-apiserver 1.36, and those without effect are the ones listed here.
func TestEveryFlagOfUpstream(t *testing.T) {
	list, err := os.ReadFile("testdata/kube-apiserver-flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	c := programs()[0].asItself()
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	ignored := map[string]bool{}
	for _, name := range strings.Fields(string(list)) {
		f := c.Flags().Lookup(name)
		if f == nil {
			t.Errorf("--%s is not accepted", name)
			continue
		}
		if _, ok := f.Value.(*ignoredFlag); ok {
			ignored[name] = true
		}
	}
	apiserver := apiserverIgnored()
	known := map[string]bool{}
	for _, name := range strings.Fields(string(list)) {
		known[name] = true
	}
	for _, name := range append(apiserver.values, apiserver.bools...) {
		if known[name] && !ignored[name] {
			t.Errorf("--%s has an effect, and is in the list of those without", name)
		}
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Value.(*ignoredFlag); ok && ignored[f.Name] {
			names = append(names, f.Name)
		}
	})
	t.Logf("without effect: %s", strings.Join(names, " "))
}
