package server

import (
	"maps"

	extensionsapi "k8s.io/apiextensions-apiserver/pkg/apiserver"
	extensionsopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apimachinery/pkg/runtime"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	aggregatoropenapi "k8s.io/kube-aggregator/pkg/generated/openapi"
	"k8s.io/kube-openapi/pkg/common"

	"proa/apis/openapi"
)

func extensionsScheme() *runtime.Scheme { return extensionsapi.Scheme }
func aggregatorScheme() *runtime.Scheme { return aggregatorscheme.Scheme }

// setOpenAPI publishes the definitions of all built-in types as v2 and v3;
// server-side apply needs v3 too. The namer gets a scheme without internal
// versions, or "__internal" would leak into group-version-kinds.
func setOpenAPI(c *genericapiserver.Config, namer *openapinamer.DefinitionNamer) {
	definitions := func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		out := map[string]common.OpenAPIDefinition{}
		maps.Copy(out, extensionsopenapi.GetOpenAPIDefinitions(ref))
		maps.Copy(out, aggregatoropenapi.GetOpenAPIDefinitions(ref))
		maps.Copy(out, openapi.GetOpenAPIDefinitions(ref))
		return out
	}
	c.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	c.OpenAPIConfig.Info.Title = "Kubernetes"
	c.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	c.OpenAPIV3Config.Info.Title = "Kubernetes"
}
