package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestNames(t *testing.T) {
	const digest = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, tc := range []struct{ in, withTag, normal string }{
		{"busybox", "busybox:latest", "docker.io/library/busybox:latest"},
		{"busybox:1", "busybox:1", "docker.io/library/busybox:1"},
		{"team/app", "team/app:latest", "docker.io/team/app:latest"},
		{"localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"},
		{"r.example.com/a/b:v2", "r.example.com/a/b:v2", "r.example.com/a/b:v2"},
		{"busybox" + digest, "busybox" + digest, "docker.io/library/busybox" + digest},
		{"busybox:1" + digest, "busybox:1" + digest, "docker.io/library/busybox:1" + digest},
	} {
		withTag, err := WithTag(tc.in)
		if err != nil || withTag != tc.withTag {
			t.Errorf("WithTag(%q) = %q, %v", tc.in, withTag, err)
		}
		normal, err := Normalize(tc.in)
		if err != nil || normal != tc.normal {
			t.Errorf("Normalize(%q) = %q, %v", tc.in, normal, err)
		}
	}
	for _, bad := range []string{"", "Upper/Case", "a b", "a:b:c", strings.Repeat("a", 300) + "/b"} {
		if _, err := WithTag(bad); err == nil || !strings.HasPrefix(err.Error(), "Failed to apply default image tag") {
			t.Errorf("WithTag(%q): %v", bad, err)
		}
	}
}

func configJSON(name string, logins ...string) *v1.Secret {
	var entries []string
	for i := 0; i < len(logins); i += 2 {
		auth := base64.StdEncoding.EncodeToString([]byte(logins[i+1] + ":pass:word"))
		entries = append(entries, fmt.Sprintf("%q:{\"auth\":%q}", logins[i], auth))
	}
	return &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Type: v1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(`{"auths":{` + strings.Join(entries, ",") + `}}`)},
	}
}

func TestAuthFor(t *testing.T) {
	for _, tc := range []struct {
		registry, image string
		fits            bool
	}{
		{"r.example.com", "r.example.com/a/b:1", true},
		{"https://r.example.com/v2/", "r.example.com/a", true},
		{"https://r.example.com/v1/team", "r.example.com/team/a", true},
		{"https://r.example.com/v1/team", "r.example.com/other/a", false},
		{"http://r.example.com", "r.example.com/a", true},
		{"r.example.com/team", "r.example.com/team/a", true},
		{"r.example.com/team", "r.example.com/other", false},
		{"r.example.com:5000", "r.example.com:5000/a", true},
		{"r.example.com:5000", "r.example.com/a", false},
		{"r.example.com", "r.example.com:5000/a", false},
		{"*.example.com", "r.example.com/a", true},
		{"*.example.com", "example.com/a", false},
		{"*.example.com", "x.r.example.com/a", false},
		{"*.*.example.com", "x.r.example.com/a", true},
		{"pre*.example.com", "prefix.example.com/a", true},
		{"pre*.example.com", "r.example.com/a", false},
		{"*.example.com/team", "r.example.com/team/a", true},
		{"https://index.docker.io/v1/", "busybox", true},
		{"https://index.docker.io/v1/", "team/app:1", true},
		{"https://index.docker.io/v1/", "docker.io/team/app", true},
		{"https://index.docker.io/v1/", "r.example.com/app", false},
		{"https://index.docker.io/v1/", "localhost/app", false},
	} {
		got, err := AuthFor(tc.image, []*v1.Secret{configJSON("s", tc.registry, "me")})
		if err != nil {
			t.Fatal(err)
		}
		if fits := len(got) == 1; fits != tc.fits {
			t.Errorf("%s for %s: %v", tc.registry, tc.image, got)
		}
		if tc.fits && (got[0].Username != "me" || got[0].Password != "pass:word") {
			t.Errorf("%s: got %v", tc.registry, got[0])
		}
	}
}

func TestAuthForOrderAndErrors(t *testing.T) {
	cfg := &v1.Secret{Type: v1.SecretTypeDockercfg, Data: map[string][]byte{v1.DockerConfigKey: []byte(`{"r.example.com/team":{"username":"old","password":"p"}}`)}}
	broken := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "broken"}, Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(`{"auths": secretvalue`)}}
	opaque := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "opaque"}, Type: v1.SecretTypeOpaque}
	noauth := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "noauth"}, Type: v1.SecretTypeDockercfg, Data: map[string][]byte{v1.DockerConfigKey: []byte(`{"r":{"auth":"%%"}}`)}}
	got, err := AuthFor("r.example.com/team/app", []*v1.Secret{broken, configJSON("a", "r.example.com", "host", "r.example.com/team/app", "app"), opaque, cfg, noauth})
	var users []string
	for _, a := range got {
		users = append(users, a.Username)
	}
	if diff := cmp.Diff([]string{"app", "old", "host"}, users); diff != "" {
		t.Error(diff)
	}
	if err == nil {
		t.Fatal("no error for broken secrets")
	}
	for _, name := range []string{"ns/broken", "ns/opaque", "ns/noauth"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "secretvalue") {
		t.Errorf("the error shows the secret: %v", err)
	}
}

// runtime answers as a CRI runtime with these images and containers.
type runtime struct {
	images     []*runtimeapi.Image
	containers []*runtimeapi.Container
	removed    []string
	stuck      string
}

func (r *runtime) ListImages(context.Context) ([]*runtimeapi.Image, error) { return r.images, nil }

func (r *runtime) ListContainers(context.Context, *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	return r.containers, nil
}

func (r *runtime) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/images"}}}}, nil
}

func (r *runtime) RemoveImage(_ context.Context, image *runtimeapi.ImageSpec) error {
	if image.Image == r.stuck {
		return errors.New("in use")
	}
	r.removed = append(r.removed, image.Image)
	return nil
}

// secrets is a Source of secrets only.
type secrets map[string]*v1.Secret

func (secrets) ConfigMap(context.Context, string, string) (*v1.ConfigMap, error) {
	return nil, errors.New("no config maps here")
}

func (s secrets) Secret(_ context.Context, ns, name string) (*v1.Secret, error) {
	if found, ok := s[ns+"/"+name]; ok {
		return found, nil
	}
	return nil, errors.New("not found")
}

func TestPullSecrets(t *testing.T) {
	var messages []string
	p := PullSecrets{
		Objects:   secrets{"ns/a": configJSON("a", "r.example.com", "me")},
		OnMissing: func(_ *v1.Pod, message string) { messages = append(messages, message) },
	}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1.PodSpec{ImagePullSecrets: []v1.LocalObjectReference{{Name: "gone"}, {Name: "a"}, {}, {Name: "lost"}}}}
	got, err := p.Credentials(t.Context(), pod, "r.example.com/app")
	if err != nil || len(got) != 1 || got[0].Username != "me" {
		t.Errorf("got %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"Unable to retrieve some image pull secrets (gone, lost); attempting to pull the image may not succeed."}, messages); diff != "" {
		t.Error(diff)
	}
}

func TestGC(t *testing.T) {
	rt := &runtime{
		images: []*runtimeapi.Image{
			{Id: "used-id", Size: 10}, {Id: "used-tag", RepoTags: []string{"app:1"}, Size: 10}, {Id: "used-digest", RepoDigests: []string{"app@sha256:1"}, Size: 10},
			{Id: "pinned", Pinned: true, Size: 10}, {Id: "small", Size: 4}, {Id: "big", Size: 6}, {Id: "was-used", Size: 5},
		},
		containers: []*runtimeapi.Container{{ImageId: "used-id"}, {Image: &runtimeapi.ImageSpec{Image: "app:1"}}, {ImageRef: "app@sha256:1"}, {ImageId: "was-used"}},
	}
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	available := uint64(16)
	var failures []string
	gc := NewGC(GCOptions{
		Runtime: rt, Clock: clock,
		Disk: func(path string) (uint64, uint64, error) {
			if path != "/images" {
				return 0, 0, fmt.Errorf("asked for %s", path)
			}
			return 100, available, nil
		},
		OnFailure: func(reason, message string) { failures = append(failures, reason+": "+message) },
	})
	collect := func(want ...string) {
		t.Helper()
		rt.removed = nil
		if err := gc.Collect(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, rt.removed); diff != "" {
			t.Error(diff)
		}
	}
	collect() // 84% in use
	rt.containers = rt.containers[:3]
	clock.Step(time.Minute)
	available = 15
	collect() // 85%, but no image is old enough
	if diff := cmp.Diff([]string{"FreeDiskSpaceFailed: Failed to garbage collect required amount of images. Attempted to free 5 bytes, but only found 0 bytes eligible to free."}, failures); diff != "" {
		t.Error(diff)
	}
	clock.Step(time.Minute)
	collect("big")
	rt.images = append(rt.images[:5:5], rt.images[6])
	available = 11
	collect("small", "was-used")
	failures = nil
	rt.stuck = "small"
	rt.removed = nil
	gc = NewGC(GCOptions{Runtime: rt, Clock: clock, MinAge: time.Nanosecond, Disk: gc.o.Disk})
	if err := gc.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock.Step(time.Minute)
	if err := gc.Collect(t.Context()); err == nil || !strings.Contains(err.Error(), "removing image small: in use") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"was-used"}, rt.removed); diff != "" {
		t.Error(diff)
	}
}

func TestToFree(t *testing.T) {
	for _, tc := range []struct {
		capacity, available, want uint64
	}{{100, 16, 0}, {100, 15, 5}, {100, 0, 20}, {0, 0, 0}, {100, 200, 0}} {
		if got, _ := toFree(tc.capacity, tc.available, 85, 80); got != tc.want {
			t.Errorf("%+v: got %d", tc, got)
		}
	}
	if got, _ := toFree(100, 15, 85, 90); got != 0 {
		t.Errorf("low above high: got %d", got)
	}
}
