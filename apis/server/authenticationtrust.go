package server

import (
	"context"
	"encoding/json"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// AuthenticationTrust publishes what extension API servers need to trust this
// one: ConfigMap kube-system/extension-apiserver-authentication.
type AuthenticationTrust struct {
	ClientCAFile, RequestHeaderCAFile string
	// AllowedNames are the front proxy certificate's common names.
	AllowedNames []string
}

// Start writes the ConfigMap.
func (a AuthenticationTrust) Start(ctx context.Context, loopback *rest.Config) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return err
	}
	clientCA, err := os.ReadFile(a.ClientCAFile)
	if err != nil {
		return err
	}
	proxyCA, err := os.ReadFile(a.RequestHeaderCAFile)
	if err != nil {
		return err
	}
	list := func(v ...string) string { b, _ := json.Marshal(v); return string(b) }
	want := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "extension-apiserver-authentication"},
		Data: map[string]string{
			"client-ca-file":                     string(clientCA),
			"requestheader-client-ca-file":       string(proxyCA),
			"requestheader-allowed-names":        list(a.AllowedNames...),
			"requestheader-username-headers":     list("X-Remote-User"),
			"requestheader-group-headers":        list("X-Remote-Group"),
			"requestheader-extra-headers-prefix": list("X-Remote-Extra-"),
			"requestheader-uid-headers":          list("X-Remote-Uid"),
		},
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	maps := client.CoreV1().ConfigMaps(want.Namespace)
	have, err := maps.Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = maps.Create(ctx, want, metav1.CreateOptions{})
	case err == nil && !equality.Semantic.DeepEqual(have.Data, want.Data):
		have.Data = want.Data
		_, err = maps.Update(ctx, have, metav1.UpdateOptions{})
	}
	return err
}
