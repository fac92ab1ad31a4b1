package core

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
)

// deletionFindings is what one pass over a namespace's content found.
type deletionFindings struct {
	discoveryErr error
	groupErr     error
	contentErrs  []error
	// remaining counts objects by "resource.group"; finalizers counts objects by finalizer.
	remaining  map[string]int
	finalizers map[string]int
}

// namespaceConditions returns the conditions of a namespace that is being
// deleted, given those it has and what was found, and whether they differ.
// Every condition is always present; its status is True when something is in
// the way.
func namespaceConditions(old []corev1.NamespaceCondition, found deletionFindings, now metav1.Time) ([]corev1.NamespaceCondition, bool) {
	out := append([]corev1.NamespaceCondition(nil), old...)
	changed := false
	for _, want := range wantedConditions(found) {
		want.LastTransitionTime = now
		i := 0
		for i < len(out) && out[i].Type != want.Type {
			i++
		}
		switch {
		case i == len(out):
			out = append(out, want)
			changed = true
		case out[i].Status != want.Status || out[i].Reason != want.Reason || out[i].Message != want.Message:
			if out[i].Status == want.Status {
				want.LastTransitionTime = out[i].LastTransitionTime
			}
			out[i] = want
			changed = true
		}
	}
	return out, changed
}

func wantedConditions(f deletionFindings) []corev1.NamespaceCondition {
	cond := func(t corev1.NamespaceConditionType, bad bool, badReason, badMessage, okReason, okMessage string) corev1.NamespaceCondition {
		if bad {
			return corev1.NamespaceCondition{Type: t, Status: corev1.ConditionTrue, Reason: badReason, Message: badMessage}
		}
		return corev1.NamespaceCondition{Type: t, Status: corev1.ConditionFalse, Reason: okReason, Message: okMessage}
	}
	var discoveryMessage, groupMessage string
	if f.discoveryErr != nil {
		discoveryMessage = f.discoveryErr.Error()
		var failed *discovery.ErrGroupDiscoveryFailed
		if errors.As(f.discoveryErr, &failed) {
			discoveryMessage = fmt.Sprintf("Discovery failed for some groups, %d failing: %v", len(failed.Groups), f.discoveryErr)
		}
	}
	if f.groupErr != nil {
		groupMessage = f.groupErr.Error()
	}
	var contentMessages []string
	for _, err := range f.contentErrs {
		contentMessages = append(contentMessages, err.Error())
	}
	sort.Strings(contentMessages)
	return []corev1.NamespaceCondition{
		cond(corev1.NamespaceDeletionDiscoveryFailure, f.discoveryErr != nil, "DiscoveryFailed", discoveryMessage,
			"ResourcesDiscovered", "All resources successfully discovered"),
		cond(corev1.NamespaceDeletionGVParsingFailure, f.groupErr != nil, "GroupVersionParsingFailed", groupMessage,
			"ParsedGroupVersions", "All legacy kube types successfully parsed"),
		cond(corev1.NamespaceDeletionContentFailure, len(f.contentErrs) > 0, "ContentDeletionFailed",
			fmt.Sprintf("Failed to delete all resource types, %d remaining: %v", len(f.contentErrs), strings.Join(contentMessages, ", ")),
			"ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
		cond(corev1.NamespaceContentRemaining, len(f.remaining) > 0, "SomeResourcesRemain",
			"Some resources are remaining: "+counts(f.remaining, "%s has %d resource instances"),
			"ContentRemoved", "All content successfully removed"),
		cond(corev1.NamespaceFinalizersRemaining, len(f.finalizers) > 0, "SomeFinalizersRemain",
			"Some content in the namespace has finalizers remaining: "+counts(f.finalizers, "%s in %d resource instances"),
			"ContentHasNoFinalizers", "All content-preserving finalizers finished"),
	}
}

// counts prints name and number of each, sorted so that updates are stable.
func counts(m map[string]int, format string) string {
	var out []string
	for name, n := range m {
		out = append(out, fmt.Sprintf(format, name, n))
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}
