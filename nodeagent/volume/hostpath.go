package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// hostPath volumes are a file or directory of the node. The type field says
// what must be there, or is made if nothing is.
func hostPath() Type {
	return Type{
		Directory: "kubernetes.io~host-path",
		Matches:   func(s *v1.VolumeSource) bool { return s.HostPath != nil },
		SetUp: func(_ context.Context, r *request) (Mounted, error) {
			source := r.volume.HostPath
			if slices.Contains(strings.Split(filepath.ToSlash(source.Path), "/"), "..") {
				return Mounted{}, fmt.Errorf("invalid HostPath `%s`: must not contain '..'", source.Path)
			}
			kind := v1.HostPathUnset
			if source.Type != nil {
				kind = *source.Type
			}
			return Mounted{HostPath: source.Path}, checkHostPath(source.Path, kind)
		},
	}
}

func checkHostPath(path string, kind v1.HostPathType) error {
	var mode os.FileMode
	switch info, err := os.Stat(path); {
	case err == nil:
		mode = info.Mode()
	case errors.Is(err, os.ErrNotExist) && kind == v1.HostPathDirectoryOrCreate:
		return os.MkdirAll(path, 0o755)
	case errors.Is(err, os.ErrNotExist) && kind == v1.HostPathFileOrCreate:
		f, err := os.OpenFile(path, os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	default:
		mode = os.ModeIrregular // nothing of any kind
	}
	var ok bool
	var want string
	switch kind {
	case v1.HostPathUnset:
		return nil
	case v1.HostPathDirectory, v1.HostPathDirectoryOrCreate:
		ok, want = mode.IsDir(), "directory"
	case v1.HostPathFile, v1.HostPathFileOrCreate:
		ok, want = mode.IsRegular(), "file"
	case v1.HostPathSocket:
		ok, want = mode&os.ModeSocket != 0, "socket file"
	case v1.HostPathCharDev:
		ok, want = mode&os.ModeCharDevice != 0, "character device"
	case v1.HostPathBlockDev:
		ok, want = mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0, "block device"
	default:
		return fmt.Errorf("%s is an invalid volume type", kind)
	}
	if !ok {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", path, want)
	}
	return nil
}
