// The comparison with upstream's kube-apiserver drives two built servers over
// HTTPS, and reads their etcd through its HTTP gateway.
module proa/test/parity

go 1.26.0

require sigs.k8s.io/yaml v1.6.0

require go.yaml.in/yaml/v2 v2.4.4 // indirect
