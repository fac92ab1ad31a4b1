package admission

import (
	"context"
	"errors"

	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/admission"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
)

// defaultIngressClass gives Ingresses that name no class the default one.
type defaultIngressClass struct {
	*admission.Handler
	classes networkinglisters.IngressClassLister
}

func newDefaultIngressClass(o Options) *defaultIngressClass {
	i := o.Informers.Networking().V1().IngressClasses()
	d := &defaultIngressClass{admission.NewHandler(admission.Create), i.Lister()}
	d.SetReadyFunc(i.Informer().HasSynced)
	return d
}

// Admit implements admission.MutationInterface.
func (d *defaultIngressClass) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	ingress, ok := a.GetObject().(*networkingv1.Ingress)
	if !ok || a.GetSubresource() != "" || a.GetResource().GroupResource() != networkingv1.Resource("ingresses") {
		return nil
	}
	if _, annotated := ingress.Annotations[networkingv1beta1.AnnotationIngressClass]; annotated || ingress.Spec.IngressClassName != nil {
		return nil
	}
	if !d.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	all, err := d.classes.List(labels.Everything())
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	class, ok := newest(all, func(c *networkingv1.IngressClass) bool {
		return c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true"
	})
	if ok {
		name := class.Name
		ingress.Spec.IngressClassName = &name
	}
	return nil
}
