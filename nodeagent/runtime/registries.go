package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// LocalRegistry is the host part of the names of imported images. No such
// registry exists.
const LocalRegistry = "proa.local"

// localRegistry answers pulls of LocalRegistry's images at once, with a refused
// connection: without it, a misspelt image would wait for DNS, and whoever
// answers for the name could serve the image.
const localRegistry = `# Images of ` + LocalRegistry + ` are imported from the data directory's images/*.tar.
# Nothing answers here, so that one that was not imported fails at once. To have
# a registry for them, change this file; it is made only where it is missing.
server = "http://127.0.0.1:1"
`

// writeLocalRegistry makes LocalRegistry's entry in the registry configuration,
// unless there is one.
func writeLocalRegistry(registries string) error {
	dir := filepath.Join(registries, LocalRegistry)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, "hosts.toml")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replaceFile(path, []byte(localRegistry))
}
