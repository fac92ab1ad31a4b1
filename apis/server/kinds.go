package server

import (
	"fmt"
	"sort"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"proa/apis/kind"
)

// installKinds builds every kind's storage and serves it under its group version.
func installKinds(s *genericapiserver.GenericAPIServer, kinds []kind.Any, d *kind.Deps, scheme *runtime.Scheme, codecs serializer.CodecFactory) error {
	stores := map[schema.GroupResource]*kind.REST{}
	d.StoreOf = func(gr schema.GroupResource) *kind.REST { return stores[gr] }
	byGroup := map[string]map[string]map[string]rest.Storage{} // group, version, resource
	for _, k := range kinds {
		desc := k.Description()
		storages, err := k.Build(d)
		if err != nil {
			return err
		}
		g := desc.GVK.Group
		if byGroup[g] == nil {
			byGroup[g] = map[string]map[string]rest.Storage{}
		}
		if byGroup[g][desc.GVK.Version] == nil {
			byGroup[g][desc.GVK.Version] = map[string]rest.Storage{}
		}
		for name, storage := range storages {
			byGroup[g][desc.GVK.Version][name] = storage
		}
		if r, ok := storages[desc.Resource].(interface{ Main() *kind.REST }); ok {
			// Stable versions come first.
			if gr := desc.GroupResource(); stores[gr] == nil {
				stores[gr] = r.Main()
			}
		}
	}
	var names []string
	for g := range byGroup {
		names = append(names, g)
	}
	sort.Strings(names)
	for _, g := range names {
		info := genericapiserver.NewDefaultAPIGroupInfo(g, scheme, runtime.NewParameterCodec(scheme), codecs)
		info.VersionedResourcesStorageMap = byGroup[g]
		var err error
		if g == "" {
			err = s.InstallLegacyAPIGroup(genericapiserver.DefaultLegacyAPIPrefix, &info)
		} else {
			err = s.InstallAPIGroups(&info)
		}
		if err != nil {
			return fmt.Errorf("serve API group %q: %w", g, err)
		}
	}
	return nil
}
