package core

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proa/apis/kind"
)

// Pod is a group of containers that run together on a node.
func Pod() *kind.Kind[*corev1.Pod] {
	return &kind.Kind[*corev1.Pod]{
		GVK:              corev1.SchemeGroupVersion.WithKind("Pod"),
		Resource:         "pods",
		ReturnDeleted:    true,
		ShortNames:       []string{"po"},
		Categories:       []string{"all"},
		New:              func() *corev1.Pod { return &corev1.Pod{} },
		NewList:          func() runtime.Object { return &corev1.PodList{} },
		Default:          DefaultPod,
		PrepareForCreate: preparePod,
		PrepareForUpdate: func(_ context.Context, p, old *corev1.Pod) {
			p.Status = old.Status
			dropDisabledSpec(&p.Spec, &old.Spec)
		},
		Spec: func(p *corev1.Pod) any { return &p.Spec },
		Validate: func(_ context.Context, p *corev1.Pod) field.ErrorList {
			return validatePodCreate(p)
		},
		ValidateUpdate: func(_ context.Context, p, old *corev1.Pod) field.ErrorList {
			return validatePodUpdate(p, old)
		},
		GenerateName:         kind.PrefixAlways,
		UpdateValidatesAlone: true,
		Warnings:             podKindWarnings,
		Columns:              podColumns(),
		Conditions:           podConditions,
		Fields: map[string]func(*corev1.Pod) string{
			"spec.nodeName":            func(p *corev1.Pod) string { return p.Spec.NodeName },
			"spec.restartPolicy":       func(p *corev1.Pod) string { return string(p.Spec.RestartPolicy) },
			"spec.schedulerName":       func(p *corev1.Pod) string { return p.Spec.SchedulerName },
			"spec.serviceAccountName":  func(p *corev1.Pod) string { return p.Spec.ServiceAccountName },
			"spec.hostNetwork":         func(p *corev1.Pod) string { return strconv.FormatBool(p.Spec.HostNetwork) },
			"status.phase":             func(p *corev1.Pod) string { return string(p.Status.Phase) },
			"status.podIP":             podIP,
			"status.nominatedNodeName": func(p *corev1.Pod) string { return p.Status.NominatedNodeName },
			"status.podIPs":            func(*corev1.Pod) string { return "" }, // accepted, and selects nothing
		},
		FieldAliases:  map[string]string{"spec.host": "spec.nodeName"},
		IndexedFields: []string{"spec.nodeName"},
		Status: &kind.Status[*corev1.Pod]{
			Prepare: func(_ context.Context, p, old *corev1.Pod) { preparePodStatus(p, old) },
			Validate: func(_ context.Context, p, old *corev1.Pod) field.ErrorList {
				return validatePodStatusUpdate(p, old)
			},
			ResetFields: []string{"spec", "metadata.deletionTimestamp", "metadata.ownerReferences"},
		},
		Grace:  podGrace,
		Extend: extendPod,
	}
}

// preparePod resets the status of a new pod and expands what refers to its own labels.
func preparePod(ctx context.Context, p *corev1.Pod) {
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: podQOS(p)}
	dropDisabledSpec(&p.Spec, nil)
	if len(p.Spec.SchedulingGates) > 0 {
		setPodCondition(&p.Status, corev1.PodCondition{
			Type:    corev1.PodScheduled,
			Status:  corev1.ConditionFalse,
			Reason:  corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates",
		})
	}
	expandMatchLabelKeys(p)
	syncAppArmor(ctx, p)
}

func preparePodStatus(p, old *corev1.Pod) {
	p.Spec = old.Spec
	p.DeletionTimestamp = nil // the update takes it from old
	p.OwnerReferences = old.OwnerReferences
	if p.Status.QOSClass == "" {
		p.Status.QOSClass = old.Status.QOSClass
	}
	keepObservedGenerations(p, old)
	dropDisabledStatus(&p.Status, &old.Status)
}

// keepObservedGenerations: a writer that does not know the field does not clear it.
func keepObservedGenerations(p, old *corev1.Pod) {
	if p.Status.ObservedGeneration == 0 {
		p.Status.ObservedGeneration = old.Status.ObservedGeneration
	}
	known := map[corev1.PodConditionType][]int64{}
	for _, c := range old.Status.Conditions {
		known[c.Type] = append(known[c.Type], c.ObservedGeneration)
	}
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		var before int64
		if g := known[c.Type]; len(g) > 0 {
			before, known[c.Type] = g[0], g[1:]
		}
		if c.ObservedGeneration == 0 {
			c.ObservedGeneration = before
		}
	}
}

// podGrace decides how long a pod may take to stop: what the request says, else
// the pod; nothing if nothing can be running.
func podGrace(_ context.Context, p *corev1.Pod, options *metav1.DeleteOptions) bool {
	if options == nil {
		return false
	}
	var period int64
	switch {
	case options.GracePeriodSeconds != nil:
		period = *options.GracePeriodSeconds
	case p.Spec.TerminationGracePeriodSeconds != nil:
		period = *p.Spec.TerminationGracePeriodSeconds
	}
	if p.Spec.NodeName == "" || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		period = 0
	}
	if period < 0 {
		period = 1
	}
	options.GracePeriodSeconds = &period
	return true
}

func podIP(p *corev1.Pod) string {
	if len(p.Status.PodIPs) > 0 {
		return p.Status.PodIPs[0].IP
	}
	return ""
}

// setPodCondition adds or replaces a condition, keeping its transition time if its status stays.
func setPodCondition(s *corev1.PodStatus, c corev1.PodCondition) {
	c.LastTransitionTime = metav1.Now()
	for i := range s.Conditions {
		if s.Conditions[i].Type == c.Type {
			if s.Conditions[i].Status == c.Status {
				c.LastTransitionTime = s.Conditions[i].LastTransitionTime
			}
			s.Conditions[i] = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

func podConditions(p *corev1.Pod) []metav1.TableRowCondition {
	done := func(reason corev1.PodPhase, message string) []metav1.TableRowCondition {
		return []metav1.TableRowCondition{{Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: string(reason), Message: message}}
	}
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		return done(corev1.PodSucceeded, "The pod has completed successfully.")
	case corev1.PodFailed:
		return done(corev1.PodFailed, "The pod failed.")
	}
	return nil
}

func podKindWarnings(_ context.Context, p, old *corev1.Pod) (warnings []string) {
	if old != nil { // people rarely update pods, machines often
		return nil
	}
	if msgs := validation.IsDNS1123Label(p.Name); len(msgs) > 0 {
		warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
	}
	return append(warnings, podWarnings(nil, &p.Spec, &p.ObjectMeta)...)
}

// bumpPodGeneration is for subresources that change the spec; the main
// resource's writes do it by Kind.Spec.
func bumpPodGeneration(p, old *corev1.Pod) {
	p.Generation = old.Generation
	if !equality.Semantic.DeepEqual(p.Spec, old.Spec) {
		p.Generation++
	}
}
