package server

import (
	// The library registers kubernetes_build_info and rest_client_* by being
	// imported; there is no other way to have them.
	_ "k8s.io/component-base/metrics/prometheus/restclient"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// recordFeatures sets kubernetes_feature_enabled and version_info, as they are
// once the flags are read.
func (s *Settings) recordFeatures() {
	s.gates.AddMetrics()
	s.Run.ComponentGlobalsRegistry.AddMetrics()
}
