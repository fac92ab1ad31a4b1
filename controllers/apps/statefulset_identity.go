package apps

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"proa/controllers/control"
)

// podOrdinal splits a pod's name into the name of its StatefulSet and its
// ordinal; the ordinal is -1 if the name has none.
func podOrdinal(pod *corev1.Pod) (parent string, ordinal int) {
	i := strings.LastIndexByte(pod.Name, '-')
	if i < 0 || i == len(pod.Name)-1 {
		return "", -1
	}
	for _, c := range pod.Name[i+1:] {
		if c < '0' || c > '9' {
			return "", -1
		}
	}
	n, err := strconv.ParseInt(pod.Name[i+1:], 10, 32)
	if err != nil {
		return pod.Name[:i], -1
	}
	return pod.Name[:i], int(n)
}

func ordinalOf(pod *corev1.Pod) int {
	_, n := podOrdinal(pod)
	return n
}

// ordinals is the range of ordinals [start, end) of the set's pods.
func ordinals(set *appsv1.StatefulSet) (start, end int) {
	if set.Spec.Ordinals != nil {
		start = int(set.Spec.Ordinals.Start)
	}
	return start, start + int(ptr.Deref(set.Spec.Replicas, 1))
}

func inOrdinals(pod *corev1.Pod, set *appsv1.StatefulSet) bool {
	start, end := ordinals(set)
	n := ordinalOf(pod)
	return n >= start && n < end
}

func statefulPodName(set *appsv1.StatefulSet, ordinal int) string {
	return fmt.Sprintf("%s-%d", set.Name, ordinal)
}

// claimName is the name of the claim that a template makes for an ordinal.
func claimName(set *appsv1.StatefulSet, template *corev1.PersistentVolumeClaim, ordinal int) string {
	return fmt.Sprintf("%s-%s-%d", template.Name, set.Name, ordinal)
}

// statefulPod makes the pod with the ordinal from the set's template.
func statefulPod(set *appsv1.StatefulSet, ordinal int, revision string) *corev1.Pod {
	pod := control.PodFromTemplate(&set.Spec.Template, set, statefulSetKind)
	pod.GenerateName = control.NamePrefix(set.Name)
	pod.Name = statefulPodName(set, ordinal)
	setIdentity(set, pod)
	pod.Spec.Hostname = pod.Name
	pod.Spec.Subdomain = set.Spec.ServiceName
	setStorage(set, pod)
	pod.Labels[appsv1.StatefulSetRevisionLabel] = revision
	return pod
}

// identityMatches reports whether the pod carries the name and the label that
// make it a member of the set.
func identityMatches(set *appsv1.StatefulSet, pod *corev1.Pod) bool {
	parent, ordinal := podOrdinal(pod)
	return ordinal >= 0 && parent == set.Name && pod.Name == statefulPodName(set, ordinal) &&
		pod.Namespace == set.Namespace && pod.Labels[appsv1.StatefulSetPodNameLabel] == pod.Name
}

func setIdentity(set *appsv1.StatefulSet, pod *corev1.Pod) {
	ordinal := ordinalOf(pod)
	pod.Name = statefulPodName(set, ordinal)
	pod.Namespace = set.Namespace
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[appsv1.StatefulSetPodNameLabel] = pod.Name
	pod.Labels[appsv1.PodIndexLabel] = strconv.Itoa(ordinal)
}

// storageMatches reports whether the pod has a volume for each claim template.
func storageMatches(set *appsv1.StatefulSet, pod *corev1.Pod) bool {
	ordinal := ordinalOf(pod)
	if ordinal < 0 {
		return false
	}
	claims := map[string]string{}
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.PersistentVolumeClaim != nil {
			claims[v.Name] = v.PersistentVolumeClaim.ClaimName
		}
	}
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		if claims[t.Name] != claimName(set, t, ordinal) {
			return false
		}
	}
	return true
}

// setStorage gives the pod a volume for each claim template, in place of
// volumes of the same name.
func setStorage(set *appsv1.StatefulSet, pod *corev1.Pod) {
	if len(set.Spec.VolumeClaimTemplates) == 0 {
		return
	}
	var volumes []corev1.Volume
	ours := map[string]bool{}
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		ours[t.Name] = true
		volumes = append(volumes, corev1.Volume{
			Name: t.Name,
			VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(set, t, ordinalOf(pod))},
			},
		})
	}
	for _, v := range pod.Spec.Volumes {
		if !ours[v.Name] {
			volumes = append(volumes, v)
		}
	}
	pod.Spec.Volumes = volumes
}

// podClaims are the claims of a pod of the set, in the order of their templates.
func podClaims(set *appsv1.StatefulSet, pod *corev1.Pod) []*corev1.PersistentVolumeClaim {
	var out []*corev1.PersistentVolumeClaim
	for i := range set.Spec.VolumeClaimTemplates {
		claim := set.Spec.VolumeClaimTemplates[i].DeepCopy()
		claim.Name = claimName(set, claim, ordinalOf(pod))
		claim.Namespace = set.Namespace
		if claim.Labels == nil {
			claim.Labels = map[string]string{}
		}
		if set.Spec.Selector != nil {
			maps.Copy(claim.Labels, set.Spec.Selector.MatchLabels)
		}
		out = append(out, claim)
	}
	return out
}
