package batch

import (
	"fmt"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"proa/controllers/control"
)

const (
	completionIndexEnv = "JOB_COMPLETION_INDEX"
	// maxNamePrefix is the longest generateName that is not cut.
	maxNamePrefix = 58
)

// jobPod makes a pod of the job; index is noIndex for jobs without indexes.
// replaces is the failed pod of the index whose failures it takes over.
func jobPod(job *batchv1.Job, index int, replaces *corev1.Pod) *corev1.Pod {
	p := control.PodFromTemplate(&job.Spec.Template, job, jobKind)
	if !slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) {
		p.Finalizers = append(p.Finalizers, batchv1.JobTrackingFinalizer)
	}
	if index == noIndex {
		return p
	}
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Annotations[batchv1.JobCompletionIndexAnnotation] = strconv.Itoa(index)
	p.Labels[batchv1.JobCompletionIndexAnnotation] = strconv.Itoa(index)
	p.Spec.Hostname = fmt.Sprintf("%s-%d", job.Name, index)
	suffix := fmt.Sprintf("-%d-", index)
	p.GenerateName = job.Name + suffix
	if len(p.GenerateName) > maxNamePrefix {
		p.GenerateName = p.GenerateName[:maxNamePrefix-len(suffix)] + suffix
	}
	for i := range p.Spec.InitContainers {
		addIndexEnv(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		addIndexEnv(&p.Spec.Containers[i])
	}
	if job.Spec.BackoffLimitPerIndex != nil {
		counted, ignored := failuresTakenOver(job, replaces)
		p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(int(counted))
		if ignored > 0 {
			p.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation] = strconv.Itoa(int(ignored))
		}
	}
	return p
}

func failuresTakenOver(job *batchv1.Job, failed *corev1.Pod) (counted, ignored int32) {
	if failed == nil {
		return 0, 0
	}
	counted, ignored = indexFailures(failed)
	if judge(job.Spec.PodFailurePolicy, failed).counted {
		counted++
	} else {
		ignored++
	}
	return counted, ignored
}

func addIndexEnv(c *corev1.Container) {
	for i := range c.Env {
		if c.Env[i].Name == completionIndexEnv {
			return
		}
	}
	c.Env = append(c.Env, corev1.EnvVar{
		Name: completionIndexEnv,
		ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
			FieldPath: fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation),
		}},
	})
}
