package server

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"proa/apis/kind"
)

// TestDefinitions: every definition that another refers to is there, and those of
// beta versions only where one is served.
func TestDefinitions(t *testing.T) {
	external, err := externalScheme()
	if err != nil {
		t.Fatal(err)
	}
	stable := &kind.Virtual{GVK: networkingv1.SchemeGroupVersion.WithKind("IPAddress"), Resource: "ipaddresses"}
	beta := &kind.Virtual{GVK: stable.GVK, Resource: "ipaddresses"}
	beta.GVK.Version = "v1beta1"
	for _, test := range []struct {
		kinds []kind.Any
		want  bool
	}{{[]kind.Any{stable}, false}, {[]kind.Any{stable, beta}, true}} {
		c := &genericapiserver.Config{}
		setOpenAPI(c, openapinamer.NewDefinitionNamer(external, extensionsScheme(), aggregatorScheme()))
		addPreviews(c, test.kinds)
		all := c.OpenAPIV3Config.Definitions
		if _, ok := all["io.k8s.api.networking.v1beta1.IPAddress"]; ok != test.want {
			t.Errorf("definition of a beta version: %v, want %v", ok, test.want)
		}
		for name, d := range all {
			for _, other := range d.Dependencies {
				if _, ok := all[other]; !ok {
					t.Errorf("%s refers to %s, which is not there", name, other)
				}
			}
		}
	}
}
