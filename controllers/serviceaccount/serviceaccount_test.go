package serviceaccount

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/keyutil"
	testclock "k8s.io/utils/clock/testing"
	crfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// indexed is a Lister of given Secrets.
type indexed struct{ cache.Indexer }

func (i indexed) Get(namespace, name string) *corev1.Secret { return get(i.Indexer, namespace, name) }
func (i indexed) Of(namespace, account string) []*corev1.Secret {
	return of(i.Indexer, namespace, account)
}

func account(uid string, secrets ...string) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app", UID: "sa-1"}}
	if uid != "" {
		a.UID = "sa-2"
	}
	for _, s := range secrets {
		a.Secrets = append(a.Secrets, corev1.ObjectReference{Name: s})
	}
	return a
}

func secret(change ...func(*corev1.Secret)) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "s-1", Annotations: map[string]string{corev1.ServiceAccountNameKey: "app"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func filled(s *corev1.Secret) {
	s.Annotations[corev1.ServiceAccountUIDKey] = "sa-1"
	s.Data = map[string][]byte{"token": []byte("t"), "namespace": []byte("ns"), "ca.crt": []byte("CA")}
}

func keyFile(t *testing.T) (string, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sa.key")
	if err := os.WriteFile(file, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, key
}

func TestTokens(t *testing.T) {
	file, key := keyFile(t)
	signer, err := newSigner(file)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		cached, live *corev1.ServiceAccount
		secret       *corev1.Secret // in the cache and live
		writes       string
		token        bool
	}{
		"empty":                 {cached: account(""), live: account(""), secret: secret(), writes: "update secrets", token: true},
		"account not cached":    {live: account(""), secret: secret(), writes: "get serviceaccounts, update secrets", token: true},
		"filled":                {cached: account(""), live: account(""), secret: secret(filled)},
		"another CA":            {cached: account(""), live: account(""), secret: secret(filled, func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("old") }), writes: "update secrets"},
		"no account":            {secret: secret(), writes: "get serviceaccounts, delete secrets"},
		"account made anew":     {cached: account("2"), live: account("2"), secret: secret(filled), writes: "get serviceaccounts, delete secrets"},
		"secret gone":           {cached: account(""), live: account("", "s", "other"), writes: "get serviceaccounts, update serviceaccounts"},
		"secret gone, unlisted": {cached: account(""), live: account("", "other"), writes: "get serviceaccounts"},
		"both gone":             {},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			secrets := indexed{cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{accountIndex: byAccount})}
			var objs []runtime.Object
			req := requestFor(secret())
			if tc.secret != nil {
				objs = append(objs, tc.secret.DeepCopy())
				req = requestFor(tc.secret)
				if err := secrets.Add(tc.secret); err != nil {
					t.Fatal(err)
				}
				if len(secrets.Of("ns", "app")) != 1 || len(secrets.Of("ns", "other")) != 0 {
					t.Error("not found by account")
				}
			}
			if tc.live != nil {
				objs = append(objs, tc.live)
			}
			kube := fake.NewClientset(objs...)
			accounts := crfake.NewClientBuilder().WithScheme(scheme.Scheme)
			if tc.cached != nil {
				accounts.WithObjects(tc.cached)
			}
			c := &Tokens{Accounts: accounts.Build(), Secrets: secrets, Kube: kube, Signer: signer, RootCA: []byte("CA")}
			if _, err := c.Reconcile(context.Background(), req); err != nil {
				t.Fatal(err)
			}
			if got := log(kube.Actions()); got != tc.writes {
				t.Errorf("did %q, want %q", got, tc.writes)
			}
			if tc.live != nil && tc.secret == nil {
				a, err := kube.CoreV1().ServiceAccounts("ns").Get(context.Background(), "app", metav1.GetOptions{})
				if err != nil || slices.ContainsFunc(a.Secrets, func(r corev1.ObjectReference) bool { return r.Name == "s" }) || len(a.Secrets) != 1 {
					t.Errorf("%+v, %v", a.Secrets, err)
				}
			}
			if !tc.token {
				return
			}
			s, err := kube.CoreV1().Secrets("ns").Get(context.Background(), "s", metav1.GetOptions{})
			if err != nil || string(s.Data["ca.crt"]) != "CA" || string(s.Data["namespace"]) != "ns" || s.Annotations[corev1.ServiceAccountUIDKey] != "sa-1" {
				t.Errorf("%+v, %v", s, err)
			}
			parsed, err := jwt.ParseSigned(string(s.Data["token"]), []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				t.Fatal(err)
			}
			claims := map[string]any{}
			if err := parsed.Claims(key.Public(), &claims); err != nil {
				t.Fatal(err)
			}
			for k, want := range map[string]string{
				"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ns:app", "kubernetes.io/serviceaccount/namespace": "ns",
				"kubernetes.io/serviceaccount/service-account.name": "app", "kubernetes.io/serviceaccount/service-account.uid": "sa-1", "kubernetes.io/serviceaccount/secret.name": "s",
			} {
				if claims[k] != want {
					t.Errorf("%s: %v", k, claims[k])
				}
			}
			if len(claims) != 6 || parsed.Headers[0].KeyID == "" {
				t.Errorf("%v, %v", claims, parsed.Headers)
			}
		})
	}
}

func log(actions []clienttesting.Action) string {
	var out []string
	for _, a := range actions {
		out = append(out, a.GetVerb()+" "+a.GetResource().Resource)
	}
	return strings.Join(out, ", ")
}

func TestCleaner(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	old := func(s *corev1.Secret) { s.CreationTimestamp = metav1.NewTime(now.AddDate(-3, 0, 0)) }
	labels := func(kv ...string) func(*corev1.Secret) {
		return func(s *corev1.Secret) {
			old(s)
			s.Labels = map[string]string{}
			for i := 0; i < len(kv); i += 2 {
				s.Labels[kv[i]] = kv[i+1]
			}
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}}}}
	tests := map[string]struct {
		since   string
		secret  *corev1.Secret
		account *corev1.ServiceAccount
		pod     *corev1.Pod
		want    step
	}{
		"never used":              {secret: secret(old), want: mark},
		"used long ago":           {secret: secret(labels(lastUsedLabel, "2024-01-01")), want: mark},
		"used lately":             {secret: secret(labels(lastUsedLabel, "2026-01-01"))},
		"nonsense label":          {secret: secret(labels(lastUsedLabel, "x"))},
		"young":                   {secret: secret(func(s *corev1.Secret) { s.CreationTimestamp = metav1.NewTime(now.AddDate(0, -1, 0)) })},
		"marked lately":           {secret: secret(labels(invalidSinceLabel, "2026-01-01"))},
		"marked long ago":         {secret: secret(labels(invalidSinceLabel, "2025-01-01")), want: remove},
		"marked with nonsense":    {secret: secret(labels(invalidSinceLabel, "x")), want: mark},
		"made by people":          {secret: secret(old), account: account("")},
		"account made anew":       {secret: secret(old, func(s *corev1.Secret) { s.Annotations[corev1.ServiceAccountUIDKey] = "sa-0" })},
		"mounted":                 {secret: secret(old), pod: pod},
		"not tracked long enough": {since: "2026-01-01", secret: secret(old)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.since == "" {
				tc.since = "2024-01-01"
			}
			if tc.account == nil {
				tc.account = account("", "s")
			}
			kube := fake.NewClientset(tc.secret, tc.account, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: trackingConfigMap}, Data: map[string]string{"since": tc.since}})
			pods := crfake.NewClientBuilder().WithScheme(scheme.Scheme)
			if tc.pod != nil {
				pods.WithObjects(tc.pod)
			}
			c := &Cleaner{Kube: kube, Pods: pods.Build(), Clock: testclock.NewFakeClock(now), Period: cleanUpDefault}
			if err := c.Clean(context.Background()); err != nil {
				t.Fatal(err)
			}
			s, err := kube.CoreV1().Secrets("ns").Get(context.Background(), "s", metav1.GetOptions{})
			got := keep
			switch {
			case err != nil:
				got = remove
			case s.Labels[invalidSinceLabel] == "2026-06-01":
				got = mark
			}
			if got != tc.want {
				t.Errorf("did %d, want %d: %v", got, tc.want, s.Labels)
			}
		})
	}
}
