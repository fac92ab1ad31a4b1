// The differential test sends the same requests to upstream's kube-apiserver and
// to ours, and compares the answers. It knows the API only as JSON, so that it
// needs nothing but a YAML parser.
module proa/test/differential

go 1.26.0

require sigs.k8s.io/yaml v1.6.0

require go.yaml.in/yaml/v2 v2.4.2 // indirect
