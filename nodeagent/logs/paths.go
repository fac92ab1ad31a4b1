package logs

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// DefaultRoot is where container logs are on every node.
const DefaultRoot = "/var/log/pods"

// PodDir returns the directory of a pod's logs, <root>/<ns>_<name>_<uid>.
func PodDir(root, namespace, name string, uid types.UID) string {
	return filepath.Join(root, namespace+"_"+name+"_"+string(uid))
}

// PodOf takes a pod directory's name apart; ok is false for other names.
func PodOf(dir string) (namespace, name string, uid types.UID, ok bool) {
	parts := strings.Split(filepath.Base(dir), "_")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return "", "", "", false
	}
	return parts[0], parts[1], types.UID(parts[2]), true
}

// ContainerPath returns the log of one run of a container below its pod's
// directory, <container>/<restart count>.log; this is the log path that
// CreateContainer takes.
func ContainerPath(container string, restarts int) string {
	return filepath.Join(container, strconv.Itoa(restarts)+".log")
}

// LinkName is the name under which older log collectors look for a container
// in /var/log/containers.
func LinkName(namespace, pod, container, id string) string {
	const longest = 255
	const suffix = ".log"
	full := fmt.Sprintf("%s_%s_%s-%s", pod, namespace, container, id)
	if len(full)+len(suffix) > longest {
		full = full[:longest-len(suffix)]
	}
	return full + suffix
}
