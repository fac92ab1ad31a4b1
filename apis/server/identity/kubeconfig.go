package identity

import (
	"bytes"
	"fmt"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// KubeconfigCluster is the name of the cluster and of its context in kubeconfigs.
const KubeconfigCluster = "proa"

// WriteKubeconfig writes a kubeconfig for one user at path, mode 0600, with all
// credentials embedded. In an existing file only the entries it owns (the proa
// cluster and context, and the user) are set; other entries and the chosen
// context stay, and an unchanged file is not written.
func WriteKubeconfig(path, server, user string, caPEM, certPEM, keyPEM []byte) error {
	have, err := readOptional(path)
	if err != nil {
		return err
	}
	cfg := clientcmdapi.NewConfig()
	if have != nil {
		if cfg, err = clientcmd.Load(have); err != nil {
			return fmt.Errorf("identity: %s is not a kubeconfig (%v): move it away to have it written anew", path, err)
		}
	}
	cfg.Clusters[KubeconfigCluster] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: caPEM}
	cfg.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM}
	namespace := ""
	if c := cfg.Contexts[KubeconfigCluster]; c != nil {
		namespace = c.Namespace
	}
	cfg.Contexts[KubeconfigCluster] = &clientcmdapi.Context{Cluster: KubeconfigCluster, AuthInfo: user, Namespace: namespace}
	if cfg.CurrentContext == "" {
		cfg.CurrentContext = KubeconfigCluster
	}
	out, err := clientcmd.Write(*cfg)
	if err != nil {
		return fmt.Errorf("identity: encode kubeconfig %s: %w", path, err)
	}
	if bytes.Equal(out, have) {
		return nil
	}
	return writeFile(path, out, 0o600)
}

// AdminKubeconfig is the path of the administrator's kubeconfig.
func (id *Identity) AdminKubeconfig() string { return filepath.Join(id.Dir, "admin.kubeconfig") }

// WriteAdminKubeconfig writes <data dir>/admin.kubeconfig for the given server
// URL (https://host:port) and returns its path.
func (id *Identity) WriteAdminKubeconfig(server string) (string, error) {
	path := id.AdminKubeconfig()
	return path, WriteKubeconfig(path, server, "admin", id.ClusterCA.CertPEM, id.Admin.CertPEM, id.Admin.KeyPEM)
}

// ClientConfig is a client configuration that authenticates as the pair's user.
func (id *Identity) ClientConfig(server string, p *Pair) *rest.Config {
	return &rest.Config{
		Host: server,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   id.ClusterCA.CertPEM,
			CertData: p.CertPEM,
			KeyData:  p.KeyPEM,
		},
		QPS: -1,
	}
}
