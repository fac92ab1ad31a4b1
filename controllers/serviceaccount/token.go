package serviceaccount

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/keyutil"
)

// legacyIssuer is the issuer of tokens in Secrets; the API server looks for them
// by the claims below and compares them with the Secret.
const legacyIssuer = "kubernetes/serviceaccount"

type legacyClaims struct {
	Account   string `json:"kubernetes.io/serviceaccount/service-account.name"`
	UID       string `json:"kubernetes.io/serviceaccount/service-account.uid"`
	Secret    string `json:"kubernetes.io/serviceaccount/secret.name"`
	Namespace string `json:"kubernetes.io/serviceaccount/namespace"`
}

// newSigner reads the PEM file of a private key, RSA or ECDSA (P-256, P-384, P-521).
func newSigner(file string) (jose.Signer, error) {
	key, err := keyutil.PrivateKeyFromFile(file)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a %T cannot sign", file, key)
	}
	var alg jose.SignatureAlgorithm
	switch k := key.(type) {
	case *rsa.PrivateKey:
		alg = jose.RS256
	case *ecdsa.PrivateKey:
		alg = map[elliptic.Curve]jose.SignatureAlgorithm{elliptic.P256(): jose.ES256, elliptic.P384(): jose.ES384, elliptic.P521(): jose.ES512}[k.Curve]
	}
	if alg == "" {
		return nil, fmt.Errorf("%s: must be an RSA key or an ECDSA key of curve P-256, P-384 or P-521", file)
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	id := base64.RawURLEncoding.EncodeToString(sum[:])
	return jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: &jose.JSONWebKey{Algorithm: string(alg), Key: key, KeyID: id, Use: "sig"}}, nil)
}

// legacyToken is the token, without end, of an account for one Secret.
func legacyToken(signer jose.Signer, account metav1.Object, secret *corev1.Secret) (string, error) {
	return jwt.Signed(signer).Claims(legacyClaims{
		Account: account.GetName(), UID: string(account.GetUID()), Secret: secret.Name, Namespace: secret.Namespace,
	}).Claims(jwt.Claims{
		Issuer: legacyIssuer, Subject: "system:serviceaccount:" + account.GetNamespace() + ":" + account.GetName(),
	}).Serialize()
}
