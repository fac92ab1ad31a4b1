package core

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"proa/apis/kind"
)

// streamVerb is what differs between exec, attach and port-forward.
type streamVerb struct {
	newOptions func() runtime.Object
	// path is the first element of the node agent's path.
	path string
	// request reads the options: the container that is named (containers=false:
	// the pod as a whole), and the node agent's query.
	request func(options runtime.Object) (container string, query url.Values, stdio translator.Options, err error)
	// whole streams belong to the pod, not to a container.
	whole bool
}

// podStreamREST connects a client with streams of a container through the pod's
// node: pods/exec, pods/attach, pods/portforward.
type podStreamREST struct {
	pods podGetter
	deps *kind.Deps
	verb streamVerb
}

// New implements rest.Storage.
func (r *podStreamREST) New() runtime.Object { return r.verb.newOptions() }

// Destroy implements rest.Storage.
func (r *podStreamREST) Destroy() {}

// NewConnectOptions implements rest.Connecter.
func (r *podStreamREST) NewConnectOptions() (runtime.Object, bool, string) {
	return r.verb.newOptions(), false, ""
}

// ConnectMethods implements rest.Connecter; websockets start with GET.
func (r *podStreamREST) ConnectMethods() []string { return []string{http.MethodGet, http.MethodPost} }

// Connect implements rest.Connecter.
func (r *podStreamREST) Connect(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	if err := mayCreate(ctx, r.deps.Authorizer); err != nil {
		return nil, err
	}
	container, query, stdio, err := r.verb.request(options)
	if err != nil {
		return nil, err
	}
	pod, err := r.pods.get(ctx, name)
	if err != nil {
		return nil, err
	}
	where := path.Join(r.verb.path, pod.Namespace, pod.Name)
	if !r.verb.whole {
		if container, err = pickContainer(pod, container); err != nil {
			return nil, err
		}
		where = path.Join(where, container)
	}
	if pod.Spec.NodeName == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", name))
	}
	base, transport, err := r.deps.Nodes.NodeURL(ctx, pod.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	location := base.JoinPath(where)
	location.RawQuery = query.Encode()

	handler := proxy.NewUpgradeAwareHandler(location, transport, false, true, proxy.NewErrorResponder(responder))
	// Clients speak websockets, node agents SPDY: translate between them (KEP-4006).
	if r.verb.whole {
		return translator.NewTranslatingHandler(handler, translator.NewTunnelingHandler(handler), wsstream.IsWebSocketRequestWithTunnelingProtocol), nil
	}
	return translator.NewTranslatingHandler(handler,
		translator.NewStreamTranslatorHandler(location, transport, 0, stdio), wsstream.IsWebSocketRequestWithStreamCloseProtocol), nil
}

var (
	execStream = streamVerb{
		newOptions: func() runtime.Object { return &corev1.PodExecOptions{} },
		path:       "exec",
		request: func(options runtime.Object) (string, url.Values, translator.Options, error) {
			o, ok := options.(*corev1.PodExecOptions)
			if !ok {
				return "", nil, translator.Options{}, fmt.Errorf("invalid options object: %T", options)
			}
			q := stdioQuery(o.Stdin, o.Stdout, o.Stderr, o.TTY)
			q["command"] = o.Command
			return o.Container, q, translator.Options{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY}, nil
		},
	}
	attachStream = streamVerb{
		newOptions: func() runtime.Object { return &corev1.PodAttachOptions{} },
		path:       "attach",
		request: func(options runtime.Object) (string, url.Values, translator.Options, error) {
			o, ok := options.(*corev1.PodAttachOptions)
			if !ok {
				return "", nil, translator.Options{}, fmt.Errorf("invalid options object: %T", options)
			}
			return o.Container, stdioQuery(o.Stdin, o.Stdout, o.Stderr, o.TTY),
				translator.Options{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY}, nil
		},
	}
	portForwardStream = streamVerb{
		newOptions: func() runtime.Object { return &corev1.PodPortForwardOptions{} },
		path:       "portForward",
		whole:      true,
		request: func(options runtime.Object) (string, url.Values, translator.Options, error) {
			o, ok := options.(*corev1.PodPortForwardOptions)
			if !ok {
				return "", nil, translator.Options{}, fmt.Errorf("invalid options object: %T", options)
			}
			q := url.Values{}
			if len(o.Ports) > 0 {
				ports := make([]string, len(o.Ports))
				for i, p := range o.Ports {
					ports[i] = strconv.Itoa(int(p))
				}
				q.Set(corev1.PortHeader, strings.Join(ports, ","))
			}
			return "", q, translator.Options{}, nil
		},
	}
)

func stdioQuery(stdin, stdout, stderr, tty bool) url.Values {
	q := url.Values{}
	for _, p := range []struct {
		name string
		set  bool
	}{{corev1.ExecStdinParam, stdin}, {corev1.ExecStdoutParam, stdout}, {corev1.ExecStderrParam, stderr}, {corev1.ExecTTYParam, tty}} {
		if p.set {
			q.Set(p.name, "1")
		}
	}
	return q
}

// mayCreate demands the verb create: a websocket's GET would be authorized as
// "get", which must not be enough to run commands.
func mayCreate(ctx context.Context, a authorizer.Authorizer) error {
	info, ok := request.RequestInfoFrom(ctx)
	if !ok {
		return apierrors.NewInternalError(errors.New("no request info in context"))
	}
	if info.Verb == "create" {
		return nil
	}
	if a == nil {
		return apierrors.NewInternalError(errors.New("no authorizer available"))
	}
	attributes, err := filters.GetAuthorizerAttributes(ctx)
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("error building authorizer attributes: %w", err))
	}
	decision, reason, err := a.Authorize(ctx, asCreate{attributes})
	if err != nil {
		return err
	}
	if decision != authorizer.DecisionAllow {
		return apierrors.NewForbidden(schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, info.Name, errors.New(reason))
	}
	return nil
}

type asCreate struct{ authorizer.Attributes }

// GetVerb implements authorizer.Attributes.
func (asCreate) GetVerb() string { return "create" }
