package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/proxy"
	translator "k8s.io/apiserver/pkg/util/proxy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/klog/v2"
	kubelettypes "k8s.io/kubelet/pkg/types"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// exec runs a command in a container, with its streams connected to the
// client: /exec/{namespace}/{pod}/[{uid}/]{container}?command=…&input=1&output=1&error=1&tty=1.
func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	s.stream(w, r, func(ctx context.Context, id string, o *remotecommand.Options) (string, error) {
		return s.o.Runtime.Exec(ctx, &runtimeapi.ExecRequest{
			ContainerId: id, Cmd: r.URL.Query()[v1.ExecCommandParam], Tty: o.TTY, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr,
		})
	})
}

// attach connects the client to a container's own streams.
func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	s.stream(w, r, func(ctx context.Context, id string, o *remotecommand.Options) (string, error) {
		return s.o.Runtime.Attach(ctx, &runtimeapi.AttachRequest{ContainerId: id, Tty: o.TTY, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr})
	})
}

// stream is what exec and attach have in common; open asks the runtime for
// the stream's URL.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, open func(ctx context.Context, id string, o *remotecommand.Options) (string, error)) {
	o, err := remotecommand.NewOptions(r)
	if err != nil {
		writeText(w, http.StatusBadRequest, err.Error())
		return
	}
	pod, ok := s.findPod(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"))
	if !ok {
		writeText(w, http.StatusNotFound, "pod does not exist")
		return
	}
	id, err := execTarget(pod, r.PathValue("container"))
	if err != nil {
		writeStreamError(w, err)
		return
	}
	location, err := location(open(r.Context(), id, o))
	if err != nil {
		writeStreamError(w, err)
		return
	}
	if wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) {
		// The newest WebSocket protocol becomes SPDY, which every runtime speaks.
		translator.NewStreamTranslatorHandler(location, nil, 0, translator.Options{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY}).ServeHTTP(w, r)
		return
	}
	handOver(location).ServeHTTP(w, r)
}

// portForward connects the client to ports of a pod:
// /portForward/{namespace}/{pod}[/{uid}]; WebSocket clients name them as
// ?port=….
func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	tunnel := wsstream.IsWebSocketRequestWithTunnelingProtocol(r)
	o := &portforward.V4Options{}
	if !tunnel { // inside a tunnel is SPDY, whose streams name the ports
		var err error
		if o, err = portforward.NewV4Options(r); err != nil {
			writeText(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	pod, ok := s.findPod(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"))
	if !ok {
		writeText(w, http.StatusNotFound, "pod does not exist")
		return
	}
	id, err := s.sandboxOf(r.Context(), pod)
	if err != nil {
		writeStreamError(w, err)
		return
	}
	location, err := location(s.o.Runtime.PortForward(r.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: id, Port: o.Ports}))
	if err != nil {
		writeStreamError(w, err)
		return
	}
	if tunnel {
		translator.NewTunnelingHandler(handOver(location)).ServeHTTP(w, r)
		return
	}
	handOver(location).ServeHTTP(w, r)
}

// sandboxOf returns the pod's sandbox that is ready, the newest if a change
// is under way.
func (s *Server) sandboxOf(ctx context.Context, pod *v1.Pod) (string, error) {
	list, err := s.o.Runtime.ListPodSandbox(ctx, &runtimeapi.PodSandboxFilter{
		State:         &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY},
		LabelSelector: map[string]string{kubelettypes.KubernetesPodUIDLabel: string(pod.UID)},
	})
	if err != nil {
		return "", err
	}
	var newest *runtimeapi.PodSandbox
	for _, sandbox := range list {
		if newest == nil || sandbox.CreatedAt > newest.CreatedAt {
			newest = sandbox
		}
	}
	if newest == nil {
		return "", fmt.Errorf("failed to find sandbox for pod %s/%s: it is not running", pod.Namespace, pod.Name)
	}
	return newest.Id, nil
}

// location parses the URL that the runtime answered.
func location(text string, err error) (*url.URL, error) {
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the runtime's streaming URL %q is not valid", text)
	}
	return u, nil
}

// handOver passes the upgraded connection on to the runtime's streaming
// server.
func handOver(location *url.URL) http.Handler {
	return proxy.NewUpgradeAwareHandler(location, nil, false, true, streamErrors{})
}

type streamErrors struct{}

// Error implements proxy.ErrorResponder.
func (streamErrors) Error(w http.ResponseWriter, r *http.Request, err error) {
	klog.FromContext(r.Context()).Error(err, "Error while proxying request")
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

func writeStreamError(w http.ResponseWriter, err error) {
	_ = streaming.WriteError(err, w)
}
