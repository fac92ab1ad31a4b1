package core

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericrest "k8s.io/apiserver/pkg/registry/generic/rest"

	"proa/apis/kind"
)

// podLogREST streams a container's log from the pod's node: pods/log.
type podLogREST struct {
	pods  podGetter
	nodes kind.NodeDialer
}

// New implements rest.Storage.
func (r *podLogREST) New() runtime.Object { return &corev1.Pod{} }

// Destroy implements rest.Storage.
func (r *podLogREST) Destroy() {}

// ProducesMIMETypes implements rest.StorageMetadata.
func (r *podLogREST) ProducesMIMETypes(string) []string { return []string{"text/plain"} }

// ProducesObject implements rest.StorageMetadata.
func (r *podLogREST) ProducesObject(string) any { return "" }

// OverrideMetricsVerb implements rest.StorageMetadata's companion: a log is a connection.
func (r *podLogREST) OverrideMetricsVerb(verb string) string {
	if verb == http.MethodGet {
		return "CONNECT"
	}
	return verb
}

// NewGetOptions implements rest.GetterWithOptions.
func (r *podLogREST) NewGetOptions() (runtime.Object, bool, string) {
	return &corev1.PodLogOptions{}, false, ""
}

// Get implements rest.GetterWithOptions.
func (r *podLogREST) Get(ctx context.Context, name string, options runtime.Object) (runtime.Object, error) {
	o, ok := options.(*corev1.PodLogOptions)
	if !ok {
		return nil, fmt.Errorf("invalid options object: %T", options)
	}
	if errs := validateLogOptions(o); len(errs) > 0 {
		return nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("PodLogOptions").GroupKind(), name, errs)
	}
	pod, err := r.pods.get(ctx, name)
	if err != nil {
		return nil, err
	}
	container, err := pickContainer(pod, o.Container)
	if err != nil {
		return nil, err
	}
	streamer := &genericrest.LocationStreamer{
		ContentType:                 "text/plain",
		Flush:                       o.Follow,
		ResponseChecker:             genericrest.NewGenericHttpResponseChecker(corev1.Resource("pods/log"), name),
		RedirectChecker:             genericrest.PreventRedirects,
		TLSVerificationErrorCounter: ignoreCount{},
	}
	if pod.Spec.NodeName == "" {
		return streamer, nil // nothing has been logged yet: an empty answer
	}
	base, transport, err := r.nodes.NodeURL(ctx, pod.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	streamer.Transport = transport
	streamer.Location = base.JoinPath(path.Join("containerLogs", pod.Namespace, pod.Name, container))
	streamer.Location.RawQuery = logQuery(o).Encode()
	return streamer, nil
}

// ignoreCount is a counter of TLS errors that nobody reads.
type ignoreCount struct{}

// Inc implements genericrest.CounterMetric.
func (ignoreCount) Inc() {}

func logQuery(o *corev1.PodLogOptions) url.Values {
	q := url.Values{}
	flag := func(name string, set bool) {
		if set {
			q.Set(name, "true")
		}
	}
	number := func(name string, n *int64) {
		if n != nil {
			q.Set(name, strconv.FormatInt(*n, 10))
		}
	}
	flag("follow", o.Follow)
	flag("previous", o.Previous)
	flag("timestamps", o.Timestamps)
	number("sinceSeconds", o.SinceSeconds)
	number("tailLines", o.TailLines)
	number("limitBytes", o.LimitBytes)
	if o.SinceTime != nil {
		q.Set("sinceTime", o.SinceTime.Format(time.RFC3339))
	}
	if o.Stream != nil {
		q.Set("stream", *o.Stream)
	}
	return q
}

func validateLogOptions(o *corev1.PodLogOptions) (errs field.ErrorList) {
	if o.TailLines != nil {
		errs = append(errs, ValidateNonnegative(*o.TailLines, field.NewPath("tailLines"))...)
	}
	if o.LimitBytes != nil && *o.LimitBytes < 1 {
		errs = append(errs, field.Invalid(field.NewPath("limitBytes"), *o.LimitBytes, notPositiveMsg))
	}
	switch {
	case o.SinceSeconds != nil && o.SinceTime != nil:
		errs = append(errs, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	case o.SinceSeconds != nil && *o.SinceSeconds < 1:
		errs = append(errs, field.Invalid(field.NewPath("sinceSeconds"), *o.SinceSeconds, notPositiveMsg))
	}
	if o.Stream != nil {
		errs = append(errs, supported(*o.Stream, field.NewPath("stream"), corev1.LogStreamAll, corev1.LogStreamStderr, corev1.LogStreamStdout)...)
		if *o.Stream != corev1.LogStreamAll && o.TailLines != nil {
			errs = append(errs, field.Forbidden(field.NewPath(""), "`tailLines` and specific `stream` are mutually exclusive for now"))
		}
	}
	return errs
}

// pickContainer returns the name of the container that is meant: the only one if none is named.
func pickContainer(p *corev1.Pod, name string) (string, error) {
	names := containerNames(p)
	if name != "" {
		for _, n := range names {
			if n == name {
				return name, nil
			}
		}
		return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, p.Name))
	}
	switch len(p.Spec.Containers) {
	case 1:
		return p.Spec.Containers[0].Name, nil
	case 0:
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", p.Name))
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", p.Name, names))
}

// containerNames lists all containers of a pod, init containers first.
func containerNames(p *corev1.Pod) (names []string) {
	for i := range p.Spec.InitContainers {
		names = append(names, p.Spec.InitContainers[i].Name)
	}
	for i := range p.Spec.Containers {
		names = append(names, p.Spec.Containers[i].Name)
	}
	for i := range p.Spec.EphemeralContainers {
		names = append(names, p.Spec.EphemeralContainers[i].Name)
	}
	return names
}
