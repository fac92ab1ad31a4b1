package env

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Services lists the services whose variables a container gets. The answer
// must not be modified. An error means that the services are not known yet:
// the container must wait, or it would start without KUBERNETES_SERVICE_HOST.
type Services interface {
	Services(namespace string) ([]*v1.Service, error)
}

// ServicesFunc makes a function into Services.
type ServicesFunc func(namespace string) ([]*v1.Service, error)

// Services calls f.
func (f ServicesFunc) Services(namespace string) ([]*v1.Service, error) { return f(namespace) }

// serviceLinks returns the variables for the services of the pod's namespace
// (if its enableServiceLinks is not false) and, always, for the API server's
// service default/kubernetes.
func serviceLinks(pod *v1.Pod, services Services) (map[string]string, error) {
	vars := map[string]string{}
	if services == nil {
		return vars, nil
	}
	api, err := services.Services(metav1.NamespaceDefault)
	if err != nil {
		return nil, fmt.Errorf("failed to list services when setting up env vars: %w", err)
	}
	var own []*v1.Service
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		if own, err = services.Services(pod.Namespace); err != nil {
			return nil, fmt.Errorf("failed to list services when setting up env vars: %w", err)
		}
	}
	// A service called "kubernetes" of the pod's own namespace wins over the
	// API server's, as upstream has it.
	for _, svc := range api {
		if svc.Name == "kubernetes" {
			addService(vars, svc)
		}
	}
	for _, svc := range own {
		addService(vars, svc)
	}
	return vars, nil
}

// addService adds the variables of one service: NAME_SERVICE_HOST,
// NAME_SERVICE_PORT[_PORTNAME] and the older Docker-link ones.
func addService(vars map[string]string, svc *v1.Service) {
	ip := svc.Spec.ClusterIP
	if ip == "" || ip == v1.ClusterIPNone || svc.Spec.Type == v1.ServiceTypeExternalName || len(svc.Spec.Ports) == 0 {
		return
	}
	name := variableName(svc.Name)
	vars[name+"_SERVICE_HOST"] = ip
	vars[name+"_SERVICE_PORT"] = strconv.Itoa(int(svc.Spec.Ports[0].Port))
	for i, port := range svc.Spec.Ports {
		number := strconv.Itoa(int(port.Port))
		if port.Name != "" {
			vars[name+"_SERVICE_PORT_"+variableName(port.Name)] = number
		}
		protocol := string(port.Protocol)
		if protocol == "" {
			protocol = string(v1.ProtocolTCP)
		}
		url := strings.ToLower(protocol) + "://" + net.JoinHostPort(ip, number)
		if i == 0 {
			vars[name+"_PORT"] = url
		}
		prefix := name + "_PORT_" + number + "_" + strings.ToUpper(protocol)
		vars[prefix] = url
		vars[prefix+"_PROTO"] = strings.ToLower(protocol)
		vars[prefix+"_PORT"] = number
		vars[prefix+"_ADDR"] = ip
	}
}

func variableName(s string) string {
	return strings.ToUpper(strings.ReplaceAll(s, "-", "_"))
}
