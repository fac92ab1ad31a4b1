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

	"proa/apis/server/authn"
)

// AuthenticationTrust publishes what extension API servers need to trust this
// one: ConfigMap kube-system/extension-apiserver-authentication.
type AuthenticationTrust struct {
	// The files are published if they are given; with the second, FrontProxy is.
	ClientCAFile, RequestHeaderCAFile string
	FrontProxy                        authn.FrontProxy
}

// Start writes the ConfigMap.
func (a AuthenticationTrust) Start(ctx context.Context, loopback *rest.Config) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return err
	}
	want := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "extension-apiserver-authentication"},
		Data:       map[string]string{},
	}
	if a.ClientCAFile != "" {
		ca, err := os.ReadFile(a.ClientCAFile)
		if err != nil {
			return err
		}
		want.Data["client-ca-file"] = string(ca)
	}
	if a.RequestHeaderCAFile != "" {
		ca, err := os.ReadFile(a.RequestHeaderCAFile)
		if err != nil {
			return err
		}
		want.Data["requestheader-client-ca-file"] = string(ca)
		for key, list := range map[string][]string{
			"requestheader-allowed-names": a.FrontProxy.Names, "requestheader-username-headers": a.FrontProxy.UserHeaders,
			"requestheader-group-headers": a.FrontProxy.GroupHeaders, "requestheader-extra-headers-prefix": a.FrontProxy.ExtraHeaderPrefixes,
			"requestheader-uid-headers": a.FrontProxy.UIDHeaders,
		} {
			text, err := json.Marshal(list)
			if err != nil {
				return err
			}
			want.Data[key] = string(text)
		}
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
