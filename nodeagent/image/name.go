package image

import (
	"fmt"

	"github.com/distribution/reference"
)

// WithTag returns an image's name as the user wrote it, with the tag "latest"
// if it has neither tag nor digest. The error's text is fit for a waiting
// message (reason InvalidImageName).
func WithTag(name string) (string, error) {
	named, err := parse(name)
	if err != nil {
		return "", fmt.Errorf("Failed to apply default image tag %q: %w", name, err) //nolint:staticcheck // upstream's text, users read it
	}
	if _, tagged := named.(reference.Tagged); tagged {
		return name, nil
	}
	if _, digested := named.(reference.Digested); digested {
		return name, nil
	}
	return name + ":latest", nil
}

// Normalize returns the name by which registries and the runtime know an
// image: with its registry and a tag or digest, so that "busybox" is
// docker.io/library/busybox:latest.
func Normalize(name string) (string, error) {
	named, err := parse(name)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

func parse(name string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't parse image name %q: %w", name, err)
	}
	return named, nil
}
