package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	corelisters "k8s.io/client-go/listers/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// podResize refuses to resize a pod beyond its node, and where nodes cannot do it.
type podResize struct {
	*admission.Handler
	nodes corelisters.NodeLister
}

func newPodResize(o Options) *podResize {
	i := o.Informers.Core().V1().Nodes()
	p := &podResize{admission.NewHandler(admission.Update), i.Lister()}
	p.SetReadyFunc(i.Informer().HasSynced)
	return p
}

// Validate implements admission.ValidationInterface.
func (p *podResize) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetSubresource() != "resize" {
		return nil
	}
	pod, ok := podOf(a, "resize")
	old, hasOld := a.GetOldObject().(*corev1.Pod)
	if !ok || !hasOld || pod.Spec.NodeName == "" || old.Generation == pod.Generation {
		return nil
	}
	if !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	node, err := p.nodes.Get(pod.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return admission.NewForbidden(a, fmt.Errorf("node %q not found", pod.Spec.NodeName))
	}
	if err != nil {
		return admission.NewForbidden(a, fmt.Errorf("failed to get node %q: %w", pod.Spec.NodeName, err))
	}
	if os, ok := node.Labels[corev1.LabelOSStable]; ok && os != "linux" {
		return withCause(admission.NewForbidden(a, fmt.Errorf("pod resize is only supported on linux nodes, node %q is %q", node.Name, os)), "UnsupportedPlatform")
	}
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	var short []string
	if asked, have := requests.Cpu(), node.Status.Allocatable.Cpu(); asked.Cmp(*have) > 0 {
		short = append(short, fmt.Sprintf("cpu, requested: %d, allocatable: %d", asked.MilliValue(), have.MilliValue()))
	}
	if asked, have := requests.Memory(), node.Status.Allocatable.Memory(); asked.Cmp(*have) > 0 {
		short = append(short, fmt.Sprintf("memory, requested: %d, allocatable: %d", asked.Value(), have.Value()))
	}
	if len(short) > 0 {
		return withCause(admission.NewForbidden(a, fmt.Errorf("node didn't have enough allocatable resources: %s", strings.Join(short, "; "))), "NodeCapacity")
	}
	return nil
}

// withCause adds the reason that programs look for.
func withCause(err error, cause metav1.CauseType) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) && status.ErrStatus.Details != nil {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Type: cause})
	}
	return err
}
