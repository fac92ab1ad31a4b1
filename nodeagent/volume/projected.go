package volume

import (
	"context"
	"errors"
	"maps"

	v1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// projected volumes gather several sources in one directory, on a tmpfs. The
// service account volume of every pod is one: token, CA and namespace.
func projected() Type {
	return Type{
		Directory: "kubernetes.io~projected",
		Memory:    true,
		Matches:   func(s *v1.VolumeSource) bool { return s.Projected != nil },
		Content: func(ctx context.Context, r *request) (payload, error) {
			s := r.volume.Projected
			mode := modeOr(s.DefaultMode, v1.ProjectedVolumeSourceDefaultMode)
			files := payload{}
			var errs []error
			for i := range s.Sources {
				got, err := r.sourceFiles(ctx, &s.Sources[i], mode)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				maps.Copy(files, got) // later sources win
			}
			// One error stays what it is, so that a missing object shows.
			if len(errs) == 1 {
				return nil, errs[0]
			}
			return files, utilerrors.NewAggregate(errs)
		},
	}
}

func (r *request) sourceFiles(ctx context.Context, s *v1.VolumeProjection, mode int32) (payload, error) {
	switch {
	case s.ConfigMap != nil:
		return r.configMapFiles(ctx, s.ConfigMap.Name, s.ConfigMap.Items, mode, isTrue(s.ConfigMap.Optional))
	case s.Secret != nil:
		return r.secretFiles(ctx, s.Secret.Name, s.Secret.Items, mode, isTrue(s.Secret.Optional))
	case s.DownwardAPI != nil:
		return r.downwardFiles(s.DownwardAPI.Items, mode)
	case s.ServiceAccountToken != nil:
		return r.tokenFile(ctx, s.ServiceAccountToken, mode)
	case s.ClusterTrustBundle != nil:
		return nil, errors.New("projected source clusterTrustBundle is not supported by this node: project the bundle from a config map")
	case s.PodCertificate != nil:
		return nil, errors.New("projected source podCertificate is not supported by this node")
	}
	return nil, nil
}

// tokenFile returns the file with the pod's service account token. Only its
// owner may read it: the user that all containers run as, if there is one, or
// else root; with an fsGroup, the group may too (see setGroup).
func (r *request) tokenFile(ctx context.Context, s *v1.ServiceAccountTokenProjection, mode int32) (payload, error) {
	token, refreshAt, err := r.tokens.get(ctx, r.pod, s)
	if err != nil {
		return nil, err
	}
	r.refreshBy(refreshAt)
	uid := commonUser(r.pod)
	if uid != nil || r.fsGroup() != nil {
		mode = 0o600
	}
	return payload{s.Path: {data: []byte(token), mode: mode, uid: uid}}, nil
}

// commonUser is the user that every container of the pod says it runs as, or
// nil if they differ or one does not say.
func commonUser(pod *v1.Pod) *int64 {
	var common *int64
	same := true
	consider := func(sc *v1.SecurityContext) {
		var user *int64
		if pod.Spec.SecurityContext != nil {
			user = pod.Spec.SecurityContext.RunAsUser
		}
		if sc != nil && sc.RunAsUser != nil {
			user = sc.RunAsUser
		}
		if user == nil || (common != nil && *common != *user) {
			same = false
			return
		}
		common = user
	}
	for i := range pod.Spec.InitContainers {
		consider(pod.Spec.InitContainers[i].SecurityContext)
	}
	for i := range pod.Spec.Containers {
		consider(pod.Spec.Containers[i].SecurityContext)
	}
	for i := range pod.Spec.EphemeralContainers {
		consider(pod.Spec.EphemeralContainers[i].SecurityContext)
	}
	if !same {
		return nil
	}
	return common
}
