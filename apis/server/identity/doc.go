// Package identity holds who is who in a cluster: the certificate authorities,
// the certificates and keys of the components, the service-account signing key
// and the kubeconfigs, all files under the data directory; and how another
// machine joins with a token.
//
// Layout of <data dir>/pki (the names kubeadm uses, so that tools find them):
//
//	ca.{crt,key}                        cluster CA: API server, clients, kubelets
//	front-proxy-ca.{crt,key}            CA of the aggregator's client certificate
//	etcd/ca.{crt,key}                   CA of the store, its peers and its clients
//	apiserver.{crt,key}                 serving certificate (file: leaf, then CA)
//	apiserver-kubelet-client.{crt,key}  API server to node agents
//	apiserver-etcd-client.{crt,key}     API server to the store
//	front-proxy-client.{crt,key}        aggregator to extension API servers
//	admin, controller-manager, scheduler.{crt,key}
//	etcd/server, etcd/peer.{crt,key}
//	sa.key, sa.pub                      service-account token signing key
//	nodes/<name>/kubelet-client, kubelet-server.{crt,key}
//
// Ensure never replaces a key or a CA, and replaces a leaf certificate only
// when it nears its end or must carry other names, with its key kept, so that
// every step is one atomic rename.
package identity
