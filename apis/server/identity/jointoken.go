package identity

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
)

// JoinGroup is the group of bootstrap tokens that may let nodes join.
const JoinGroup = "system:bootstrappers:proa:nodes"

// JoinToken is what a machine needs to join: which CA to trust and a bootstrap
// token. As text: <hex SHA-256 of the CA's public key>::<id>.<secret>.
type JoinToken struct {
	CAHash string
	// Bearer is <id>.<secret>.
	Bearer string
}

// String is the token as text.
func (t JoinToken) String() string { return t.CAHash + "::" + t.Bearer }

// ParseJoinToken reads the text form.
func ParseJoinToken(s string) (JoinToken, error) {
	hash, bearer, ok := strings.Cut(strings.TrimSpace(s), "::")
	if !ok {
		return JoinToken{}, errors.New("join token: want <ca hash>::<id>.<secret>, as in the server's node-token file")
	}
	if b, err := hex.DecodeString(hash); err != nil || len(b) != 32 {
		return JoinToken{}, errors.New("join token: the part before :: is not a SHA-256 in hexadecimal; copy the server's node-token file again")
	}
	if !bootstraputil.IsValidBootstrapToken(bearer) {
		return JoinToken{}, errors.New("join token: the part after :: is not of the form <6 characters>.<16 characters> (lower-case letters and digits); copy the server's node-token file again")
	}
	return JoinToken{CAHash: strings.ToLower(hash), Bearer: bearer}, nil
}

// EnsureJoinToken makes sure that a token for nodes to join exists in the cluster
// (a bootstrap token Secret in kube-system that does not expire) and in
// dir/node-token, mode 0600, and returns it. bearer fixes the token
// (<id>.<secret>); empty means keep the present one or make one.
func EnsureJoinToken(ctx context.Context, client kubernetes.Interface, dir, caHash, bearer string) (JoinToken, error) {
	path := filepath.Join(dir, "node-token")
	if bearer == "" {
		have, err := readOptional(path)
		if err != nil {
			return JoinToken{}, err
		}
		if have != nil {
			t, err := ParseJoinToken(string(have))
			if err != nil {
				return JoinToken{}, fmt.Errorf("identity: %s: %w; or remove the file to have a new token made", path, err)
			}
			bearer = t.Bearer
		}
	}
	if bearer == "" {
		var err error
		if bearer, err = generateToken(); err != nil {
			return JoinToken{}, err
		}
	}
	t, err := ParseJoinToken(JoinToken{CAHash: caHash, Bearer: bearer}.String())
	if err != nil {
		return JoinToken{}, err
	}
	id, secret, _ := strings.Cut(bearer, ".")
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: bootstraputil.BootstrapTokenSecretName(id)},
		Type:       bootstrapapi.SecretTypeBootstrapToken,
		Data: map[string][]byte{
			bootstrapapi.BootstrapTokenIDKey:               []byte(id),
			bootstrapapi.BootstrapTokenSecretKey:           []byte(secret),
			bootstrapapi.BootstrapTokenUsageAuthentication: []byte("true"),
			bootstrapapi.BootstrapTokenUsageSigningKey:     []byte("true"),
			bootstrapapi.BootstrapTokenExtraGroupsKey:      []byte(JoinGroup),
			bootstrapapi.BootstrapTokenDescriptionKey:      []byte("lets nodes join this cluster"),
		},
	}
	secrets := client.CoreV1().Secrets(metav1.NamespaceSystem)
	_, err = secrets.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		var have *corev1.Secret
		if have, err = secrets.Get(ctx, want.Name, metav1.GetOptions{}); err == nil &&
			(string(have.Data[bootstrapapi.BootstrapTokenSecretKey]) != secret || have.Type != want.Type) {
			return JoinToken{}, fmt.Errorf("identity: secret kube-system/%s holds another token: delete it, or remove %s", want.Name, path)
		}
	}
	if err != nil {
		return JoinToken{}, fmt.Errorf("identity: join token secret kube-system/%s: %w", want.Name, err)
	}
	text := []byte(t.String() + "\n")
	if have, err := readOptional(path); err != nil || string(have) == string(text) {
		return t, err
	}
	return t, writeFile(path, text, 0o600)
}

func generateToken() (string, error) {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
	var b strings.Builder
	for b.Len() < 23 {
		if b.Len() == 6 {
			b.WriteByte('.')
			continue
		}
		var r [1]byte
		if _, err := rand.Read(r[:]); err != nil {
			return "", fmt.Errorf("identity: %w", err)
		}
		if int(r[0]) < 252 { // 7*36: no bias
			b.WriteByte(alphabet[int(r[0])%36])
		}
	}
	return b.String(), nil
}
