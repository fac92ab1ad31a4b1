// The comparison with upstream's kube-apiserver drives two built servers over
// HTTPS, and reads their etcd through its HTTP gateway: it needs nothing but the
// standard library.
module proa/test/parity

go 1.26.0
