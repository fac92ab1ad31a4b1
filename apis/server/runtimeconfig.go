package server

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/server/resourceconfig"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/klog/v2"

	"proa/apis/kind"
)

// enabledAPIs are the versions and resources that are served: all stable ones, less
// what --runtime-config turns off and with the beta and alpha ones that it turns on.
// What it turns on and upstream has but this server has not is told; what nobody
// knows is an error.
func enabledAPIs(given map[string]string, kinds []kind.Any, scheme *runtime.Scheme, fairness bool) (*serverstorage.ResourceConfig, error) {
	all := serverstorage.NewResourceConfig()
	for _, k := range kinds {
		gv := k.Description().GVK.GroupVersion()
		if preview(gv.Version) {
			all.DisableVersions(gv)
			continue
		}
		all.EnableVersions(gv)
	}
	overrides := maps.Clone(given)
	for key, value := range given {
		switch name := strings.TrimPrefix(key, "api/"); {
		case key == "api/legacy":
			delete(overrides, key)
		case name == "v1" || strings.HasPrefix(name, "v1/"):
			delete(overrides, key)
			overrides["/"+name] = value
		default:
			parts := strings.Split(key, "/")
			if len(parts) < 2 || parts[0] == "api" {
				continue
			}
			gv := schema.GroupVersion{Group: parts[0], Version: parts[1]}
			if _, known := priorities()[gv]; known && !scheme.IsVersionRegistered(gv) {
				klog.InfoS("--runtime-config: this version is not served here", "version", gv)
				delete(overrides, key)
			}
			if fairness && strings.HasPrefix(key, "flowcontrol.apiserver.k8s.io/v1") && value == "false" {
				return nil, fmt.Errorf("--runtime-config=%s=false conflicts with --enable-priority-and-fairness=true", key)
			}
		}
	}
	check := options.APIEnablementOptions{RuntimeConfig: overrides}
	if errs := check.Validate(scheme, extensionsScheme(), aggregatorScheme()); len(errs) > 0 {
		return nil, fmt.Errorf("--runtime-config: %w", errors.Join(errs...))
	}
	merged, err := resourceconfig.MergeAPIResourceConfigs(all, overrides, scheme)
	if err != nil {
		return nil, fmt.Errorf("--runtime-config: %w", err)
	}
	return merged, nil
}

// preview says whether a version is off by default, being beta or alpha.
func preview(version string) bool {
	return strings.Contains(version, "beta") || strings.Contains(version, "alpha")
}

// enabledKinds are the kinds that are served.
func enabledKinds(kinds []kind.Any, enabled *serverstorage.ResourceConfig) []kind.Any {
	var out []kind.Any
	for _, k := range kinds {
		d := k.Description()
		if enabled.ResourceEnabled(d.GVK.GroupVersion().WithResource(d.Resource)) {
			out = append(out, k)
		}
	}
	return out
}
