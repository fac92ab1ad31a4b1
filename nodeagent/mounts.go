package nodeagent

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/env"
	"proa/nodeagent/volume"
)

// mounts returns a container's mounts: its volumes, the managed hosts file and
// the file for its termination message. vars expand subPathExpr.
func (a *Agent) mounts(pod *v1.Pod, c *v1.Container, volumes map[string]volume.Mounted, vars map[string]string, ips []string) ([]*runtimeapi.Mount, error) {
	var out []*runtimeapi.Mount
	ownHosts := false
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		v, ok := volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("cannot find volume %q to mount into container %q", m.Name, c.Name)
		}
		ownHosts = ownHosts || m.MountPath == etcHosts
		host := v.HostPath
		sub := m.SubPath
		if m.SubPathExpr != "" {
			var missing string
			sub = env.Expand(m.SubPathExpr, func(name string) (string, bool) {
				val, ok := vars[name]
				if !ok && missing == "" {
					missing = name
				}
				return val, ok
			})
			if missing != "" {
				return nil, fmt.Errorf("missing value for %q", missing)
			}
		}
		if sub != "" {
			if filepath.IsAbs(sub) {
				return nil, fmt.Errorf("error SubPath `%s` must not be an absolute path", sub)
			}
			if hasDotDot(sub) {
				return nil, fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", sub)
			}
			if v.Image == "" {
				var err error
				host, err = a.volumes.MountSubPath(pod, c.Name, i, m.Name, v, sub)
				if err != nil {
					return nil, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", m.Name, c.Name, err)
				}
			}
		}
		path := m.MountPath
		if !filepath.IsAbs(path) {
			path = filepath.Join("/", path)
		}
		if v.Image != "" {
			out = append(out, imageMount(m, v, sub, path))
			continue
		}
		out = append(out, &runtimeapi.Mount{
			ContainerPath: path, HostPath: host, Readonly: m.ReadOnly || v.ReadOnly, Propagation: propagation(m.MountPropagation),
			RecursiveReadOnly: m.ReadOnly && m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == v1.RecursiveReadOnlyEnabled,
			SelinuxRelabel:    true,
		})
	}
	dir := a.podDir(pod)
	if !ownHosts && (len(ips) > 0 || pod.Spec.HostNetwork) {
		path := filepath.Join(dir, "etc-hosts")
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, err
		}
		if err := a.writeHosts(pod, ips, path); err != nil {
			return nil, err
		}
		out = append(out, &runtimeapi.Mount{ContainerPath: etcHosts, HostPath: path, SelinuxRelabel: true})
	}
	if c.TerminationMessagePath != "" {
		path, err := terminationFile(filepath.Join(dir, "containers", c.Name))
		if err != nil {
			return nil, err
		}
		out = append(out, &runtimeapi.Mount{ContainerPath: c.TerminationMessagePath, HostPath: path, SelinuxRelabel: true})
	}
	return out, nil
}

// terminationFile makes a new empty file that any user in the container may write.
func terminationFile(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	path := filepath.Join(dir, hex.EncodeToString(b[:]))
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return "", err
	}
	// The umask must not have its way.
	return path, os.Chmod(path, 0o666)
}

func hasDotDot(p string) bool {
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

func propagation(p *v1.MountPropagationMode) runtimeapi.MountPropagation {
	if p != nil {
		switch *p {
		case v1.MountPropagationHostToContainer:
			return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
		case v1.MountPropagationBidirectional:
			return runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
		}
	}
	return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
}
