package server

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"

	"proa/apis/kind"
)

const eventsGroup = "events.k8s.io"

// storageFactory knows each kind's key prefix and encoding.
func storageFactory(o *options.EtcdOptions, c *genericapiserver.Config, kinds []kind.Any, scheme *runtime.Scheme, codecs serializer.CodecFactory) serverstorage.StorageFactory {
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
	return internalFactory{f}
}

// internalFactory hands out codecs that decode as upstream's do.
type internalFactory struct {
	*serverstorage.DefaultStorageFactory
}

// NewConfig implements serverstorage.StorageFactory.
func (f internalFactory) NewConfig(resource schema.GroupResource, example runtime.Object) (*storagebackend.ConfigForResource, error) {
	c, err := f.DefaultStorageFactory.NewConfig(resource, example)
	if err == nil {
		c.Codec = internalCodec{c.Codec}
	}
	return c, err
}

// internalCodec decodes objects without their apiVersion and kind, which objects of
// the hub do not have: the library sees no conversion where hub and stored version
// are one Go type, and would leave them to show in the items of lists.
type internalCodec struct{ runtime.Codec }

// Decode implements runtime.Decoder.
func (c internalCodec) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	obj, gvk, err := c.Codec.Decode(data, defaults, into)
	if err == nil && obj == into {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj, gvk, err
}
