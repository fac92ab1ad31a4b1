package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/version"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
)

func TestFeatureGates(t *testing.T) {
	for _, test := range []struct{ given, warned, err string }{
		{given: ""},
		{given: "SidecarContainers=true"}, // locked, to what it is
		{given: "NodeSwap=true,kube:CPUManagerPolicyOptions=true"}, // as it is
		{given: "HPAScaleToZero=true", warned: "HPAScaleToZero"},
		{given: "kube:HPAScaleToZero=true, InPlacePodVerticalScalingExclusiveCPUs=true", warned: "HPAScaleToZero InPlacePodVerticalScalingExclusiveCPUs"},
		{given: "HPAScaleToZero=false"},
		{given: "AllAlpha=true"},
		{given: "Fast=true", warned: ""}, // a library's
		{given: "SidecarContainers=false", err: "cannot set feature gate SidecarContainers to false, feature is locked to true"},
		{given: "NoSuchGate=true", err: "unrecognized feature gate: NoSuchGate"},
		{given: "HPAScaleToZero=maybe", err: "invalid value of HPAScaleToZero=maybe"},
		{given: "HPAScaleToZero", err: "missing bool value for HPAScaleToZero"},
	} {
		gate := featuregate.NewVersionedFeatureGate(version.MajorMinor(1, 36))
		if err := gate.Add(map[featuregate.Feature]featuregate.FeatureSpec{"Fast": {PreRelease: featuregate.Beta}}); err != nil {
			t.Fatal(err)
		}
		var warnings bytes.Buffer
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.SetOutput(io.Discard)
		addFeatureGates(f, gate, func() io.Writer { return &warnings })
		err := f.Parse([]string{"--feature-gates=" + test.given})
		if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q: %v, want %q", test.given, err, test.err)
		}
		var want string
		for _, name := range strings.Fields(test.warned) {
			want += "warning: feature gate " + name + " has no effect in proa\n"
		}
		if got := warnings.String(); got != want {
			t.Errorf("%q: warned %q, want %q", test.given, got, want)
		}
		if test.given == "Fast=true" && !gate.Enabled("Fast") {
			t.Errorf("%q: not set", test.given)
		}
	}
}

// TestEveryGateOfUpstream: every program knows each gate that kube-apiserver 1.36
// lists, and has it at the same default.
func TestEveryGateOfUpstream(t *testing.T) {
	programs()[0].asItself()
	for _, p := range programs() {
		if p.asItself().Flags().Lookup("feature-gates") == nil {
			t.Errorf("%s has no --feature-gates", p.name)
		}
	}
	// A test binary has no version stamp, and takes itself for the libraries' release.
	gates := utilfeature.DefaultMutableFeatureGate.DeepCopyAndReset()
	if err := gates.SetEmulationVersion(version.MajorMinor(1, 36)); err != nil {
		t.Fatal(err)
	}
	known := gates.GetAll()
	list, err := os.ReadFile("testdata/feature-gates.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Fields(string(list)) {
		name, value, _ := strings.Cut(line, "=")
		if spec, ok := known[featuregate.Feature(name)]; !ok {
			t.Errorf("gate %s is not known", name)
		} else if got := spec.Default; got != (value == "true") {
			t.Errorf("gate %s is %v by default, want %s", name, got, value)
		}
	}
}
