package server

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	genericapiserver "k8s.io/apiserver/pkg/server"
	coreinformers "k8s.io/client-go/informers/core/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// systemNamespacesHook is upstream's name of what keeps the namespaces that every
// cluster has.
const systemNamespacesHook = "start-system-namespaces-controller"

func systemNamespaces() sets.Set[string] {
	return sets.New(metav1.NamespaceSystem, metav1.NamespacePublic, metav1.NamespaceDefault, corev1.NamespaceNodeLease)
}

// keepSystemNamespaces makes the namespaces that are missing, now and whenever one
// has been deleted.
func keepSystemNamespaces(ctx genericapiserver.PostStartHookContext, client coreclient.NamespacesGetter, informer coreinformers.NamespaceInformer) error {
	create := func(ctx context.Context, name string) error {
		_, err := client.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	names := systemNamespaces()
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(obj any) {
		if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = d.Obj
		}
		if ns, ok := obj.(*corev1.Namespace); ok && names.Has(ns.Name) && ctx.Err() == nil {
			if err := create(ctx, ns.Name); err != nil {
				klog.FromContext(ctx).Error(err, "System namespace was deleted and cannot be made again", "namespace", ns.Name)
			}
		}
	}})
	if err != nil {
		return err
	}
	have, err := client.Namespaces().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	missing := names.Clone()
	for i := range have.Items {
		missing.Delete(have.Items[i].Name)
	}
	for name := range missing {
		if err := create(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
