package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
)

const limitRangerAnnotation = "kubernetes.io/limit-ranger"

// limitRanger gives containers the default resources of their namespace's
// LimitRanges and refuses what is outside the limits.
type limitRanger struct {
	*admission.Handler
	lister corelisters.LimitRangeLister
	client kubernetes.Interface
	clock  clock.PassiveClock
	// live holds the last answers about namespaces of which the cache has
	// nothing: it may be behind.
	live  *lru.Cache
	group singleflight.Group
}

// liveAnswer is what the API said of a namespace without cached limit ranges,
// believed until it expires.
type liveAnswer struct {
	expires time.Time
	ranges  []*corev1.LimitRange
}

const liveAnswerTTL = 30 * time.Second

func newLimitRanger(o Options) *limitRanger {
	i := o.Informers.Core().V1().LimitRanges()
	l := &limitRanger{
		Handler: admission.NewHandler(admission.Create, admission.Update), lister: i.Lister(),
		client: o.Client, clock: o.Clock, live: lru.New(10000),
	}
	l.SetReadyFunc(i.Informer().HasSynced)
	return l
}

// Admit implements admission.MutationInterface.
func (l *limitRanger) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	return l.each(a, func(r *corev1.LimitRange) error {
		if pod, ok := a.GetObject().(*corev1.Pod); ok {
			defaultResources(pod, r)
		}
		return nil
	})
}

// Validate implements admission.ValidationInterface.
func (l *limitRanger) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	return l.each(a, func(r *corev1.LimitRange) error {
		switch o := a.GetObject().(type) {
		case *corev1.Pod:
			return checkPod(o, r)
		case *corev1.PersistentVolumeClaim:
			return checkClaim(o, r)
		}
		return nil
	})
}

// ranges are the namespace's, asked for where the cache has none.
func (l *limitRanger) ranges(namespace string) ([]*corev1.LimitRange, error) {
	cached, err := l.lister.LimitRanges(namespace).List(labels.Everything())
	if err != nil || len(cached) > 0 {
		return cached, err
	}
	if v, ok := l.live.Get(namespace); ok && l.clock.Now().Before(v.(liveAnswer).expires) {
		return v.(liveAnswer).ranges, nil
	}
	v, err, _ := l.group.Do(namespace, func() (any, error) {
		list, err := l.client.CoreV1().LimitRanges(namespace).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		answer := liveAnswer{expires: l.clock.Now().Add(liveAnswerTTL)}
		for i := range list.Items {
			answer.ranges = append(answer.ranges, &list.Items[i])
		}
		l.live.Add(namespace, answer)
		return answer, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(liveAnswer).ranges, nil
}

func (l *limitRanger) each(a admission.Attributes, f func(*corev1.LimitRange) error) error {
	switch a.GetObject().(type) {
	case *corev1.Pod:
		// Containers' resources change after creation only through /resize.
		created := a.GetSubresource() == "" && a.GetOperation() == admission.Create
		if a.GetResource().Resource != "pods" || (!created && a.GetSubresource() != "resize") {
			return nil
		}
		if old, ok := a.GetOldObject().(*corev1.Pod); ok && old.DeletionTimestamp != nil {
			return nil
		}
	case *corev1.PersistentVolumeClaim:
		if a.GetSubresource() != "" {
			return nil
		}
		if old, ok := a.GetOldObject().(*corev1.PersistentVolumeClaim); ok && old.DeletionTimestamp != nil {
			return nil
		}
	default:
		return nil
	}
	if !l.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	ranges, err := l.ranges(a.GetNamespace())
	if err != nil {
		return admission.NewForbidden(a, fmt.Errorf("unable to %s %v at this time because there was an error enforcing limit ranges", a.GetOperation(), a.GetResource()))
	}
	for _, r := range ranges {
		if err := f(r); err != nil {
			return admission.NewForbidden(a, err)
		}
	}
	return nil
}

func defaultResources(pod *corev1.Pod, r *corev1.LimitRange) {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	for _, item := range r.Spec.Limits {
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		for k, v := range item.DefaultRequest {
			requests[k] = v
		}
		for k, v := range item.Default {
			limits[k] = v
		}
	}
	var notes []string
	merge := func(into *corev1.ResourceList, defaults corev1.ResourceList, note string) {
		if *into == nil {
			*into = corev1.ResourceList{}
		}
		var set []string
		for k, v := range defaults {
			if _, ok := (*into)[k]; !ok {
				(*into)[k] = v.DeepCopy()
				set = append(set, string(k))
			}
		}
		if len(set) > 0 {
			slices.Sort(set)
			notes = append(notes, strings.Join(set, ", ")+note)
		}
	}
	each := func(containers []corev1.Container, what string) {
		for i := range containers {
			c := &containers[i]
			merge(&c.Resources.Requests, requests, fmt.Sprintf(" request for %s %s", what, c.Name))
			merge(&c.Resources.Limits, limits, fmt.Sprintf(" limit for %s %s", what, c.Name))
		}
	}
	each(pod.Spec.Containers, "container")
	each(pod.Spec.InitContainers, "init container")
	if len(notes) > 0 {
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[limitRangerAnnotation] = "LimitRanger plugin set: " + strings.Join(notes, "; ")
	}
}

func checkPod(pod *corev1.Pod, r *corev1.LimitRange) error {
	var errs []error
	for _, item := range r.Spec.Limits {
		switch item.Type {
		case corev1.LimitTypeContainer:
			for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
				errs = append(errs, checkItem(item, c.Resources.Requests, c.Resources.Limits)...)
			}
		case corev1.LimitTypePod:
			o := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
			errs = append(errs, checkItem(item, resourcehelper.PodRequests(pod, o), resourcehelper.PodLimits(pod, o))...)
		}
	}
	return utilerrors.NewAggregate(errs)
}

func checkItem(item corev1.LimitRangeItem, requests, limits corev1.ResourceList) []error {
	var errs []error
	for _, k := range sortedNames(item.Min) {
		errs = append(errs, checkMin(string(item.Type), k, item.Min[k], requests, limits)...)
	}
	for _, k := range sortedNames(item.Max) {
		errs = append(errs, checkMax(string(item.Type), k, item.Max[k], requests, limits)...)
	}
	for _, k := range sortedNames(item.MaxLimitRequestRatio) {
		errs = append(errs, checkRatio(string(item.Type), k, item.MaxLimitRequestRatio[k], requests, limits)...)
	}
	return errs
}

func sortedNames(l corev1.ResourceList) []corev1.ResourceName {
	out := make([]corev1.ResourceName, 0, len(l))
	for k := range l {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func one(format string, args ...any) []error { return []error{fmt.Errorf(format, args...)} }

func checkMin(kind string, name corev1.ResourceName, min resource.Quantity, requests, limits corev1.ResourceList) []error {
	req, hasReq := requests[name]
	lim, hasLim := limits[name]
	switch {
	case !hasReq:
		return one("minimum %s usage per %s is %s.  No request is specified", name, kind, min.String())
	case req.Cmp(min) < 0:
		return one("minimum %s usage per %s is %s, but request is %s", name, kind, min.String(), req.String())
	case hasLim && lim.Cmp(min) < 0:
		return one("minimum %s usage per %s is %s, but limit is %s", name, kind, min.String(), lim.String())
	}
	return nil
}

func checkMax(kind string, name corev1.ResourceName, max resource.Quantity, requests, limits corev1.ResourceList) []error {
	req, hasReq := requests[name]
	lim, hasLim := limits[name]
	switch {
	case !hasLim:
		return one("maximum %s usage per %s is %s.  No limit is specified", name, kind, max.String())
	case lim.Cmp(max) > 0:
		return one("maximum %s usage per %s is %s, but limit is %s", name, kind, max.String(), lim.String())
	case hasReq && req.Cmp(max) > 0:
		return one("maximum %s usage per %s is %s, but request is %s", name, kind, max.String(), req.String())
	}
	return nil
}

func checkRatio(kind string, name corev1.ResourceName, max resource.Quantity, requests, limits corev1.ResourceList) []error {
	req, lim := requests[name], limits[name]
	switch {
	case req.IsZero():
		return one("%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, kind, max.String())
	case lim.IsZero():
		return one("%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", name, kind, max.String())
	}
	if ratio := lim.AsApproximateFloat64() / req.AsApproximateFloat64(); ratio > max.AsApproximateFloat64() {
		return one("%s max limit to request ratio per %s is %s, but provided ratio is %f", name, kind, max.String(), ratio)
	}
	return nil
}

func checkClaim(pvc *corev1.PersistentVolumeClaim, r *corev1.LimitRange) error {
	var errs []error
	requests := pvc.Spec.Resources.Requests
	for _, item := range r.Spec.Limits {
		if item.Type != corev1.LimitTypePersistentVolumeClaim {
			continue
		}
		for _, k := range sortedNames(item.Min) {
			errs = append(errs, checkMin(string(item.Type), k, item.Min[k], requests, nil)...)
		}
		for _, k := range sortedNames(item.Max) {
			max := item.Max[k]
			switch req, ok := requests[k]; {
			case !ok:
				errs = append(errs, one("maximum %s usage per %s is %s.  No request is specified", k, item.Type, max.String())...)
			case req.Cmp(max) > 0:
				errs = append(errs, one("maximum %s usage per %s is %s, but request is %s", k, item.Type, max.String(), req.String())...)
			}
		}
	}
	return utilerrors.NewAggregate(errs)
}
