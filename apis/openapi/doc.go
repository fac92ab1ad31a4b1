// Package openapi holds the generated OpenAPI definitions of the k8s.io/api types.
package openapi
