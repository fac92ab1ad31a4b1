// Package preview holds the generated OpenAPI definitions of the beta and alpha
// versions of k8s.io/api types that can be served.
package preview
