package dns

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Names of the indexes this package adds to shared informers.
const (
	indexServiceIP = "dns/cluster-ip"
	indexSliceSvc  = "dns/service"
	indexSliceIP   = "dns/address"
)

// store is the Lister over informers.
type store struct {
	namespaces, services, slices cache.Indexer
	synced                       []cache.InformerSynced
}

// newStore asks factory for its informers; the caller starts it.
func newStore(factory informers.SharedInformerFactory) (*store, error) {
	ns := factory.Core().V1().Namespaces().Informer()
	svc := factory.Core().V1().Services().Informer()
	eps := factory.Discovery().V1().EndpointSlices().Informer()
	err := svc.AddIndexers(cache.Indexers{indexServiceIP: func(obj any) ([]string, error) {
		s, ok := obj.(*corev1.Service)
		if !ok {
			return nil, nil
		}
		var keys []string
		for _, ip := range clusterIPs(s) {
			keys = append(keys, ip.String())
		}
		return keys, nil
	}})
	if err == nil {
		err = eps.AddIndexers(cache.Indexers{
			indexSliceSvc: func(obj any) ([]string, error) {
				if s, ok := obj.(*discoveryv1.EndpointSlice); ok && serviceOf(s) != "" {
					return []string{s.Namespace + "/" + serviceOf(s)}, nil
				}
				return nil, nil
			},
			// Only endpoints with a hostname have a reverse name.
			indexSliceIP: func(obj any) ([]string, error) {
				s, ok := obj.(*discoveryv1.EndpointSlice)
				if !ok || s.AddressType == discoveryv1.AddressTypeFQDN {
					return nil, nil
				}
				var keys []string
				for i := range s.Endpoints {
					if deref(s.Endpoints[i].Hostname, "") == "" {
						continue
					}
					for _, a := range s.Endpoints[i].Addresses {
						if ip, err := netip.ParseAddr(a); err == nil {
							keys = append(keys, ip.Unmap().String())
						}
					}
				}
				return keys, nil
			},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("dns: indexing: %w", err)
	}
	return &store{
		namespaces: ns.GetIndexer(), services: svc.GetIndexer(), slices: eps.GetIndexer(),
		synced: []cache.InformerSynced{ns.HasSynced, svc.HasSynced, eps.HasSynced},
	}, nil
}

func serviceOf(s *discoveryv1.EndpointSlice) string { return s.Labels[discoveryv1.LabelServiceName] }

func (s *store) HasNamespace(name string) bool {
	_, ok, err := s.namespaces.GetByKey(name)
	return ok && err == nil
}

func (s *store) Service(namespace, name string) *corev1.Service {
	obj, ok, err := s.services.GetByKey(namespace + "/" + name)
	if !ok || err != nil {
		return nil
	}
	svc, _ := obj.(*corev1.Service)
	return svc
}

func (s *store) Slices(namespace, service string) []*discoveryv1.EndpointSlice {
	return byIndex[*discoveryv1.EndpointSlice](s.slices, indexSliceSvc, namespace+"/"+service)
}

func (s *store) ServicesByIP(ip netip.Addr) []*corev1.Service {
	return byIndex[*corev1.Service](s.services, indexServiceIP, ip.String())
}

func (s *store) SlicesByIP(ip netip.Addr) []*discoveryv1.EndpointSlice {
	return byIndex[*discoveryv1.EndpointSlice](s.slices, indexSliceIP, ip.String())
}

func byIndex[T any](idx cache.Indexer, index, key string) []T {
	objs, err := idx.ByIndex(index, key)
	if err != nil {
		return nil
	}
	out := make([]T, 0, len(objs))
	for _, o := range objs {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
