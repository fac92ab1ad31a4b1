// Package discovery holds the controllers of the discovery.k8s.io API group:
// EndpointSlices from Services and Pods, and from Endpoints that users wrote.
package discovery
