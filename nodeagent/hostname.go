package nodeagent

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// hostnameMax is what the kernel takes, less its final zero.
const hostnameMax = 63

// hostname returns a pod's host name and, if it has a subdomain, the domain it
// is in.
func hostname(pod *v1.Pod, clusterDomain string) (name, domain string, err error) {
	if o := pod.Spec.HostnameOverride; o != nil {
		if msgs := validation.IsDNS1123Subdomain(*o); len(msgs) != 0 {
			return "", "", fmt.Errorf("pod HostnameOverride %q is not a valid DNS subdomain: %s", *o, strings.Join(msgs, ";"))
		}
		name, err = truncate(*o)
		return name, "", err
	}
	name = pod.Name
	if h := pod.Spec.Hostname; h != "" {
		if msgs := validation.IsDNS1123Label(h); len(msgs) != 0 {
			return "", "", fmt.Errorf("pod Hostname %q is not a valid DNS label: %s", h, strings.Join(msgs, ";"))
		}
		name = h
	}
	if s := pod.Spec.Subdomain; s != "" {
		if msgs := validation.IsDNS1123Label(s); len(msgs) != 0 {
			return "", "", fmt.Errorf("pod Subdomain %q is not a valid DNS label: %s", s, strings.Join(msgs, ";"))
		}
		domain = fmt.Sprintf("%s.%s.svc.%s", s, pod.Namespace, clusterDomain)
	}
	name, err = truncate(name)
	return name, domain, err
}

func truncate(name string) (string, error) {
	if len(name) <= hostnameMax {
		return name, nil
	}
	if cut := strings.TrimRight(name[:hostnameMax], "-."); cut != "" {
		return cut, nil
	}
	return "", fmt.Errorf("hostname %q is invalid", name)
}

// sandboxHostname is the host name as the sandbox gets it: the fully qualified
// one where the pod asks for it.
func sandboxHostname(pod *v1.Pod, clusterDomain string) (string, error) {
	name, domain, err := hostname(pod, clusterDomain)
	if err != nil {
		return "", err
	}
	if f := pod.Spec.SetHostnameAsFQDN; f != nil && *f && domain != "" {
		full := name + "." + domain
		if len(full) > hostnameMax+1 {
			return "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)", full, hostnameMax+1, len(full))
		}
		return full, nil
	}
	return name, nil
}
