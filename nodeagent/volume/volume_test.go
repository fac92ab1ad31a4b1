package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"proa/nodeagent/object"
)

// fakeMounter remembers mounts; a bind mount becomes a link, so that what it
// shows can be read.
type fakeMounter struct {
	mu     sync.Mutex
	points []string
	calls  []string
	busy   map[string]bool
}

func (f *fakeMounter) Mount(source, target, fstype string, _ uintptr, data string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.points = append(f.points, target)
	if fstype == "" {
		real, err := os.Readlink(source)
		if err != nil {
			return err
		}
		if err := errors.Join(os.Remove(target), os.Symlink(real, target)); err != nil {
			return err
		}
		source, fstype = real, "bind"
	}
	f.calls = append(f.calls, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", fstype, filepath.Base(source), filepath.Base(target), data)))
	return nil
}

func (f *fakeMounter) Unmount(target string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[filepath.Base(target)] {
		return errors.New("device or resource busy")
	}
	f.points = slices.DeleteFunc(f.points, func(p string) bool { return p == target })
	return nil
}

func (f *fakeMounter) IsMountPoint(path string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.points, path), nil
}

func (f *fakeMounter) MountsBelow(dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, p := range f.points {
		if strings.HasPrefix(p, dir+"/") {
			out = append(out, p)
		}
	}
	return out, nil
}

// fakeObjects is a Source that tests change.
type fakeObjects struct {
	mu         sync.Mutex
	configMaps map[string]*v1.ConfigMap
	secrets    map[string]*v1.Secret
}

func (f *fakeObjects) set(name string, data map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.configMaps[name] = &v1.ConfigMap{Data: data, BinaryData: map[string][]byte{"bin": {0, 1}}}
	s := &v1.Secret{Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	f.secrets[name] = s
}

func (f *fakeObjects) ConfigMap(_ context.Context, _, name string) (*v1.ConfigMap, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cm, ok := f.configMaps[name]; ok {
		return cm, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmap"}, name)
}

func (f *fakeObjects) Secret(_ context.Context, _, name string) (*v1.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s, ok := f.secrets[name]; ok {
		return s, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secret"}, name)
}

// fakeTokens numbers the tokens it gives out.
type fakeTokens struct {
	mu    sync.Mutex
	clock *clocktesting.FakeClock
	asked []*authenticationv1.TokenRequest
	err   error
}

func (f *fakeTokens) RequestToken(_ context.Context, ns, sa string, r *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	f.asked = append(f.asked, r)
	answer := r.DeepCopy()
	answer.Status.Token = fmt.Sprintf("%s/%s#%d", ns, sa, len(f.asked))
	answer.Status.ExpirationTimestamp = metav1.NewTime(f.clock.Now().Add(time.Duration(*r.Spec.ExpirationSeconds) * time.Second))
	return answer, nil
}

type fixture struct {
	*Manager
	mounter *fakeMounter
	objects *fakeObjects
	tokens  *fakeTokens
	clock   *clocktesting.FakeClock
	root    string
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{
		mounter: &fakeMounter{busy: map[string]bool{}},
		objects: &fakeObjects{configMaps: map[string]*v1.ConfigMap{}, secrets: map[string]*v1.Secret{}},
		clock:   clocktesting.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
		root:    filepath.Join(t.TempDir(), "pods"),
	}
	f.tokens = &fakeTokens{clock: f.clock}
	f.Manager = New(Options{RootDir: f.root, Objects: f.objects, Tokens: f.tokens, Clock: f.clock, Mounter: f.mounter,
		Allocatable: func() v1.ResourceList { return v1.ResourceList{"memory": resource.MustParse("1Gi")} }})
	t.Cleanup(f.queue.ShutDown)
	return f
}

// podOf makes a pod whose only container mounts all its volumes.
func podOf(volumes ...v1.Volume) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "ns", UID: "uid-1", Labels: map[string]string{"app": "web"}},
		Spec: v1.PodSpec{ServiceAccountName: "sa", Volumes: volumes, Containers: []v1.Container{{
			Name: "c", Resources: v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("2")}},
		}}},
	}
	for _, v := range volumes {
		pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, v1.VolumeMount{Name: v.Name, MountPath: "/" + v.Name})
	}
	return pod
}

func volumeOf(name string, s v1.VolumeSource) v1.Volume {
	return v1.Volume{Name: name, VolumeSource: s}
}

func configMapVolume(name string, items ...v1.KeyToPath) v1.Volume {
	return volumeOf("v", v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: name}, Items: items}})
}

// tree reads what a container sees: path, mode and content of each file.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(string)
	walk = func(rel string) {
		entries, err := os.ReadDir(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if rel == "" && strings.HasPrefix(e.Name(), "..") {
				continue
			}
			path := filepath.Join(rel, e.Name())
			info, err := os.Stat(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			if info.IsDir() {
				walk(path)
				continue
			}
			data, err := os.ReadFile(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			out[path] = fmt.Sprintf("%o %s", info.Mode().Perm(), data)
		}
	}
	walk("")
	return out
}

func TestContents(t *testing.T) {
	local := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	fields := []v1.DownwardAPIVolumeFile{
		{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
		{Path: "x/cpu", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu"}, Mode: ptr.To[int32](0o600)},
		{Path: "x/memory", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}},
	}
	tmpfs := []string{"tmpfs tmpfs v size=1073741824"}
	for name, tc := range map[string]struct {
		source v1.VolumeSource
		want   map[string]string
		err    string
		mounts []string
	}{
		"config map": {
			source: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("obj")}},
			want:   map[string]string{"a": "644 A", "b": "644 B", "bin": "644 \x00\x01"},
		},
		"config map, items": {
			source: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("obj"), DefaultMode: ptr.To[int32](0o400), Items: []v1.KeyToPath{
				{Key: "a", Path: "deep/er/file"}, {Key: "b", Path: "deep/b", Mode: ptr.To[int32](0o777)}, {Key: "bin", Path: "bin"},
			}}},
			want: map[string]string{"deep/er/file": "400 A", "deep/b": "777 B", "bin": "400 \x00\x01"},
		},
		"config map, missing": {
			source: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("none")}},
			err:    `MountVolume.SetUp failed for volume "v" : configmap "none" not found`,
		},
		"config map, optional": {
			source: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("none"), Optional: ptr.To(true), Items: []v1.KeyToPath{{Key: "a", Path: "a"}}}},
			want:   map[string]string{},
		},
		"config map, missing key": {
			source: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("obj"), Items: []v1.KeyToPath{{Key: "none", Path: "a"}}}},
			err:    `MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: none`,
		},
		"config map, path leads out": {
			source: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("obj"), Items: []v1.KeyToPath{{Key: "a", Path: "x/../../a"}}}},
			err:    `MountVolume.SetUp failed for volume "v" : invalid path: must not contain '..': x/../../a`,
		},
		"config map, the writer's own name": {
			source: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("obj"), Items: []v1.KeyToPath{{Key: "a", Path: "..data/a"}}}},
			err:    `MountVolume.SetUp failed for volume "v" : invalid path: must not start with '..': ..data/a`,
		},
		"secret": {
			source: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "obj", DefaultMode: ptr.To[int32](0o440)}},
			want:   map[string]string{"a": "440 A", "b": "440 B"},
			mounts: tmpfs,
		},
		"secret, missing": {
			source: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "none"}},
			err:    `MountVolume.SetUp failed for volume "v" : secret "none" not found`,
		},
		"secret, missing key": {
			source: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "obj", Items: []v1.KeyToPath{{Key: "none", Path: "a"}}}},
			err:    `MountVolume.SetUp failed for volume "v" : references non-existent secret key: none`,
		},
		"downward API": {
			source: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: fields}},
			want:   map[string]string{"labels": "644 app=\"web\"", "x/cpu": "600 2", "x/memory": "644 1024"},
			mounts: tmpfs,
		},
		"downward API, unknown container": {
			source: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{{Path: "a", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "none", Resource: "limits.cpu"}}}}},
			err:    `MountVolume.SetUp failed for volume "v" : container none not found`,
		},
		"projected": {
			source: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
				{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "aud", ExpirationSeconds: ptr.To[int64](600)}},
				{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local("obj"), Items: []v1.KeyToPath{{Key: "a", Path: "a"}}}},
				{Secret: &v1.SecretProjection{LocalObjectReference: local("obj"), Items: []v1.KeyToPath{{Key: "b", Path: "a"}}}},
				{DownwardAPI: &v1.DownwardAPIProjection{Items: fields[:1]}},
				{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local("none"), Optional: ptr.To(true)}},
			}}},
			want:   map[string]string{"token": "644 ns/sa#1", "a": "644 B", "labels": "644 app=\"web\""},
			mounts: tmpfs,
		},
		"projected, several missing": {
			source: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
				{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local("none")}},
				{Secret: &v1.SecretProjection{LocalObjectReference: local("none")}},
			}}},
			err: `MountVolume.SetUp failed for volume "v" : [configmap "none" not found, secret "none" not found]`,
		},
		"projected, trust bundle": {
			source: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ClusterTrustBundle: &v1.ClusterTrustBundleProjection{}}}}},
			err:    `MountVolume.SetUp failed for volume "v" : projected source clusterTrustBundle is not supported by this node: project the bundle from a config map`,
		},
		"claim": {
			source: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}},
			err:    `MountVolume.SetUp failed for volume "v" : persistentVolumeClaim volumes are not supported by this node: use emptyDir, hostPath, configMap, secret, downwardAPI, projected or image`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.objects.set("obj", map[string]string{"a": "A", "b": "B"})
			got, err := f.Setup(t.Context(), podOf(volumeOf("v", tc.source)))
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("error %v\nwant  %s", err, tc.err)
				}
				if _, ok := got["v"]; ok {
					t.Error("the failed volume was returned")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !got["v"].ReadOnly {
				t.Error("containers may write")
			}
			if diff := cmp.Diff(tc.want, tree(t, got["v"].HostPath)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.mounts, f.mounter.calls); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// eventually polls; the deadline is only reached by a failing test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestContentsStayLive(t *testing.T) {
	f := newFixture(t)
	f.objects.set("cm", map[string]string{"k": "one"})
	pod := podOf(
		configMapVolume("cm", v1.KeyToPath{Key: "k", Path: "k"}),
		volumeOf("labels", v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{{Path: "l", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}}}}),
		volumeOf("token", v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "t", ExpirationSeconds: ptr.To[int64](1000)}}}}}),
		volumeOf("optional", v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "later", Optional: ptr.To(true)}}),
	)
	got, err := f.Setup(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	read := func(volume, name string) string {
		data, err := os.ReadFile(filepath.Join(got[volume].HostPath, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(data)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()

	f.objects.set("cm", map[string]string{"k": "two"})
	f.ObjectChanged(object.ConfigMap, "ns", "cm")
	eventually(t, "the config map's new value is there", func() bool { return read("v", "k") == "two" })

	f.objects.set("later", map[string]string{"s": "here"})
	f.ObjectChanged(object.Secret, "ns", "later")
	eventually(t, "the optional secret is there", func() bool { return read("optional", "s") == "here" })

	newer := pod.DeepCopy()
	newer.Labels["app"] = "api"
	f.PodUpdated(newer)
	eventually(t, "the new label is there", func() bool { return read("labels", "l") == "api" })

	if read("token", "t") != "ns/sa#1" {
		t.Fatalf("token %q", read("token", "t"))
	}
	f.clock.Step(780 * time.Second) // not yet 80% less the jitter
	f.PodUpdated(newer)
	if got := read("token", "t"); got != "ns/sa#1" {
		t.Errorf("token %q was renewed early", got)
	}
	f.clock.Step(21 * time.Second)
	eventually(t, "the token is renewed", func() bool { return read("token", "t") == "ns/sa#2" })
	request := f.tokens.asked[0].Spec
	if request.BoundObjectRef.UID != "uid-1" || request.BoundObjectRef.Kind != "Pod" || request.Audiences != nil {
		t.Errorf("asked for %+v", request)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTokenOutlivesAFailingAPI(t *testing.T) {
	f := newFixture(t)
	pod := podOf()
	source := &v1.ServiceAccountTokenProjection{ExpirationSeconds: ptr.To[int64](1000)}
	first, _, err := f.Manager.tokens.get(t.Context(), pod, source)
	if err != nil {
		t.Fatal(err)
	}
	f.tokens.err = errors.New("down")
	f.clock.Step(900 * time.Second)
	again, refreshAt, err := f.Manager.tokens.get(t.Context(), pod, source)
	if err != nil || again != first || !refreshAt.Equal(f.clock.Now().Add(tokenRetry)) {
		t.Errorf("got %q, %v, %v", again, refreshAt, err)
	}
	f.clock.Step(101 * time.Second)
	if _, _, err := f.Manager.tokens.get(t.Context(), pod, source); err == nil {
		t.Error("an expired token was given out")
	}
}

func TestRefreshTime(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		asked, got int64 // seconds
		want       time.Duration
	}{
		{3600, 3600, 2880 * time.Second},
		{3607, 3607, 2885600 * time.Millisecond},
		{7 * 86400, 7 * 86400, 24 * time.Hour},
		{3600, 600, tokenRetry}, // the API gave less than was asked for
	} {
		got := refreshTime(now, now.Add(time.Duration(tc.got)*time.Second), tc.asked, 0)
		if got.Sub(now) != tc.want {
			t.Errorf("%+v: after %v", tc, got.Sub(now))
		}
	}
}

func TestEmptyDir(t *testing.T) {
	gid := int64(os.Getgid())
	f := newFixture(t)
	pod := podOf(
		volumeOf("disk", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}),
		volumeOf("memory", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: "Memory", SizeLimit: ptr.To(resource.MustParse("1Mi"))}}),
		volumeOf("huge", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: "HugePages-2Mi"}}),
		volumeOf("unused", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}),
	)
	pod.Spec.Containers[0].VolumeMounts = pod.Spec.Containers[0].VolumeMounts[:3]
	pod.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: &gid}
	got, err := f.Setup(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.root, "uid-1/volumes/kubernetes.io~empty-dir")
	want := map[string]Mounted{"disk": {HostPath: dir + "/disk"}, "memory": {HostPath: dir + "/memory"}, "huge": {HostPath: dir + "/huge"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"tmpfs tmpfs memory size=1048576", "hugetlbfs nodev huge pagesize=2097152"}, f.mounter.calls); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(dir + "/disk")
	if err != nil || info.Mode() != os.ModeDir|os.ModeSetgid|0o777 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// A restarted agent finds the volumes and leaves what the pod made alone.
	if err := os.WriteFile(dir+"/disk/mine", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := New(Options{RootDir: f.root, Objects: f.objects, Clock: f.clock, Mounter: f.mounter})
	if _, err := again.Setup(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir + "/disk/mine"); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if len(f.mounter.calls) != 2 {
		t.Errorf("mounted again: %v", f.mounter.calls)
	}
}

func TestHostPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path string
		kind v1.HostPathType
		err  string
	}{
		{dir + "/none", v1.HostPathUnset, ""},
		{dir, v1.HostPathDirectory, ""},
		{file, v1.HostPathDirectory, "hostPath type check failed: " + file + " is not a directory"},
		{dir + "/none", v1.HostPathDirectory, "hostPath type check failed: " + dir + "/none is not a directory"},
		{dir + "/new/er", v1.HostPathDirectoryOrCreate, ""},
		{dir + "/new/er", v1.HostPathDirectory, ""},
		{file, v1.HostPathFile, ""},
		{dir, v1.HostPathFile, "hostPath type check failed: " + dir + " is not a file"},
		{dir + "/newfile", v1.HostPathFileOrCreate, ""},
		{dir + "/newfile", v1.HostPathFile, ""},
		{file, v1.HostPathSocket, "hostPath type check failed: " + file + " is not a socket file"},
		{"/dev/null", v1.HostPathCharDev, ""},
		{"/dev/null", v1.HostPathBlockDev, "hostPath type check failed: /dev/null is not a block device"},
		{dir, "Sphere", "Sphere is an invalid volume type"},
		{dir + "/../x", v1.HostPathUnset, "invalid HostPath `" + dir + "/../x`: must not contain '..'"},
	} {
		f := newFixture(t)
		got, err := f.Setup(t.Context(), podOf(volumeOf("v", v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: tc.path, Type: &tc.kind}})))
		if tc.err != "" {
			if want := `MountVolume.SetUp failed for volume "v" : ` + tc.err; err == nil || err.Error() != want {
				t.Errorf("%s %s: error %v, want %s", tc.kind, tc.path, err, want)
			}
			continue
		}
		if err != nil || got["v"] != (Mounted{HostPath: tc.path}) {
			t.Errorf("%s %s: got %v, %v", tc.kind, tc.path, got, err)
		}
	}
}

func TestTeardown(t *testing.T) {
	f := newFixture(t)
	f.objects.set("s", map[string]string{"k": "v"})
	pod := podOf(volumeOf("v", v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s"}}))
	if _, err := f.Setup(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]types.UID{"uid-1"}, f.Pods()); diff != "" {
		t.Error(diff)
	}
	f.mounter.busy["v"] = true
	if err := f.Teardown(t.Context(), pod.UID); err == nil {
		t.Fatal("no error although the volume is in use")
	}
	if len(f.Pods()) != 1 {
		t.Fatal("files were deleted below a mount")
	}
	f.mounter.busy["v"] = false
	for range 2 { // the second time there is nothing to do
		if err := f.Teardown(t.Context(), pod.UID); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.Pods()) != 0 || len(f.mounter.points) != 0 {
		t.Errorf("left over: %v, %v", f.Pods(), f.mounter.points)
	}
	for _, uid := range []types.UID{"", "..", "a/b", "../x"} {
		if err := f.Teardown(t.Context(), uid); err == nil {
			t.Errorf("UID %q was accepted", uid)
		}
	}
	// A volume can be made again, as for a pod that is restarted in place.
	if _, err := f.Setup(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

func TestTokenFileMode(t *testing.T) {
	gid, uid := int64(os.Getgid()), int64(os.Getuid())
	token := volumeOf("v", v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "t"}}}}})
	for name, tc := range map[string]struct {
		security *v1.PodSecurityContext
		want     string
	}{
		"neither":        {nil, "644"},
		"user":           {&v1.PodSecurityContext{RunAsUser: &uid}, "600"},
		"group":          {&v1.PodSecurityContext{FSGroup: &gid}, "640"},
		"user and group": {&v1.PodSecurityContext{RunAsUser: &uid, FSGroup: &gid}, "640"},
	} {
		f := newFixture(t)
		pod := podOf(token)
		pod.Spec.SecurityContext = tc.security
		got, err := f.Setup(t.Context(), pod)
		if err != nil {
			t.Fatal(err)
		}
		if mode, _, _ := strings.Cut(tree(t, got["v"].HostPath)["t"], " "); mode != tc.want {
			t.Errorf("%s: mode %s, want %s", name, mode, tc.want)
		}
	}
}

func TestCommonUser(t *testing.T) {
	as := func(uid int64) *v1.SecurityContext { return &v1.SecurityContext{RunAsUser: &uid} }
	for _, tc := range []struct {
		pod        *v1.PodSecurityContext
		containers []*v1.SecurityContext
		want       *int64
	}{
		{nil, []*v1.SecurityContext{nil}, nil},
		{nil, []*v1.SecurityContext{as(5), as(5)}, ptr.To[int64](5)},
		{nil, []*v1.SecurityContext{as(5), as(6)}, nil},
		{nil, []*v1.SecurityContext{as(5), nil}, nil},
		{nil, []*v1.SecurityContext{nil, as(5)}, nil},
		{&v1.PodSecurityContext{RunAsUser: ptr.To[int64](7)}, []*v1.SecurityContext{nil, nil}, ptr.To[int64](7)},
		{&v1.PodSecurityContext{RunAsUser: ptr.To[int64](7)}, []*v1.SecurityContext{nil, as(5)}, nil},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{SecurityContext: tc.pod}}
		for _, c := range tc.containers {
			pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{SecurityContext: c})
		}
		if got := commonUser(pod); !ptr.Equal(got, tc.want) {
			t.Errorf("%+v: got %v", tc, got)
		}
	}
}

func TestAtomicWriter(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	finished := 0
	write := func(files payload) {
		t.Helper()
		if err := writeAtomically(dir, files, now, func() error { finished++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	names := func() (names []string, versions int) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "..2026_01_02_03_04_05.") {
				versions++
				continue
			}
			names = append(names, e.Name())
		}
		return names, versions
	}
	write(payload{"a": {data: []byte("1"), mode: 0o644}, "d/x": {data: []byte("2"), mode: 0o600}, "d/y": {mode: 0o644}})
	first, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	if link, _ := os.Readlink(filepath.Join(dir, "d")); link != "..data/d" {
		t.Errorf("d points to %q", link)
	}
	write(payload{"a": {data: []byte("1"), mode: 0o644}, "d/x": {data: []byte("2"), mode: 0o600}, "d/y": {mode: 0o644}})
	if second, _ := os.Readlink(filepath.Join(dir, "..data")); second != first || finished != 1 {
		t.Errorf("the same files were written again: %s, %s, %d", first, second, finished)
	}
	// A crash may leave a version and a link; names go with their files.
	if err := os.Mkdir(filepath.Join(dir, "..2026_01_02_03_04_05.crash"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	write(payload{"a": {data: []byte("9"), mode: 0o644}, "e": {mode: 0o644}})
	got, versions := names()
	if diff := cmp.Diff([]string{"..data", "a", "e"}, got); diff != "" || versions != 1 {
		t.Errorf("%d versions\n%s", versions, diff)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "a")); string(data) != "9" {
		t.Errorf("a is %q", data)
	}
	// A failure leaves the old files.
	failed := errors.New("failed")
	if err := writeAtomically(dir, payload{"a": {data: []byte("X")}}, now, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "a")); string(data) != "9" {
		t.Errorf("a is %q", data)
	}
	write(payload{})
	if got, _ := names(); len(got) != 1 {
		t.Errorf("left %v", got)
	}
}

func TestFSGroupKeepsWhatMatches(t *testing.T) {
	dir, gid := t.TempDir(), int64(os.Getgid())
	sub, file := filepath.Join(dir, "sub"), filepath.Join(dir, "sub/file")
	if err := errors.Join(os.Mkdir(sub, 0o700), os.WriteFile(file, nil, 0o600), os.Symlink("file", filepath.Join(sub, "link"))); err != nil {
		t.Fatal(err)
	}
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if err := setGroup(dir, &gid, onRootMismatch(), false); err != nil {
		t.Fatal(err)
	}
	if mode(file) != 0o660 || mode(sub) != os.ModeDir|os.ModeSetgid|0o770 {
		t.Errorf("file %v, directory %v", mode(file), mode(sub))
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := setGroup(dir, &gid, onRootMismatch(), false); err != nil || mode(file) != 0o600 {
		t.Errorf("OnRootMismatch touched a volume that matches: %v, %v", mode(file), err)
	}
	if err := setGroup(dir, &gid, nil, false); err != nil || mode(file) != 0o660 {
		t.Errorf("Always did not touch the volume: %v, %v", mode(file), err)
	}
	if err := errors.Join(os.Chmod(file, 0o400), setGroup(dir, &gid, nil, true)); err != nil || mode(file) != 0o440 {
		t.Errorf("a volume that is only read: %v, %v", mode(file), err)
	}
	if err := setGroup(dir, nil, nil, false); err != nil {
		t.Error(err)
	}
}

func TestSubPath(t *testing.T) {
	outside := t.TempDir()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.Mkdir(dir+"/d", 0o755), os.WriteFile(dir+"/d/f", []byte("x"), 0o644), os.Chmod(dir, 0o777),
		os.Symlink("d", dir+"/in"), os.Symlink("..", dir+"/d/up"), os.Symlink(outside, dir+"/abs"), os.Symlink("../../..", dir+"/out"),
		os.Symlink(outside+"/new", dir+"/dangling"),
	); err != nil {
		t.Fatal(err)
	}
	mounted := Mounted{HostPath: dir}
	for sub, want := range map[string]string{
		"d": "/d", "d/f": "/d/f", "in/f": "/d/f", "d/up/d/f": "/d/f", ".": "", "new/deep/er": "/new/deep/er", "in/made": "/d/made",
	} {
		got, err := SubPath(mounted, sub)
		if err != nil || got != dir+want {
			t.Errorf("%s: got %q, %v", sub, got, err)
		}
	}
	if info, err := os.Stat(dir + "/new/deep"); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, sub := range []string{"abs", "abs/x", "out", "out/x", "../x", "/etc", "", "dangling", "d/f/x", "a/../../b"} {
		if got, err := SubPath(mounted, sub); err == nil {
			t.Errorf("%s: got %q", sub, got)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("made outside: %v", entries)
	}
}

func TestMountSubPath(t *testing.T) {
	f := newFixture(t)
	pod := podOf(volumeOf("v", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}))
	got, err := f.Setup(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(got["v"].HostPath+"/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i, sub := range []string{"f", "d"} {
			target, err := f.MountSubPath(pod, "c", i, "v", got["v"], sub)
			if want := filepath.Join(f.root, "uid-1/volume-subpaths/v/c", fmt.Sprint(i)); err != nil || target != want {
				t.Fatalf("got %q, %v", target, err)
			}
			info, err := os.Stat(target)
			if err != nil || info.IsDir() != (sub == "d") {
				t.Errorf("%s is %v, %v", sub, info, err)
			}
		}
	}
	if diff := cmp.Diff([]string{"bind f 0", "bind d 1"}, f.mounter.calls); diff != "" {
		t.Error(diff)
	}
	// A file that was replaced, here by a directory, is bound anew.
	if err := errors.Join(os.Remove(got["v"].HostPath+"/f"), os.Mkdir(got["v"].HostPath+"/f", 0o755)); err != nil {
		t.Fatal(err)
	}
	target, err := f.MountSubPath(pod, "c", 0, "v", got["v"], "f")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(target); err != nil || !info.IsDir() {
		t.Errorf("%s is %v, %v", target, info, err)
	}
}

func TestNestedMountpoints(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{
		{VolumeMounts: []v1.VolumeMount{
			{Name: "v", MountPath: "/etc/v"}, {Name: "a", MountPath: "/etc/v/a/deep/"}, {Name: "b", MountPath: "/etc/v/a/deep/er"}, {Name: "c", MountPath: "/etc/vv"},
		}},
		{VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/", SubPath: "s"}, {Name: "a", MountPath: "/x"}}},
	}}}
	if diff := cmp.Diff([]string{"a/deep", "s/x"}, nestedMountpoints(pod, "v")); diff != "" {
		t.Error(diff)
	}
}

func TestImageIsBroughtForTheRuntimeToMount(t *testing.T) {
	f := newFixture(t)
	fail := errors.New("no such image")
	f.images = func(_ context.Context, _ *v1.Pod, s *v1.ImageVolumeSource) (string, error) {
		if s.Reference == "none" {
			return "", fail
		}
		return "id-of-" + s.Reference, nil
	}
	of := func(ref string) *v1.Pod {
		return podOf(volumeOf("v", v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: ref}}))
	}
	if _, err := f.Setup(t.Context(), of("none")); err == nil || !strings.Contains(err.Error(), fail.Error()) {
		t.Errorf("error %v, want %v", err, fail)
	}
	got, err := f.Setup(t.Context(), of("data"))
	if err != nil || got["v"] != (Mounted{Image: "id-of-data", ReadOnly: true}) {
		t.Errorf("%+v, %v", got["v"], err)
	}
}
