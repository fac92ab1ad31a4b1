package authn

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// verifier checks the signatures of JWTs of some issuers.
type verifier struct {
	keys    []jose.JSONWebKey
	algs    []jose.SignatureAlgorithm
	issuers []string
}

func newVerifier(issuers []string, keys []crypto.PublicKey) (verifier, error) {
	v := verifier{issuers: issuers}
	for _, k := range keys {
		jwk, err := publicJWK(k)
		if err != nil {
			return v, err
		}
		v.keys = append(v.keys, jwk)
		v.algs = append(v.algs, jose.SignatureAlgorithm(jwk.Algorithm))
	}
	return v, nil
}

// verify decodes a token of one of the issuers; it is nobody's business (false)
// if it is another's or no JWT at all.
func (v *verifier) verify(token string, public *jwt.Claims, private any) (bool, error) {
	if !slices.Contains(v.issuers, issuerOf(token)) {
		return false, nil
	}
	parsed, err := jwt.ParseSigned(token, v.algs)
	if err != nil {
		return false, nil //nolint:nilerr // not ours
	}
	var failed []error
	tried := false
	for _, k := range v.keys {
		if id := keyID(parsed); id != "" && id != k.KeyID {
			continue
		}
		tried = true
		if err := parsed.Claims(k.Key, public, private); err != nil {
			failed = append(failed, err)
			continue
		}
		// It was read before the signature was checked.
		if !slices.Contains(v.issuers, public.Issuer) {
			return false, fmt.Errorf("token issuer %q is invalid", public.Issuer)
		}
		return true, nil
	}
	if !tried {
		return false, errors.New("invalid signature, no keys found")
	}
	return false, utilerrors.NewAggregate(failed)
}

// issuerOf reads "iss" without checking anything; empty if token is no JWT.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// keyID is the token's hint at the key that signed it; empty without one.
func keyID(t *jwt.JSONWebToken) string {
	for _, h := range t.Headers {
		if h.KeyID != "" {
			return h.KeyID
		}
	}
	return ""
}
