// Package env computes the environment of a container: the variables of
// env and envFrom, the values that come from the pod itself (the downward
// API), and the service links. Everything here is a function of values; the
// only thing asked of the outside is the content of config maps and secrets,
// through object.Source, and the list of services, through Services.
//
// The rules and the error texts are those of the upstream kubelet, because
// users read the texts in pod status and events.
package env
