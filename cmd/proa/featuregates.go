package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"

	"proa/apis/server"
)

// featureGates is --feature-gates of the programs that have no library's flag of
// this name. It sets the libraries' gates; for Kubernetes' own, which have no effect
// here, it warns.
type featureGates struct {
	gate     featuregate.MutableVersionedFeatureGate
	warnings func() io.Writer
	given    []string
}

// addFeatureGates registers the flag unless it is there.
func addFeatureGates(f *pflag.FlagSet, gate featuregate.MutableVersionedFeatureGate, warnings func() io.Writer) {
	if f.Lookup("feature-gates") == nil {
		f.Var(&featureGates{gate: gate, warnings: warnings}, "feature-gates", "comma-separated list of Name=true|false: feature gates of Kubernetes")
	}
}

// Set implements pflag.Value. As upstream's, names may be preceded by "kube:".
func (v *featureGates) Set(text string) error {
	if err := server.AddKubernetesGates(v.gate); err != nil {
		return err
	}
	before := server.GatesWithoutEffect(v.gate)
	pairs := strings.Split(text, ",")
	for i, pair := range pairs {
		pairs[i] = strings.TrimPrefix(strings.TrimSpace(pair), "kube:")
	}
	if err := v.gate.Set(strings.Join(pairs, ",")); err != nil {
		return err
	}
	v.given = append(v.given, pairs...)
	for _, name := range server.GatesWithoutEffect(v.gate) {
		if slices.Contains(before, name) {
			continue
		}
		if _, err := fmt.Fprintf(v.warnings(), "warning: feature gate %s has no effect in proa\n", name); err != nil {
			return err
		}
	}
	return nil
}

// String implements pflag.Value.
func (v *featureGates) String() string { return strings.Join(v.given, ",") }

// Type implements pflag.Value.
func (*featureGates) Type() string { return "mapStringBool" }
