package volume

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Type is one volume type: how to recognize it and how to make one. Exactly
// one of SetUp and Content is set.
type Type struct {
	// Directory is the plugin's directory name, such as kubernetes.io~secret.
	Directory string
	// Matches says whether a volume is of this type.
	Matches func(*v1.VolumeSource) bool
	// SetUp makes the volume, or finds that it is there, and says where.
	SetUp func(context.Context, *request) (Mounted, error)
	// Content computes the files of a volume that consists of files. The
	// manager writes them, and again whenever they change.
	Content func(context.Context, *request) (payload, error)
	// Memory keeps Content's files on a tmpfs of the volume's own, so that
	// they never reach a disk.
	Memory bool
}

// Mounted is where a volume is on the host.
type Mounted struct {
	// HostPath is the file or directory to bind into containers.
	HostPath string
	// Image is, in place of HostPath, the id of the image that the runtime
	// mounts.
	Image string
	// ReadOnly means that containers may not write, whatever they ask for.
	ReadOnly bool
}

// file is one file of a volume's content.
type file struct {
	data []byte
	mode int32
	uid  *int64 // owner; nil leaves root
}

// payload is a volume's content: files by relative path.
type payload map[string]file

// request is one volume to make.
type request struct {
	*Manager
	pod    *v1.Pod
	volume *v1.Volume
	dir    string // where the volume belongs

	// refreshAt is set by Content: when the files must be computed again
	// even if nothing changes. Zero means never.
	refreshAt time.Time
}

// refreshBy moves the request's next refresh forward to t.
func (r *request) refreshBy(t time.Time) {
	if r.refreshAt.IsZero() || t.Before(r.refreshAt) {
		r.refreshAt = t
	}
}

// fsGroup is the group that owns the pod's volumes, if there is one.
func (r *request) fsGroup() *int64 {
	if r.pod.Spec.SecurityContext == nil {
		return nil
	}
	return r.pod.Spec.SecurityContext.FSGroup
}

// refuse says why a volume of no known type cannot be made.
func refuse(v *v1.Volume) error {
	kind := "this type of"
	switch s := &v.VolumeSource; {
	case s.PersistentVolumeClaim != nil:
		kind = "persistentVolumeClaim"
	case s.Ephemeral != nil:
		kind = "ephemeral"
	case s.CSI != nil:
		kind = "csi"
	case s.NFS != nil:
		kind = "nfs"
	case s.ISCSI != nil:
		kind = "iscsi"
	case s.FC != nil:
		kind = "fc"
	}
	return fmt.Errorf("%s volumes are not supported by this node: use emptyDir, hostPath, configMap, secret, downwardAPI, projected or image", kind)
}
