package nodeagent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"

	"proa/nodeagent/server"
)

// Pods returns the pods bound to this node with the newest status the agent
// knows. They are shared and must not be changed.
func (a *Agent) Pods() []*v1.Pod {
	var out []*v1.Pod
	for _, w := range a.all() {
		if p := w.pod(); p != nil {
			out = append(out, p)
		}
	}
	return out
}

// Pod returns one of them.
func (a *Agent) Pod(namespace, name string) (*v1.Pod, bool) {
	var found *v1.Pod
	for _, w := range a.all() {
		p := w.pod()
		if p == nil || p.Namespace != namespace || p.Name != name {
			continue
		}
		// A new pod may have an old one's name while that one is cleaned up.
		if found == nil || found.CreationTimestamp.Before(&p.CreationTimestamp) {
			found = p
		}
	}
	return found, found != nil
}

// pod is the worker's pod as the API has it, with the newest status.
func (w *worker) pod() *v1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known {
		return nil
	}
	if w.last == nil {
		return w.state.Pod
	}
	return &v1.Pod{TypeMeta: w.state.Pod.TypeMeta, ObjectMeta: w.state.Pod.ObjectMeta, Spec: w.state.Pod.Spec, Status: *w.last}
}

// clientCA is whose certificates the node's server accepts.
func (a *Agent) clientCA() ([]byte, error) {
	o := a.o
	switch {
	case len(o.ClientCA) > 0:
		return o.ClientCA, nil
	case o.Config != nil && len(o.Config.CAData) > 0:
		return o.Config.CAData, nil
	case o.Config != nil && o.Config.CAFile != "":
		return os.ReadFile(o.Config.CAFile)
	}
	return nil, errors.New("nodeagent: ServerCert is given, so ClientCA must be: it says whom the server believes")
}

func (a *Agent) tls() *tls.Config {
	if a.o.GetCertificate != nil {
		return &tls.Config{GetCertificate: a.o.GetCertificate}
	}
	return &tls.Config{Certificates: []tls.Certificate{*a.o.ServerCert}}
}

// serve is the node's server on port 10250.
func (a *Agent) serve(ctx context.Context) error {
	pem, err := a.clientCA()
	if err != nil {
		return err
	}
	ca, err := dynamiccertificates.NewStaticCAContent("client-ca", pem)
	if err != nil {
		return fmt.Errorf("nodeagent: client CA: %w", err)
	}
	authn, authz, err := server.Delegated(a.client, ca)
	if err != nil {
		return err
	}
	s, err := server.New(server.Options{
		Addr: net.JoinHostPort(a.o.ServeAddress, strconv.Itoa(a.o.Port)), TLS: a.tls(),
		Authenticator: authn, Authorizer: authz, NodeName: a.o.NodeName, Backend: a, Runtime: a.runtime, RootDir: a.o.RootDir,
		Healthy: a.node.healthy, Metrics: a.gatherer, Clock: a.o.Clock,
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// healthy says what is wrong with the agent, nil if nothing is.
func (n *nodeState) healthy() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runtime
}

// registry returns where metrics go and where they are read from.
func registry(r prometheus.Registerer) (prometheus.Registerer, prometheus.Gatherer) {
	if g, ok := r.(prometheus.Gatherer); ok {
		return r, g
	}
	own := prometheus.NewRegistry()
	if r == nil {
		return own, own
	}
	return r, nil
}
