package volume

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"
)

// image volumes are what an image holds, to be read (KEP-4639). The runtime
// mounts them; here the image is only brought to the node.
func image() Type {
	return Type{
		Directory: "kubernetes.io~image",
		Matches:   func(s *v1.VolumeSource) bool { return s.Image != nil },
		SetUp: func(ctx context.Context, r *request) (Mounted, error) {
			if r.images == nil {
				return Mounted{}, errors.New("this node brings no images for volumes")
			}
			ref, err := r.images(ctx, r.pod, r.volume.Image)
			return Mounted{Image: ref, ReadOnly: true}, err
		},
	}
}
