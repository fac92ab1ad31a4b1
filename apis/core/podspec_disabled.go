package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Fields behind feature gates that are off by default are dropped from what
// clients write, unless the stored object has them already.

// DropDisabledTemplateFields drops them from a template; old is nil on create.
func DropDisabledTemplateFields(t, old *corev1.PodTemplateSpec) {
	if t == nil {
		return
	}
	var was *corev1.PodSpec
	if old != nil {
		was = &old.Spec
	}
	dropDisabledSpec(&t.Spec, was)
}

func dropDisabledSpec(s, old *corev1.PodSpec) {
	if old == nil {
		old = &corev1.PodSpec{}
	}
	dropProjections(s, old)
	if old.SchedulingGroup == nil { // GenericWorkload
		s.SchedulingGroup = nil
	}
	if len(old.EvictionResponders) == 0 { // EvictionRequestAPI
		s.EvictionResponders = nil
	}
	if !anyContainer(old, func(c *corev1.Container) bool { return c.Lifecycle != nil && c.Lifecycle.StopSignal != nil }) {
		changeContainers(s, dropStopSignal)
	}
	if !anyContainer(old, hasProbeProtocol) {
		changeContainers(s, dropProbeProtocol)
	}
	if !anyContainer(old, func(c *corev1.Container) bool {
		for _, m := range c.VolumeMounts {
			if len(m.BindMountOptions) > 0 {
				return true
			}
		}
		return false
	}) {
		changeContainers(s, func(c *corev1.Container) { // VolumeBindMountOptions
			for i := range c.VolumeMounts {
				c.VolumeMounts[i].BindMountOptions = nil
			}
		})
	}
	dropFileOwners(s, old)
}

// dropProjections drops sources of projected volumes (ClusterTrustBundleProjection,
// PodCertificateRequest).
func dropProjections(s, old *corev1.PodSpec) {
	bundles, certificates := false, false
	for _, v := range old.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, p := range v.Projected.Sources {
			bundles = bundles || p.ClusterTrustBundle != nil
			certificates = certificates || p.PodCertificate != nil
		}
	}
	for i := range s.Volumes {
		if s.Volumes[i].Projected == nil {
			continue
		}
		sources := s.Volumes[i].Projected.Sources
		for j := range sources {
			if !bundles {
				sources[j].ClusterTrustBundle = nil
			}
			if !certificates {
				sources[j].PodCertificate = nil
			}
		}
	}
}

// dropStopSignal: ContainerStopSignals.
func dropStopSignal(c *corev1.Container) {
	if c.Lifecycle == nil || c.Lifecycle.StopSignal == nil {
		return
	}
	c.Lifecycle.StopSignal = nil
	if equality.Semantic.DeepEqual(c.Lifecycle, &corev1.Lifecycle{}) {
		c.Lifecycle = nil
	}
}

// Protocols of probes: H2CContainerProbe, GRPCContainerProbeTLS.

func handlers(c *corev1.Container) (http []*corev1.HTTPGetAction, grpc []*corev1.GRPCAction) {
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p == nil {
			continue
		}
		if p.HTTPGet != nil {
			http = append(http, p.HTTPGet)
		}
		if p.GRPC != nil {
			grpc = append(grpc, p.GRPC)
		}
	}
	if l := c.Lifecycle; l != nil {
		for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
			if h != nil && h.HTTPGet != nil {
				http = append(http, h.HTTPGet)
			}
		}
	}
	return http, grpc
}

func hasProbeProtocol(c *corev1.Container) bool {
	http, grpc := handlers(c)
	for _, h := range http {
		if h.Protocol != nil {
			return true
		}
	}
	for _, g := range grpc {
		if g.Mode != nil {
			return true
		}
	}
	return false
}

func dropProbeProtocol(c *corev1.Container) {
	http, grpc := handlers(c)
	for _, h := range http {
		h.Protocol = nil
	}
	for _, g := range grpc {
		g.Mode = nil
	}
}

// fileUsers are the fields of a volume that name owners of files (AtomicWriteVolumeUserFields).
func fileUsers(v *corev1.Volume) (users []**int64) {
	keys := func(items []corev1.KeyToPath) {
		for i := range items {
			users = append(users, &items[i].User)
		}
	}
	files := func(items []corev1.DownwardAPIVolumeFile) {
		for i := range items {
			users = append(users, &items[i].User)
		}
	}
	if v.Secret != nil {
		users = append(users, &v.Secret.DefaultUser)
		keys(v.Secret.Items)
	}
	if v.ConfigMap != nil {
		users = append(users, &v.ConfigMap.DefaultUser)
		keys(v.ConfigMap.Items)
	}
	if v.DownwardAPI != nil {
		users = append(users, &v.DownwardAPI.DefaultUser)
		files(v.DownwardAPI.Items)
	}
	if v.Projected == nil {
		return users
	}
	users = append(users, &v.Projected.DefaultUser)
	for i := range v.Projected.Sources {
		s := &v.Projected.Sources[i]
		if s.Secret != nil {
			keys(s.Secret.Items)
		}
		if s.ConfigMap != nil {
			keys(s.ConfigMap.Items)
		}
		if s.DownwardAPI != nil {
			files(s.DownwardAPI.Items)
		}
		if s.ServiceAccountToken != nil {
			users = append(users, &s.ServiceAccountToken.User)
		}
		if s.ClusterTrustBundle != nil {
			users = append(users, &s.ClusterTrustBundle.User)
		}
		if s.PodCertificate != nil {
			users = append(users, &s.PodCertificate.User)
		}
	}
	return users
}

// dropFileOwners drops owners and modes of files in volumes (EmptyDirVolumeMode too).
func dropFileOwners(s, old *corev1.PodSpec) {
	users, modes := false, false
	for i := range old.Volumes {
		v := &old.Volumes[i]
		modes = modes || v.EmptyDir != nil && v.EmptyDir.Mode != nil
		users = users || slices.ContainsFunc(fileUsers(v), func(u **int64) bool { return *u != nil })
	}
	for i := range s.Volumes {
		v := &s.Volumes[i]
		if v.EmptyDir != nil && !modes {
			v.EmptyDir.Mode = nil
		}
		if users {
			continue
		}
		for _, u := range fileUsers(v) {
			*u = nil
		}
	}
}

// dropDisabledStatus drops what no node may report yet (ImageVolumeWithDigest,
// DRANodeAllocatableResources, CSIVolumeHealth).
func dropDisabledStatus(s, old *corev1.PodStatus) {
	lists := func(s *corev1.PodStatus) [][]corev1.ContainerStatus {
		return [][]corev1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses}
	}
	digests := false
	for _, l := range lists(old) {
		for i := range l {
			for _, m := range l[i].VolumeMounts {
				digests = digests || m.VolumeStatus != nil && m.VolumeStatus.Image != nil
			}
		}
	}
	for _, l := range lists(s) {
		for i := range l {
			for j := range l[i].VolumeMounts {
				if !digests {
					l[i].VolumeMounts[j].VolumeStatus = nil
				}
			}
		}
	}
	if len(old.NodeAllocatableResourceClaimStatuses) == 0 {
		s.NodeAllocatableResourceClaimStatuses = nil
	}
	if len(old.VolumeHealth) == 0 {
		s.VolumeHealth = nil
	}
}

// anyContainer tells whether a container of any list has a property.
func anyContainer(s *corev1.PodSpec, has func(*corev1.Container) bool) (found bool) {
	eachContainer(s, nil, func(c *corev1.Container, _ *field.Path) { found = found || has(c) })
	return found
}

// changeContainers changes the containers of all lists.
func changeContainers(s *corev1.PodSpec, change func(*corev1.Container)) {
	for i := range s.InitContainers {
		change(&s.InitContainers[i])
	}
	for i := range s.Containers {
		change(&s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		c := corev1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		change(&c)
		s.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(c)
	}
}
