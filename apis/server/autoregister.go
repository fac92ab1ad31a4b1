package server

import (
	"context"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdinformers "k8s.io/apiextensions-apiserver/pkg/client/informers/externalversions/apiextensions/v1"
	crdlisters "k8s.io/apiextensions-apiserver/pkg/client/listers/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/controllers/autoregister"
)

// priority orders a group version in discovery: groups and versions with
// higher numbers come first.
type priority struct{ group, version int32 }

// priorities are upstream's, so that clients see the same order. A built-in
// group version without an entry here is not served through the aggregator.
func priorities() map[schema.GroupVersion]priority {
	return map[schema.GroupVersion]priority{
		{Group: "", Version: "v1"}:                                   {18000, 1},
		{Group: "apps", Version: "v1"}:                               {17800, 15},
		{Group: "events.k8s.io", Version: "v1"}:                      {17750, 15},
		{Group: "authentication.k8s.io", Version: "v1"}:              {17700, 15},
		{Group: "authentication.k8s.io", Version: "v1beta1"}:         {17700, 9},
		{Group: "authentication.k8s.io", Version: "v1alpha1"}:        {17700, 1},
		{Group: "authorization.k8s.io", Version: "v1"}:               {17600, 15},
		{Group: "autoscaling", Version: "v2"}:                        {17500, 30},
		{Group: "autoscaling", Version: "v1"}:                        {17500, 15},
		{Group: "batch", Version: "v1"}:                              {17400, 15},
		{Group: "certificates.k8s.io", Version: "v1"}:                {17300, 15},
		{Group: "certificates.k8s.io", Version: "v1beta1"}:           {17300, 9},
		{Group: "certificates.k8s.io", Version: "v1alpha1"}:          {17300, 1},
		{Group: "networking.k8s.io", Version: "v1"}:                  {17200, 15},
		{Group: "networking.k8s.io", Version: "v1beta1"}:             {17200, 9},
		{Group: "policy", Version: "v1"}:                             {17100, 15},
		{Group: "rbac.authorization.k8s.io", Version: "v1"}:          {17000, 15},
		{Group: "storage.k8s.io", Version: "v1"}:                     {16800, 15},
		{Group: "storage.k8s.io", Version: "v1beta1"}:                {16800, 9},
		{Group: "storage.k8s.io", Version: "v1alpha1"}:               {16800, 1},
		{Group: "admissionregistration.k8s.io", Version: "v1"}:       {16700, 15},
		{Group: "admissionregistration.k8s.io", Version: "v1beta1"}:  {16700, 12},
		{Group: "admissionregistration.k8s.io", Version: "v1alpha1"}: {16700, 9},
		{Group: "apiextensions.k8s.io", Version: "v1"}:               {16700, 15},
		{Group: "scheduling.k8s.io", Version: "v1"}:                  {16600, 15},
		{Group: "scheduling.k8s.io", Version: "v1beta1"}:             {16600, 9},
		{Group: "scheduling.k8s.io", Version: "v1alpha3"}:            {16600, 3},
		{Group: "scheduling.k8s.io", Version: "v1alpha2"}:            {16600, 2},
		{Group: "scheduling.k8s.io", Version: "v1alpha1"}:            {16600, 1},
		{Group: "coordination.k8s.io", Version: "v1"}:                {16500, 15},
		{Group: "coordination.k8s.io", Version: "v1beta1"}:           {16500, 13},
		{Group: "coordination.k8s.io", Version: "v1alpha2"}:          {16500, 12},
		{Group: "node.k8s.io", Version: "v1"}:                        {16300, 15},
		{Group: "discovery.k8s.io", Version: "v1"}:                   {16200, 15},
		{Group: "resource.k8s.io", Version: "v1"}:                    {16200, 21},
		{Group: "resource.k8s.io", Version: "v1beta2"}:               {16200, 15},
		{Group: "resource.k8s.io", Version: "v1beta1"}:               {16200, 9},
		{Group: "resource.k8s.io", Version: "v1alpha3"}:              {16200, 1},
		{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}:       {16100, 21},
		{Group: "flowcontrol.apiserver.k8s.io", Version: "v1beta3"}:  {16100, 18},
		{Group: "flowcontrol.apiserver.k8s.io", Version: "v1beta2"}:  {16100, 15},
		{Group: "flowcontrol.apiserver.k8s.io", Version: "v1beta1"}:  {16100, 12},
		{Group: "internal.apiserver.k8s.io", Version: "v1alpha1"}:    {16000, 9},
		{Group: "storagemigration.k8s.io", Version: "v1beta1"}:       {15800, 9},
	}
}

// registerBuiltins makes an APIService for every served group version in paths.
func registerBuiltins(paths []string, registration autoregister.AutoAPIServiceRegistration) []string {
	var names []string
	for _, path := range paths {
		var gv schema.GroupVersion
		switch parts := strings.Split(strings.Trim(path, "/"), "/"); {
		case path == "/api/v1":
			gv.Version = "v1"
		case len(parts) == 3 && parts[0] == "apis":
			gv = schema.GroupVersion{Group: parts[1], Version: parts[2]}
		default:
			continue
		}
		p, ok := priorities()[gv]
		if !ok {
			continue
		}
		s := apiService(gv, p)
		registration.AddAPIServiceToSyncOnStart(s)
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

func apiService(gv schema.GroupVersion, p priority) *apiregistrationv1.APIService {
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: gv.Version + "." + gv.Group},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: p.group, VersionPriority: p.version},
	}
}

// crdRegistration keeps an APIService for every served version of every custom
// resource definition.
type crdRegistration struct {
	lister       crdlisters.CustomResourceDefinitionLister
	synced       cache.InformerSynced
	registration autoregister.AutoAPIServiceRegistration
	queue        workqueue.TypedInterface[schema.GroupVersion]
}

func newCRDRegistration(crds crdinformers.CustomResourceDefinitionInformer, registration autoregister.AutoAPIServiceRegistration) (*crdRegistration, error) {
	c := &crdRegistration{lister: crds.Lister(), registration: registration,
		queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[schema.GroupVersion]{Name: "crd-registration"})}
	handler, err := crds.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    c.enqueue,
		UpdateFunc: func(old, obj any) { c.enqueue(old); c.enqueue(obj) },
		DeleteFunc: func(obj any) {
			if t, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = t.Obj
			}
			c.enqueue(obj)
		},
	})
	if err != nil {
		return nil, err
	}
	c.synced = handler.HasSynced
	return c, nil
}

func (c *crdRegistration) enqueue(obj any) {
	crd, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
	if !ok {
		return
	}
	for _, v := range crd.Spec.Versions {
		c.queue.Add(schema.GroupVersion{Group: crd.Spec.Group, Version: v.Name})
	}
}

// run handles definitions until ctx ends; initial is closed when those that
// existed at the start are registered.
func (c *crdRegistration) run(ctx context.Context, initial chan<- struct{}) {
	if !cache.WaitForCacheSync(ctx.Done(), c.synced) {
		return
	}
	crds, _ := c.lister.List(labels.Everything())
	for _, crd := range crds {
		for _, v := range crd.Spec.Versions {
			c.sync(schema.GroupVersion{Group: crd.Spec.Group, Version: v.Name})
		}
	}
	close(initial)
	go func() { <-ctx.Done(); c.queue.ShutDown() }()
	for {
		gv, quit := c.queue.Get()
		if quit {
			return
		}
		c.sync(gv)
		c.queue.Done(gv)
	}
}

func (c *crdRegistration) sync(gv schema.GroupVersion) {
	crds, err := c.lister.List(labels.Everything())
	if err != nil {
		return // a lister over an informer cannot fail
	}
	for _, crd := range crds {
		for _, v := range crd.Spec.Versions {
			if crd.Spec.Group == gv.Group && v.Name == gv.Version && v.Served {
				c.registration.AddAPIServiceToSync(apiService(gv, priority{1000, 100}))
				return
			}
		}
	}
	c.registration.RemoveAPIServiceToSync(gv.Version + "." + gv.Group)
}
