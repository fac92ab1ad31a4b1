// Package server is the node agent's HTTPS server, on port 10250: the API
// server asks it for logs and for streams into containers, monitoring asks it
// for numbers. Paths, parameters and error texts are those of the upstream
// kubelet's server, since kubectl shows the texts and metrics-server and
// Prometheus rely on the paths.
//
// Every request is authenticated (client certificate or TokenReview) and
// authorized (SubjectAccessReview on subresources of the node); see auth.go.
// Streams are made by the runtime's streaming server, to which this one hands
// the upgraded connection.
package server
