package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// makeNestedMountpoints makes, in the volume at dir, the directories that
// other volumes of the same container are mounted on: containers see the
// volume read-only, so the runtime could not make them.
func makeNestedMountpoints(pod *v1.Pod, volume, dir string) error {
	points := nestedMountpoints(pod, volume)
	if len(points) == 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, point := range points {
		if err := root.MkdirAll(point, 0o755); err != nil {
			return fmt.Errorf("unable to create nested volume mountpoints: %w", err)
		}
	}
	return nil
}

// nestedMountpoints returns the directories, relative to the volume, where a
// container that mounts the volume mounts something else.
func nestedMountpoints(pod *v1.Pod, volume string) []string {
	var points []string
	for _, mounts := range mountsOf(pod) {
		for i := range mounts {
			outer := &mounts[i]
			if outer.Name != volume {
				continue
			}
			for j := range mounts {
				rel, ok := below(outer.MountPath, mounts[j].MountPath)
				if !ok || behindAnother(mounts, outer.MountPath, mounts[j].MountPath) {
					continue
				}
				point := filepath.Join(outer.SubPath, rel)
				if !strings.HasPrefix(point, "..") && !slices.Contains(points, point) {
					points = append(points, point)
				}
			}
		}
	}
	return points
}

// behindAnother says whether some mount lies between outer and inner.
func behindAnother(mounts []v1.VolumeMount, outer, inner string) bool {
	for i := range mounts {
		_, inOuter := below(outer, mounts[i].MountPath)
		_, holdsInner := below(mounts[i].MountPath, inner)
		if inOuter && holdsInner {
			return true
		}
	}
	return false
}

// below returns inner relative to outer if it lies strictly below.
func below(outer, inner string) (string, bool) {
	outer, inner = filepath.Clean("/"+outer), filepath.Clean("/"+inner)
	if outer != "/" {
		outer += "/"
	}
	rel, ok := strings.CutPrefix(inner, outer)
	return rel, ok && rel != ""
}
