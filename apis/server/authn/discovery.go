package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	jose "github.com/go-jose/go-jose/v4"
)

// The paths of the issuer's public documents (OpenID Connect Discovery 1.0).
const (
	OpenIDConfigurationPath = "/.well-known/openid-configuration"
	JWKSPath                = "/openid/v1/jwks"
)

// Discovery are the two documents by which others verify service-account tokens.
type Discovery struct {
	Configuration, Keys http.Handler
}

// Discovery renders the issuer's documents. jwksURI is where Keys can be fetched
// (https://<external address>/openid/v1/jwks).
func (t *ServiceAccountTokens) Discovery(jwksURI string) (Discovery, error) {
	for _, s := range []string{t.o.Issuer, jwksURI} {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
			return Discovery{}, fmt.Errorf("service account issuer discovery: %q must be an https URL without query or fragment", s)
		}
	}
	var algs []string
	for _, a := range t.verifier.algs {
		algs = append(algs, string(a))
	}
	slices.Sort(algs)
	config, err := json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		JWKSURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		SigningAlgs   []string `json:"id_token_signing_alg_values_supported"`
	}{t.o.Issuer, jwksURI, []string{"id_token"}, []string{"public"}, slices.Compact(algs)})
	if err != nil {
		return Discovery{}, err
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: t.verifier.keys})
	if err != nil {
		return Discovery{}, err
	}
	return Discovery{
		Configuration: document("application/json", config),
		Keys:          document("application/jwk-set+json", keys),
	}, nil
}

func document(contentType string, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = w.Write(body)
	})
}

// publicJWK names a public key by the SHA-256 of its DER form, as upstream does.
func publicJWK(key crypto.PublicKey) (jose.JSONWebKey, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("service account tokens: key of type %T: %w", key, err)
	}
	sum := sha256.Sum256(der)
	jwk := jose.JSONWebKey{Key: key, KeyID: base64.RawURLEncoding.EncodeToString(sum[:]), Use: "sig"}
	switch k := key.(type) {
	case *rsa.PublicKey:
		jwk.Algorithm = string(jose.RS256)
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			jwk.Algorithm = string(jose.ES256)
		case elliptic.P384():
			jwk.Algorithm = string(jose.ES384)
		case elliptic.P521():
			jwk.Algorithm = string(jose.ES512)
		default:
			return jwk, fmt.Errorf("service account tokens: curve %s is not supported: use P-256, P-384 or P-521", k.Curve.Params().Name)
		}
	default:
		return jwk, fmt.Errorf("service account tokens: key of type %T is not supported: use ECDSA or RSA", key)
	}
	return jwk, nil
}
