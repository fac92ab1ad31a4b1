package kind

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Column is one column of the table that `kubectl get` prints.
type Column[T any] struct {
	Name        string
	Type        string // "string", "integer", "date", ...; empty means string
	Format      string // "name" for the name column
	Description string
	// Priority 0 columns are always shown, others with -o wide.
	Priority int32
	// Value returns the cell: a string, int64, bool or nil (a JSON type).
	Value func(T) any
}

// NameColumn is the first column of nearly every kind.
func NameColumn[T Object]() Column[T] {
	return Column[T]{Name: "Name", Type: "string", Format: "name", Description: describeMeta("name"),
		Value: func(o T) any { return o.GetName() }}
}

// AgeColumn tells how long ago the object was created.
func AgeColumn[T Object]() Column[T] {
	return Column[T]{Name: "Age", Type: "string", Description: describeMeta("creationTimestamp"),
		Value: func(o T) any { return Age(o.GetCreationTimestamp()) }}
}

// CreatedAtColumn is the creation time itself, as kinds without columns of their own show it.
func CreatedAtColumn[T Object]() Column[T] {
	return Column[T]{Name: "Created At", Type: "date", Description: describeMeta("creationTimestamp"),
		Value: func(o T) any { return o.GetCreationTimestamp().UTC().Format(time.RFC3339) }}
}

// Age renders how long ago t was ("5m", "3d4h"), "<unknown>" for the zero time.
func Age(t metav1.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(t.Time))
}

// MicroAge is Age for a MicroTime.
func MicroAge(t metav1.MicroTime) string { return Age(metav1.Time{Time: t.Time}) }

func describeMeta(name string) string { return metav1.ObjectMeta{}.SwaggerDoc()[name] }
