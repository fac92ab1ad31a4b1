package server

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	serverstorage "k8s.io/apiserver/pkg/server/storage"

	"proa/apis/kind"
)

const eventsGroup = "events.k8s.io"

// storageFactory knows each kind's key prefix and encoding.
func storageFactory(o *options.EtcdOptions, c *genericapiserver.Config, kinds []kind.Any, scheme *runtime.Scheme, codecs serializer.CodecFactory) *serverstorage.DefaultStorageFactory {
	encoding := serverstorage.NewDefaultResourceEncodingConfigForEffectiveVersion(scheme, c.EffectiveVersion)
	prefixes := map[schema.GroupResource]string{}
	for _, k := range kinds {
		d := k.Description()
		if d.StoragePrefix != "" {
			prefixes[d.GroupResource()] = d.StoragePrefix
		}
	}
	config := o.StorageConfig
	config.StorageObjectCountTracker = c.StorageObjectCountTracker
	f := serverstorage.NewDefaultStorageFactory(config, o.DefaultStorageMediaType, codecs, encoding, c.MergedResourceConfig, prefixes)
	f.AddCohabitatingResources(schema.GroupResource{Resource: "events"}, schema.GroupResource{Group: eventsGroup, Resource: "events"})
	return f
}
