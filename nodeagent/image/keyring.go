package image

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// defaultRegistry is the key that Docker's login writes for its own registry.
const defaultRegistry = "index.docker.io"

// Keyring knows credentials by where they apply: a registry host, with globs
// per label (*.example.com), an optional port and an optional path prefix. The
// zero value is empty.
type Keyring struct {
	entries []entry // the most specific first
}

type entry struct {
	where string
	auth  *runtimeapi.AuthConfig
}

// AuthFor returns the credentials in the pull secrets that fit an image, the
// most specific first; to be tried in this order, and none at all if empty.
// The error joins what was wrong with single secrets, naming them; the rest
// still serve.
func AuthFor(image string, secrets []*v1.Secret) ([]*runtimeapi.AuthConfig, error) {
	var k Keyring
	err := k.Add(secrets...)
	return k.Lookup(image), err
}

// Add puts the credentials of pull secrets (types kubernetes.io/dockerconfigjson
// and kubernetes.io/dockercfg) into the keyring. Other secrets are an error.
func (k *Keyring) Add(secrets ...*v1.Secret) error {
	var errs []error
	for _, s := range secrets {
		logins, err := decodeSecret(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("secret %s/%s: %w", s.Namespace, s.Name, err))
			continue
		}
		for where, l := range logins {
			auth, err := l.auth()
			if err != nil {
				errs = append(errs, fmt.Errorf("secret %s/%s: registry %q: %w", s.Namespace, s.Name, where, err))
				continue
			}
			if where, err = location(where); err != nil {
				errs = append(errs, fmt.Errorf("secret %s/%s: %w", s.Namespace, s.Name, err))
				continue
			}
			k.entries = append(k.entries, entry{where, auth})
		}
	}
	// Reverse order puts longer paths before their prefixes.
	slices.SortStableFunc(k.entries, func(a, b entry) int { return strings.Compare(b.where, a.where) })
	return errors.Join(errs...)
}

// Lookup returns the credentials for an image, the most specific first.
func (k *Keyring) Lookup(image string) []*runtimeapi.AuthConfig {
	var found []*runtimeapi.AuthConfig
	for _, e := range k.entries {
		if fits(e.where, image) {
			found = append(found, e.auth)
		}
	}
	if len(found) == 0 && onDefaultRegistry(image) {
		for _, e := range k.entries {
			if e.where == defaultRegistry {
				found = append(found, e.auth)
			}
		}
	}
	return found
}

// login is one entry of a Docker configuration.
type login struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"` // base64 of username:password
	IdentityToken string `json:"identitytoken"`
}

func (l login) auth() (*runtimeapi.AuthConfig, error) {
	a := &runtimeapi.AuthConfig{Username: l.Username, Password: l.Password, IdentityToken: l.IdentityToken}
	if l.Auth == "" {
		return a, nil
	}
	encoded := strings.TrimRight(strings.TrimSpace(l.Auth), "=")
	decoded, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("auth is not base64")
	}
	user, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return nil, errors.New("auth is not base64 of username:password")
	}
	a.Username, a.Password = user, password
	return a, nil
}

func decodeSecret(s *v1.Secret) (map[string]login, error) {
	if data, ok := s.Data[v1.DockerConfigJsonKey]; ok && s.Type == v1.SecretTypeDockerConfigJson {
		var config struct {
			Auths map[string]login `json:"auths"`
		}
		if err := json.Unmarshal(data, &config); err != nil {
			return nil, fmt.Errorf("data[%q] is not a Docker configuration", v1.DockerConfigJsonKey) // no details: they may hold the password
		}
		return config.Auths, nil
	}
	if data, ok := s.Data[v1.DockerConfigKey]; ok && s.Type == v1.SecretTypeDockercfg {
		var logins map[string]login
		if err := json.Unmarshal(data, &logins); err != nil {
			return nil, fmt.Errorf("data[%q] is not a Docker configuration", v1.DockerConfigKey)
		}
		return logins, nil
	}
	return nil, fmt.Errorf("type %q is no pull secret: make it with kubectl create secret docker-registry", s.Type)
}

// location reduces a key of a Docker configuration, which may be a URL with a
// version path, to host[:port][/path].
func location(key string) (string, error) {
	text := key
	if !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "http://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("registry %q is not a host with an optional path", key)
	}
	p := u.Path
	if strings.HasPrefix(p, "/v1/") || strings.HasPrefix(p, "/v2/") {
		p = p[3:]
	}
	if p == "/" {
		p = ""
	}
	return u.Host + p, nil
}

// fits says whether a location covers an image: same port, as many host
// labels, each matching its glob, and a path that begins with the location's.
func fits(where, image string) bool {
	globHost, globPath := splitHost(where)
	host, imagePath := splitHost(image)
	globHost, globPort := splitPort(globHost)
	host, port := splitPort(host)
	globs, labels := strings.Split(globHost, "."), strings.Split(host, ".")
	if port != globPort || len(globs) != len(labels) || !strings.HasPrefix(imagePath, globPath) {
		return false
	}
	for i := range globs {
		if ok, err := path.Match(globs[i], labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func splitHost(s string) (host, path string) {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func splitPort(host string) (name, port string) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i], host[i+1:]
	}
	return host, ""
}

// onDefaultRegistry says whether an image without or with Docker's own
// registry in its name is meant.
func onDefaultRegistry(image string) bool {
	first, _, slash := strings.Cut(image, "/")
	switch {
	case first == "":
		return false
	case !slash, first == "docker.io", first == defaultRegistry:
		return true
	}
	return !strings.ContainsAny(first, ".:") && first != "localhost"
}
