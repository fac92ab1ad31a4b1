package autoscaling

import (
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

const unknown = "<unknown>"

// formatMetrics shows two metrics as current/target and counts the rest.
func formatMetrics(specs []autoscalingv2.MetricSpec, statuses []autoscalingv2.MetricStatus) string {
	const most = 2
	if len(specs) == 0 {
		return "<none>"
	}
	var list []string
	for i := range specs[:min(most, len(specs))] {
		var now autoscalingv2.MetricStatus
		if i < len(statuses) {
			now = statuses[i]
		}
		list = append(list, formatMetric(&specs[i], &now))
	}
	text := strings.Join(list, ", ")
	if len(specs) > most {
		return fmt.Sprintf("%s + %d more...", text, len(specs)-most)
	}
	return text
}

// formatMetric renders a metric; now is of the same index in the status.
func formatMetric(s *autoscalingv2.MetricSpec, now *autoscalingv2.MetricStatus) string {
	switch s.Type {
	case autoscalingv2.ExternalMetricSourceType:
		if s.External != nil {
			var current *autoscalingv2.MetricValueStatus
			if now.External != nil {
				current = &now.External.Current
			}
			return formatValue(&s.External.Target, current)
		}
	case autoscalingv2.ObjectMetricSourceType:
		if s.Object != nil {
			var current *autoscalingv2.MetricValueStatus
			if now.Object != nil {
				current = &now.Object.Current
			}
			return formatValue(&s.Object.Target, current)
		}
	case autoscalingv2.PodsMetricSourceType:
		if s.Pods != nil {
			current := unknown
			if now.Pods != nil {
				current = now.Pods.Current.AverageValue.String()
			}
			return current + "/" + s.Pods.Target.AverageValue.String()
		}
	case autoscalingv2.ResourceMetricSourceType:
		if s.Resource != nil {
			var current *autoscalingv2.MetricValueStatus
			if now.Resource != nil {
				current = &now.Resource.Current
			}
			return s.Resource.Name.String() + ": " + formatResource(&s.Resource.Target, current)
		}
	case autoscalingv2.ContainerResourceMetricSourceType:
		if s.ContainerResource != nil {
			var current *autoscalingv2.MetricValueStatus
			if now.ContainerResource != nil {
				current = &now.ContainerResource.Current
			}
			return s.ContainerResource.Name.String() + ": " + formatResource(&s.ContainerResource.Target, current)
		}
	}
	return "<unknown type>"
}

func formatValue(t *autoscalingv2.MetricTarget, now *autoscalingv2.MetricValueStatus) string {
	current := func(q func() *resource.Quantity) string {
		if now == nil {
			return unknown
		}
		return q().String()
	}
	if t.AverageValue == nil {
		return current(func() *resource.Quantity { return now.Value }) + "/" + t.Value.String()
	}
	if now != nil && now.AverageValue == nil {
		now = nil
	}
	return current(func() *resource.Quantity { return now.AverageValue }) + "/" + t.AverageValue.String() + " (avg)"
}

func formatResource(t *autoscalingv2.MetricTarget, now *autoscalingv2.MetricValueStatus) string {
	current, target := unknown, "<auto>"
	if t.AverageValue != nil {
		if now != nil {
			current = now.AverageValue.String()
		}
		return current + "/" + t.AverageValue.String()
	}
	if now != nil && now.AverageUtilization != nil {
		current = fmt.Sprintf("%d%%", *now.AverageUtilization)
	}
	if t.AverageUtilization != nil {
		target = fmt.Sprintf("%d%%", *t.AverageUtilization)
	}
	return current + "/" + target
}
