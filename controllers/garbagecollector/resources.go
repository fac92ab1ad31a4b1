package garbagecollector

import (
	"slices"
	"strings"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resource is one served resource.
type resource struct {
	gvr        schema.GroupVersionResource
	gvk        schema.GroupVersionKind
	namespaced bool
	// monitored: it can be listed, watched and deleted, so the graph follows it.
	monitored bool
}

// table maps kinds to the resources that serve them. It is replaced as a whole.
type table struct {
	current atomic.Pointer[map[schema.GroupKind]resource]
}

func (t *table) get(gk schema.GroupKind) (resource, bool) {
	m := t.current.Load()
	if m == nil {
		return resource{}, false
	}
	r, ok := (*m)[gk]
	return r, ok
}

func (t *table) set(m map[schema.GroupKind]resource) { t.current.Store(&m) }

// clusterScoped says that kinds nobody serves are namespaced, as most are.
func (t *table) clusterScoped(gk schema.GroupKind) bool {
	r, ok := t.get(gk)
	return ok && !r.namespaced
}

// resourcesFrom reads the discovery lists, one version per kind. Events are
// not monitored: they own nothing, nothing owns them, and there are many.
func resourcesFrom(lists []*metav1.APIResourceList) map[schema.GroupKind]resource {
	out := map[schema.GroupKind]resource{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for i := range list.APIResources {
			r := &list.APIResources[i]
			if strings.Contains(r.Name, "/") {
				continue // a subresource
			}
			gvk := gv.WithKind(r.Kind)
			verbs := func(v string) bool { return slices.Contains(r.Verbs, v) }
			event := r.Name == "events" && (gv.Group == "" || gv.Group == "events.k8s.io")
			out[gvk.GroupKind()] = resource{
				gvr:        gv.WithResource(r.Name),
				gvk:        gvk,
				namespaced: r.Namespaced,
				monitored:  verbs("list") && verbs("watch") && verbs("delete") && !event,
			}
		}
	}
	return out
}
