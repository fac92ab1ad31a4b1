package server

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	extensionsapi "k8s.io/apiextensions-apiserver/pkg/apiserver"
	extensionsoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
)

// newExtensions is the server of custom resources, the last of the chain.
func newExtensions(shared genericapiserver.Config, etcd options.EtcdOptions, shareInformers informers.SharedInformerFactory, resolver webhook.ServiceResolver, auth webhook.AuthenticationInfoResolverWrapper, last genericapiserver.DelegationTarget) (*extensionsapi.CustomResourceDefinitions, error) {
	shared.PostStartHooks = map[string]genericapiserver.PostStartHookConfigEntry{}
	shared.RESTOptionsGetter = nil
	etcd.StorageConfig.Codec = extensionsapi.Codecs.LegacyCodec(apiextensionsv1beta1.SchemeGroupVersion, apiextensionsv1.SchemeGroupVersion)
	// Upstream still stores definitions as v1beta1, the smaller form; keep its encoding.
	etcd.StorageConfig.EncodeVersioner = runtime.NewMultiGroupVersioner(apiextensionsv1beta1.SchemeGroupVersion, schema.GroupKind{Group: apiextensionsv1beta1.GroupName})
	etcd.SkipHealthEndpoints = true
	if err := etcd.ApplyTo(&shared); err != nil {
		return nil, err
	}
	shared.MergedResourceConfig = extensionsapi.DefaultAPIResourceConfigSource()
	config := &extensionsapi.Config{
		GenericConfig: &genericapiserver.RecommendedConfig{Config: shared, SharedInformerFactory: shareInformers},
		ExtraConfig: extensionsapi.ExtraConfig{
			CRDRESTOptionsGetter: extensionsoptions.NewCRDRESTOptionsGetter(etcd, shared.ResourceTransformers, shared.StorageObjectCountTracker),
			MasterCount:          1,
			ServiceResolver:      resolver,
			AuthResolverWrapper:  auth,
		},
	}
	return config.Complete().New(last)
}
