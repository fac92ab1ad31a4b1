package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validatePodCreate(p *corev1.Pod) field.ErrorList            { return nil }
func validatePodUpdate(p, old *corev1.Pod) field.ErrorList       { return nil }
func validatePodStatusUpdate(p, old *corev1.Pod) field.ErrorList { return nil }
func validateEphemeralUpdate(p, old *corev1.Pod) field.ErrorList { return nil }
func validatePodSpec(s *corev1.PodSpec, meta *metav1.ObjectMeta, path *field.Path, pod bool) field.ErrorList {
	return nil
}
func podWarnings(path *field.Path, s *corev1.PodSpec, meta *metav1.ObjectMeta) []string { return nil }

func ValidatePodTemplate(t *corev1.PodTemplateSpec, path *field.Path) field.ErrorList   { return nil }
func PodTemplateWarnings(t *corev1.PodTemplateSpec, path *field.Path) []string          { return nil }
func validateHostPath(h *corev1.HostPathVolumeSource, path *field.Path) field.ErrorList { return nil }
func validateNFS(n *corev1.NFSVolumeSource, path *field.Path) field.ErrorList           { return nil }
func validateNoBacksteps(p string, path *field.Path) field.ErrorList                    { return nil }

func ValidatePreemptionPolicy(p corev1.PreemptionPolicy, path *field.Path) field.ErrorList {
	return nil
}
