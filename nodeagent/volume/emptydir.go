package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// emptyDir volumes are a directory on the node's disk, a tmpfs (medium
// Memory) or a hugetlbfs (medium HugePages), empty at first and shared by the
// pod's containers.
func emptyDir() Type {
	return Type{
		Directory: "kubernetes.io~empty-dir",
		Matches:   func(s *v1.VolumeSource) bool { return s.EmptyDir != nil },
		SetUp: func(_ context.Context, r *request) (Mounted, error) {
			switch medium := r.volume.EmptyDir.Medium; {
			case medium == v1.StorageMediumDefault:
				return Mounted{HostPath: r.dir}, r.makeEmptyDir()
			case medium == v1.StorageMediumMemory:
				if err := makeDir(r.dir); err != nil {
					return Mounted{}, err
				}
				if err := r.mountTmpfs(r.dir, r.memoryLimit(r.volume.EmptyDir.SizeLimit)); err != nil {
					return Mounted{}, err
				}
				return Mounted{HostPath: r.dir}, setGroup(r.dir, r.fsGroup(), onRootMismatch(), false)
			case strings.HasPrefix(string(medium), string(v1.StorageMediumHugePages)):
				if err := makeDir(r.dir); err != nil {
					return Mounted{}, err
				}
				if err := r.mountHugePages(medium); err != nil {
					return Mounted{}, err
				}
				return Mounted{HostPath: r.dir}, setGroup(r.dir, r.fsGroup(), onRootMismatch(), false)
			default:
				return Mounted{}, fmt.Errorf("unknown storage medium %q", medium)
			}
		},
	}
}

// makeEmptyDir makes the directory whole before it appears under its name, so
// one that exists is complete, and what a pod wrote keeps the owners that the
// pod gave it.
func (r *request) makeEmptyDir() error {
	if info, err := os.Lstat(r.dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", r.dir)
		}
		return nil
	}
	parent := filepath.Dir(r.dir)
	if err := os.MkdirAll(parent, 0o750); err != nil {
		return err
	}
	made, err := os.MkdirTemp(parent, "..new-")
	if err != nil {
		return err
	}
	err = errors.Join(os.Chmod(made, 0o777), setGroup(made, r.fsGroup(), nil, false))
	if err == nil {
		err = os.Rename(made, r.dir)
	}
	if err != nil {
		return errors.Join(err, os.Remove(made))
	}
	return nil
}

// makeDir makes a volume's directory with the permissions that an emptyDir
// has.
func makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return err
	}
	switch err := os.Mkdir(dir, 0o777); {
	case err == nil:
		return os.Chmod(dir, 0o777) // whatever the umask
	case errors.Is(err, os.ErrExist):
		return nil
	default:
		return err
	}
}

// mountTmpfs mounts a tmpfs at dir unless one is there. A limit of 0 bytes is
// the kernel's default, half of the memory.
func (r *request) mountTmpfs(dir string, limit int64) error {
	if there, err := r.mounter.IsMountPoint(dir); err != nil || there {
		return err
	}
	var data string
	if limit > 0 {
		data = "size=" + strconv.FormatInt(limit, 10)
	}
	return r.mounter.Mount("tmpfs", dir, "tmpfs", 0, data)
}

// memoryLimit is the size of a memory volume: the least of its own limit, the
// pod's memory limit and what the node has for pods. 0 means no limit.
func (r *request) memoryLimit(own *resource.Quantity) int64 {
	var least int64
	consider := func(bytes int64) {
		if bytes > 0 && (least == 0 || bytes < least) {
			least = bytes
		}
	}
	if q, ok := r.allocatable()[v1.ResourceMemory]; ok {
		consider(q.Value())
	}
	consider(podMemoryLimit(r.pod))
	if own != nil {
		consider(own.Value())
	}
	return least
}

// podMemoryLimit is the sum of the containers' limits, or 0 if one of them
// has none.
func podMemoryLimit(pod *v1.Pod) int64 {
	if pod.Spec.Resources != nil {
		if q, ok := pod.Spec.Resources.Limits[v1.ResourceMemory]; ok {
			return q.Value()
		}
	}
	var sum int64
	for i := range pod.Spec.Containers {
		q, ok := pod.Spec.Containers[i].Resources.Limits[v1.ResourceMemory]
		if !ok || q.IsZero() {
			return 0
		}
		sum += q.Value()
	}
	return sum
}

// mountHugePages mounts a hugetlbfs at the volume's directory unless one is
// there. Medium HugePages takes the page size that the pod requests; it must
// request exactly one.
func (r *request) mountHugePages(medium v1.StorageMedium) error {
	if there, err := r.mounter.IsMountPoint(r.dir); err != nil || there {
		return err
	}
	size, err := hugePageSize(r.pod, medium)
	if err != nil {
		return err
	}
	return r.mounter.Mount("nodev", r.dir, "hugetlbfs", unix.MS_NODEV, "pagesize="+strconv.FormatInt(size, 10))
}

func hugePageSize(pod *v1.Pod, medium v1.StorageMedium) (int64, error) {
	if text, ok := strings.CutPrefix(string(medium), string(v1.StorageMediumHugePagesPrefix)); ok {
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return 0, fmt.Errorf("storage medium %q: %w", medium, err)
		}
		return q.Value(), nil
	}
	found := map[string]bool{}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for name := range list[i].Resources.Requests {
				if size, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix); ok {
					found[size] = true
				}
			}
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("storage medium %q needs the pod to request huge pages of exactly one size, it requests %d", medium, len(found))
	}
	for text := range found {
		q, err := resource.ParseQuantity(text)
		return q.Value(), err
	}
	return 0, nil
}
