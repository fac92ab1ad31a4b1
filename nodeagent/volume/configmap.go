package volume

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// configMap volumes have one file per key of a config map, on the node's
// disk.
func configMap() Type {
	return Type{
		Directory: "kubernetes.io~configmap",
		Matches:   func(s *v1.VolumeSource) bool { return s.ConfigMap != nil },
		Content: func(ctx context.Context, r *request) (payload, error) {
			s := r.volume.ConfigMap
			return r.configMapFiles(ctx, s.Name, s.Items, modeOr(s.DefaultMode, v1.ConfigMapVolumeSourceDefaultMode), isTrue(s.Optional))
		},
	}
}

// configMapFiles returns the files for a config map's keys: all of them, or
// those that items name.
func (r *request) configMapFiles(ctx context.Context, name string, items []v1.KeyToPath, mode int32, optional bool) (payload, error) {
	cm, err := r.objects.ConfigMap(ctx, r.pod.Namespace, name)
	if err != nil {
		if !optional || !apierrors.IsNotFound(err) {
			return nil, err
		}
		cm = &v1.ConfigMap{}
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	for k, v := range cm.BinaryData {
		data[k] = v
	}
	return keysToFiles(data, items, mode, optional, func(key string) error {
		return fmt.Errorf("configmap references non-existent config key: %s", key)
	})
}

// keysToFiles maps keys to files: each key to a file of its name, or those
// keys that items name to their paths and modes.
func keysToFiles(data map[string][]byte, items []v1.KeyToPath, mode int32, optional bool, missing func(key string) error) (payload, error) {
	files := payload{}
	if len(items) == 0 {
		for k, v := range data {
			files[k] = file{data: v, mode: mode}
		}
		return files, nil
	}
	for _, item := range items {
		v, ok := data[item.Key]
		if !ok {
			if optional {
				continue
			}
			return nil, missing(item.Key)
		}
		files[item.Path] = file{data: v, mode: modeOr(item.Mode, mode)}
	}
	return files, nil
}

func modeOr(mode *int32, otherwise int32) int32 {
	if mode == nil {
		return otherwise
	}
	return *mode
}

func isTrue(b *bool) bool { return b != nil && *b }
