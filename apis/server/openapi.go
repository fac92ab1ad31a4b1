package server

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/emicklei/go-restful/v3"
	admissionv1 "k8s.io/api/admission/v1"
	admissionv1beta1 "k8s.io/api/admission/v1beta1"
	imagepolicyv1alpha1 "k8s.io/api/imagepolicy/v1alpha1"
	extensionsapi "k8s.io/apiextensions-apiserver/pkg/apiserver"
	extensionsopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apimachinery/pkg/runtime"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	aggregatoropenapi "k8s.io/kube-aggregator/pkg/generated/openapi"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"proa/apis/kind"
	"proa/apis/openapi"
	openapipreview "proa/apis/openapi/preview"
	"proa/apis/server/authn"
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
	const scheme, kind, header, in, description = "BearerToken", "apiKey", "authorization", "header", "Bearer Token authentication"
	c.OpenAPIConfig.SecurityDefinitions = &spec.SecurityDefinitions{scheme: {SecuritySchemeProps: spec.SecuritySchemeProps{
		Type: kind, Name: header, In: in, Description: description}}}
	c.OpenAPIV3Config.SecuritySchemes = spec3.SecuritySchemes{scheme: {SecuritySchemeProps: spec3.SecuritySchemeProps{
		Type: kind, Name: header, In: in, Description: description}}}
}

// addPreviews adds the definitions of beta and alpha versions where some are
// served; they would cost memory for nothing otherwise.
func addPreviews(c *genericapiserver.Config, kinds []kind.Any) {
	if !slices.ContainsFunc(kinds, func(k kind.Any) bool { return preview(k.Description().GVK.Version) }) {
		return
	}
	stable := c.OpenAPIConfig.GetDefinitions
	both := func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		out := stable(ref)
		for name, d := range openapipreview.GetOpenAPIDefinitions(func(name string) spec.Ref { return ref(modelName(name)) }) {
			for i, other := range d.Dependencies {
				d.Dependencies[i] = modelName(other)
			}
			out[name] = d
		}
		return out
	}
	c.OpenAPIConfig.GetDefinitions, c.OpenAPIV3Config.GetDefinitions = both, both
	v3 := c.OpenAPIV3Config
	v3.Definitions = both(func(name string) spec.Ref {
		definition, _ := v3.GetDefinitionName(name)
		return spec.MustCreateRef("#/components/schemas/" + common.EscapeJsonPointer(definition))
	})
}

// modelName is a definition's name: the generator writes the Go type's where that is
// of a package that it does not generate.
func modelName(name string) string {
	if strings.Contains(name, "/") {
		return util.ToRESTFriendlyName(name)
	}
	return name
}

// documentation describes a document outside the API groups in OpenAPI.
type documentation struct{ mediaType, operation, summary string }

// documented are those that upstream describes.
func documented() map[string]documentation {
	return map[string]documentation{
		authn.OpenIDConfigurationPath: {restful.MIME_JSON, "getServiceAccountIssuerOpenIDConfiguration",
			"get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'"},
		authn.JWKSPath: {"application/jwk-set+json", "getServiceAccountIssuerOpenIDKeyset",
			"get service account issuer OpenID JSON Web Key Set (contains public token verification keys)"},
	}
}

// installHandlers adds documents outside the API groups.
func installHandlers(s *genericapiserver.GenericAPIServer, handlers map[string]http.Handler) {
	for path, h := range handlers {
		d, ok := documented()[path]
		if !ok {
			s.Handler.NonGoRestfulMux.Handle(path, h)
			continue
		}
		service := new(restful.WebService).Path(path).Produces(d.mediaType)
		service.Route(service.GET("").Doc(d.summary).Operation(d.operation).Returns(http.StatusOK, "OK", "").
			To(func(request *restful.Request, response *restful.Response) { h.ServeHTTP(response, request.Request) }))
		s.Handler.GoRestfulContainer.Add(service)
	}
}

// externalScheme has all versions of all types that upstream registers, served or
// not: options of every kind of request bear all of their groups in OpenAPI.
func externalScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, admissionv1.AddToScheme, admissionv1beta1.AddToScheme, imagepolicyv1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}
