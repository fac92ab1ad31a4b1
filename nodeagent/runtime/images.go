package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// settle is how long an archive must be left alone before it is imported: it
// may still be being copied.
const settle = 500 * time.Millisecond

// archive identifies a state of a file without reading all of it.
type archive struct {
	Size    int64 `json:"size"`
	ModTime int64 `json:"modTime"` // nanoseconds since the epoch
}

// importer brings image archives into containerd.
type importer struct {
	layout      Layout
	dirs        binDirs
	snapshotter string
	clock       clock.WithTicker
	run         func(ctx context.Context, program string, args ...string) error
}

// pending returns, in order, the archives that are not recorded as imported in
// their present state.
func pending(found, imported map[string]archive) []string {
	var paths []string
	for path, a := range found {
		if imported[path] != a {
			paths = append(paths, path)
		}
	}
	sort.Strings(paths)
	return paths
}

// archives lists the *.tar files of a directory. Hidden ones are left out:
// they are other programs' temporary files.
func archives(dir string) (map[string]archive, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	found := map[string]archive{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || filepath.Ext(e.Name()) != ".tar" {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		found[path] = archive{Size: info.Size(), ModTime: info.ModTime().UnixNano()}
	}
	return found, nil
}

// importDir imports what is new in dir. One bad archive does not keep the
// others out; the error names each that failed.
func (i importer) importDir(ctx context.Context, dir string) error {
	log := klog.FromContext(ctx)
	found, err := archives(dir)
	if err != nil {
		return err
	}
	imported := i.recorded()
	var failures []error
	for _, path := range pending(found, imported) {
		started := i.clock.Now()
		// Labelled as managed, an image is CRI's; pinned, it is never
		// garbage-collected: no registry could give it back.
		err := i.run(ctx, filepath.Join(i.dirs.bin, "ctr"), "--address", i.layout.Socket, "--namespace", "k8s.io",
			"images", "import", "--local", "--snapshotter", i.snapshotter,
			"--label", "io.cri-containerd.image=managed", "--label", "io.cri-containerd.pinned=pinned", path)
		if err != nil {
			failures = append(failures, fmt.Errorf("import image archive %s: %w", path, err))
			continue
		}
		log.Info("Imported an image archive", "path", path, "took", i.clock.Since(started).Round(time.Millisecond))
		imported[path] = found[path]
		if err := i.record(imported); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// watch imports archives as they appear in the layout's Images, until ctx ends.
func (i importer) watch(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := watcher.Add(i.layout.Images); err != nil {
		return err
	}
	log := klog.FromContext(ctx)
	timer := i.clock.NewTimer(settle) // once at first: for what came before the watch
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watcher.Errors:
			log.Error(err, "Watching the image archives", "path", i.layout.Images)
			timer.Reset(settle)
		case event := <-watcher.Events:
			if filepath.Ext(event.Name) == ".tar" {
				timer.Reset(settle)
			}
		case <-timer.C():
			if err := i.importDir(ctx, i.layout.Images); err != nil && ctx.Err() == nil {
				log.Error(err, "Not all image archives could be imported")
			}
		}
	}
}

// recorded returns what Imported says; nothing where it is missing or damaged,
// for an import too many does no harm.
func (i importer) recorded() map[string]archive {
	imported := map[string]archive{}
	if b, err := os.ReadFile(i.layout.Imported); err == nil {
		if json.Unmarshal(b, &imported) != nil || imported == nil {
			return map[string]archive{}
		}
	}
	return imported
}

func (i importer) record(imported map[string]archive) error {
	b, err := json.MarshalIndent(imported, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(i.layout.Imported, b)
}

// replaceFile puts content in place whole, or leaves the old one.
func replaceFile(path string, content []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// runProgram runs a program to its end; its error output is the error.
func runProgram(ctx context.Context, program string, args ...string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = environment(os.Environ(), filepath.Dir(program))
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(output.String()))
	}
	return nil
}
