package volume

import (
	"context"

	v1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"proa/nodeagent/env"
)

// downwardAPI volumes show the pod's metadata and its containers' resources
// as files, on a tmpfs.
func downwardAPI() Type {
	return Type{
		Directory: "kubernetes.io~downward-api",
		Memory:    true,
		Matches:   func(s *v1.VolumeSource) bool { return s.DownwardAPI != nil },
		Content: func(_ context.Context, r *request) (payload, error) {
			s := r.volume.DownwardAPI
			return r.downwardFiles(s.Items, modeOr(s.DefaultMode, v1.DownwardAPIVolumeSourceDefaultMode))
		},
	}
}

func (r *request) downwardFiles(items []v1.DownwardAPIVolumeFile, mode int32) (payload, error) {
	files := payload{}
	var errs []error
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = env.Metadata(r.pod, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			value, err = env.ResourceValue(item.ResourceFieldRef, r.pod, nil, r.allocatable())
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files[item.Path] = file{data: []byte(value), mode: modeOr(item.Mode, mode)}
	}
	return files, utilerrors.NewAggregate(errs)
}
