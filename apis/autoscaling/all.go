// Package autoscaling holds the kinds of group autoscaling: one kind in two
// versions. v2 is stored and is the hub type; v1 is converted (conversion.go).
package autoscaling

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"

	"proa/apis/kind"
)

// Kinds lists the kinds of the group.
func Kinds() []kind.Any {
	v1 := HorizontalPodAutoscaler()
	v1.GVK = autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler")
	return []kind.Any{HorizontalPodAutoscaler(), v1}
}
