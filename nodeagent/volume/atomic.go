package volume

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	dataLink    = "..data"     // points to the directory with the current files
	newDataLink = "..data_tmp" // becomes dataLink by a rename
	maxPath     = 4096
	maxName     = 255
)

// writeAtomically makes dir show exactly the given files. Readers see either
// all old or all new files: the files are written to a new directory, the
// link ..data is renamed to point there, and each visible name is a link
// through ..data. Nothing is touched if the content is the same. finish runs
// before the new files become visible. The layout is upstream's, which
// programs that watch ..data rely on.
func writeAtomically(dir string, content payload, now time.Time, finish func() error) error {
	files, err := checkPaths(content)
	if err != nil {
		return err
	}
	current, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if current == "" || !sameFiles(filepath.Join(dir, current), files) {
		if current, err = writeVersion(dir, files, now, finish); err != nil {
			return err
		}
	}
	return showVersion(dir, current, files)
}

// checkPaths cleans the paths and refuses those that leave the volume or
// meddle with the writer's own names.
func checkPaths(content payload) (payload, error) {
	files := make(payload, len(content))
	for path, f := range content {
		switch {
		case path == "":
			return nil, fmt.Errorf("invalid path: must not be empty: %q", path)
		case filepath.IsAbs(path):
			return nil, fmt.Errorf("invalid path: must be relative path: %s", path)
		case len(path) > maxPath:
			return nil, fmt.Errorf("invalid path: must be less than or equal to %d characters", maxPath)
		}
		parts := strings.Split(path, "/")
		for _, part := range parts {
			if part == ".." {
				return nil, fmt.Errorf("invalid path: must not contain '..': %s", path)
			}
			if len(part) > maxName {
				return nil, fmt.Errorf("invalid path: filenames must be less than or equal to %d characters", maxName)
			}
		}
		if strings.HasPrefix(parts[0], "..") {
			return nil, fmt.Errorf("invalid path: must not start with '..': %s", path)
		}
		files[filepath.Clean(path)] = f
	}
	return files, nil
}

// sameFiles says whether dir holds exactly these files with this content.
func sameFiles(dir string, files payload) bool {
	found := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, ok := files[name]
		if !ok {
			return errDiffers
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, want.data) {
			return errDiffers
		}
		found++
		return nil
	})
	return err == nil && found == len(files)
}

var errDiffers = errors.New("the files differ")

// writeVersion writes the files to a new directory and points ..data to it.
func writeVersion(dir string, files payload, now time.Time, finish func() error) (name string, err error) {
	version, err := os.MkdirTemp(dir, now.UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(version))
		}
	}()
	if err := os.Chmod(version, 0o755); err != nil {
		return "", err
	}
	for path, f := range files {
		if err := writeFile(version, path, f); err != nil {
			return "", err
		}
	}
	if err := finish(); err != nil {
		return "", err
	}
	link := filepath.Join(dir, newDataLink)
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := os.Symlink(filepath.Base(version), link); err != nil {
		return "", err
	}
	return filepath.Base(version), os.Rename(link, filepath.Join(dir, dataLink))
}

func writeFile(dir, path string, f file) error {
	full := filepath.Join(dir, path)
	if parent := filepath.Dir(full); parent != dir {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	mode := fileMode(f.mode)
	if err := os.WriteFile(full, f.data, mode.Perm()); err != nil {
		return err
	}
	if f.uid != nil {
		if err := os.Lchown(full, int(*f.uid), -1); err != nil {
			return err
		}
	}
	// After the owner, whose change drops set-user-ID bits.
	return os.Chmod(full, mode)
}

// fileMode translates the bits of an API mode, 0 to 07777.
func fileMode(mode int32) os.FileMode {
	m := os.FileMode(mode & 0o777)
	if mode&0o4000 != 0 {
		m |= os.ModeSetuid
	}
	if mode&0o2000 != 0 {
		m |= os.ModeSetgid
	}
	if mode&0o1000 != 0 {
		m |= os.ModeSticky
	}
	return m
}

// showVersion makes the visible names fit the files and removes all versions
// but the current one.
func showVersion(dir, current string, files payload) error {
	names := map[string]file{}
	for path, f := range files {
		name, _, _ := strings.Cut(path, "/")
		names[name] = f
	}
	for name, f := range names {
		link := filepath.Join(dir, name)
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := os.Symlink(filepath.Join(dataLink, name), link); err != nil {
			return err
		}
		if f.uid != nil {
			if err := os.Lchown(link, int(*f.uid), -1); err != nil {
				return err
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasPrefix(name, ".."):
			if e.IsDir() && name != current {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					return err
				}
			}
		case e.Type()&os.ModeSymlink != 0:
			if _, wanted := names[name]; !wanted {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
