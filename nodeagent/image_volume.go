package nodeagent

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"proa/nodeagent/image"
	"proa/nodeagent/volume"
)

// volumeImage finds or pulls the image of a volume and returns its id.
func (a *Agent) volumeImage(ctx context.Context, pod *v1.Pod, source *v1.ImageVolumeSource) (string, error) {
	full, err := image.Normalize(source.Reference)
	if err != nil {
		return "", fmt.Errorf("failed to apply default image tag %q: %w", source.Reference, err)
	}
	unlock, err := a.pulls.lock(ctx, full)
	if err != nil {
		return "", err
	}
	defer unlock()
	policy := pullPolicy(&v1.Container{Image: source.Reference, ImagePullPolicy: source.PullPolicy})
	if policy != v1.PullAlways {
		img, err := a.image(ctx, source.Reference, full)
		if err != nil {
			return "", fmt.Errorf("failed to inspect image %q: %w", source.Reference, err)
		}
		if img != nil {
			return img.Id, nil
		}
	}
	if policy == v1.PullNever {
		return "", fmt.Errorf("container image %q is not present with pull policy of Never", source.Reference)
	}
	a.events.pod(pod, v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", source.Reference))
	start := a.o.Clock.Now()
	if err := a.pull(ctx, pod, full); err != nil {
		a.events.pod(pod, v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", source.Reference, err))
		return "", fmt.Errorf("failed to pull image %q: %w", source.Reference, err)
	}
	img, err := a.image(ctx, source.Reference, full)
	if err != nil || img == nil {
		return "", fmt.Errorf("image %q is not there after its pull: %v", source.Reference, err)
	}
	a.events.pod(pod, v1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v. Image size: %v bytes.",
		source.Reference, a.o.Clock.Since(start).Round(1e6), img.Size))
	return img.Id, nil
}

// imageMount mounts an image volume, or the path sub of it.
func imageMount(m *v1.VolumeMount, v volume.Mounted, sub, path string) *runtimeapi.Mount {
	return &runtimeapi.Mount{
		ContainerPath: path, Image: &runtimeapi.ImageSpec{Image: v.Image}, ImageSubPath: sub,
		Readonly: true, Propagation: propagation(m.MountPropagation), SelinuxRelabel: true,
	}
}
