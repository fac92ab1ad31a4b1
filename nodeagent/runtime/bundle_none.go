//go:build !bundle

package runtime

// embeddedBundle returns the runtime this binary carries: none, in a binary
// built without the tag `bundle`.
func embeddedBundle() (archive, digest string) { return "", "" }

func releaseBundle() {}
