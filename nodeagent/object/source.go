package object

import (
	"context"

	v1 "k8s.io/api/core/v1"
)

// Source gives config maps and secrets by name. A missing object is an API
// NotFound error with the text `configmap "name" not found` or `secret "name"
// not found`. What it returns is shared and must not be modified.
type Source interface {
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
}

// The kinds of object, as OnChange and Referrers name them.
const (
	ConfigMap = "ConfigMap"
	Secret    = "Secret"
)
