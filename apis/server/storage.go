package server

import (
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"

	"proa/apis/kind"
)

const (
	eventsGroup   = "events.k8s.io"
	registryRoot  = "/registry"
	fiveMinutes   = 5 * time.Minute
	protobufMedia = "application/vnd.kubernetes.protobuf"
)

// etcdOptions are the library's options for our store: protobuf, upstream's
// keys, watch cache for all but events.
func etcdOptions(e Etcd) *options.EtcdOptions {
	prefix := e.Prefix
	if prefix == "" {
		prefix = registryRoot
	}
	config := storagebackend.NewDefaultConfig(prefix, nil)
	config.Transport.ServerList = e.Servers
	config.Transport.TrustedCAFile, config.Transport.CertFile, config.Transport.KeyFile = e.CAFile, e.CertFile, e.KeyFile
	config.Transport.TracerProvider = noop.NewTracerProvider()
	config.CompactionInterval = fiveMinutes
	if e.Compaction > 0 {
		config.CompactionInterval = e.Compaction
	}
	o := options.NewEtcdOptions(config)
	o.DefaultStorageMediaType = protobufMedia
	o.WatchCacheSizes = []string{"events#0", "events." + eventsGroup + "#0"}
	return o
}

// storageFactory knows each kind's key prefix and encoding.
func storageFactory(o *options.EtcdOptions, c *genericapiserver.Config, kinds []kind.Any, scheme *runtime.Scheme, codecs serializer.CodecFactory) *serverstorage.DefaultStorageFactory {
	encoding := serverstorage.NewDefaultResourceEncodingConfigForEffectiveVersion(scheme, c.EffectiveVersion)
	resources := serverstorage.NewResourceConfig()
	prefixes := map[schema.GroupResource]string{}
	for _, k := range kinds {
		d := k.Description()
		resources.EnableVersions(d.GVK.GroupVersion())
		if d.StoragePrefix != "" {
			prefixes[d.GroupResource()] = d.StoragePrefix
		}
	}
	c.MergedResourceConfig = resources
	config := o.StorageConfig
	config.StorageObjectCountTracker = c.StorageObjectCountTracker
	f := serverstorage.NewDefaultStorageFactory(config, o.DefaultStorageMediaType, codecs, encoding, resources, prefixes)
	f.AddCohabitatingResources(schema.GroupResource{Resource: "events"}, schema.GroupResource{Group: eventsGroup, Resource: "events"})
	return f
}
