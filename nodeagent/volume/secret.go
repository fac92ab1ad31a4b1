package volume

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// secret volumes have one file per key of a secret, on a tmpfs.
func secret() Type {
	return Type{
		Directory: "kubernetes.io~secret",
		Memory:    true,
		Matches:   func(s *v1.VolumeSource) bool { return s.Secret != nil },
		Content: func(ctx context.Context, r *request) (payload, error) {
			s := r.volume.Secret
			return r.secretFiles(ctx, s.SecretName, s.Items, modeOr(s.DefaultMode, v1.SecretVolumeSourceDefaultMode), isTrue(s.Optional))
		},
	}
}

// secretFiles returns the files for a secret's keys: all of them, or those
// that items name.
func (r *request) secretFiles(ctx context.Context, name string, items []v1.KeyToPath, mode int32, optional bool) (payload, error) {
	s, err := r.objects.Secret(ctx, r.pod.Namespace, name)
	if err != nil {
		if !optional || !apierrors.IsNotFound(err) {
			return nil, err
		}
		s = &v1.Secret{}
	}
	return keysToFiles(s.Data, items, mode, optional, func(key string) error {
		return fmt.Errorf("references non-existent secret key: %s", key)
	})
}
