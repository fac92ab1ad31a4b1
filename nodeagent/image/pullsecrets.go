package image

import (
	"context"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"proa/nodeagent/object"
)

// PullSecrets finds credentials in the pull secrets that a pod names; those
// of its service account are among them, put there by admission.
type PullSecrets struct {
	// Objects gives the secrets. Required.
	Objects object.Source
	// OnMissing gets what the upstream kubelet makes into a warning event of
	// the pod, reason FailedToRetrieveImagePullSecret. May be nil.
	OnMissing func(pod *v1.Pod, message string)
}

// Credentials returns what to try for an image, the most specific first. A
// secret that is missing or broken is not an error, as the image may not need
// it.
func (p *PullSecrets) Credentials(ctx context.Context, pod *v1.Pod, image string) ([]*runtimeapi.AuthConfig, error) {
	var secrets []*v1.Secret
	var missing []string
	for _, ref := range pod.Spec.ImagePullSecrets {
		if ref.Name == "" {
			continue
		}
		s, err := p.Objects.Secret(ctx, pod.Namespace, ref.Name)
		if err != nil {
			missing = append(missing, ref.Name)
			continue
		}
		secrets = append(secrets, s)
	}
	if len(missing) > 0 && p.OnMissing != nil {
		p.OnMissing(pod, fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(missing, ", ")))
	}
	auths, err := AuthFor(image, secrets)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Some image pull secrets cannot be used", "pod", klog.KObj(pod))
	}
	return auths, nil
}
