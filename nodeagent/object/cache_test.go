package object

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

func podWith(uid types.UID, configMaps ...string) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: string(uid), Namespace: "ns", UID: uid}}
	for _, name := range configMaps {
		pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: name, VolumeSource: v1.VolumeSource{
			ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: name}},
		}})
	}
	return pod
}

func configMap(name, value, version string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", ResourceVersion: version, UID: types.UID(name)}, Data: map[string]string{"k": value}}
}

// next waits for a change; the deadline is only reached by a failing test.
func next(t *testing.T, changes chan string) string {
	t.Helper()
	select {
	case c := <-changes:
		return c
	case <-time.After(30 * time.Second):
		t.Fatal("no change arrived")
		return ""
	}
}

func newCache(t *testing.T, client *fake.Clientset) (*Cache, chan string) {
	changes := make(chan string, 100)
	c := New(client, Options{OnChange: func(kind, ns, name string) { changes <- kind + " " + ns + "/" + name }})
	t.Cleanup(c.Close)
	return c, changes
}

func TestMissingObjectAppearsAndChanges(t *testing.T) {
	ctx := context.Background()
	client := fake.NewClientset()
	watching := make(chan struct{})
	client.PrependWatchReactor("configmaps", func(action clienttesting.Action) (bool, watch.Interface, error) {
		w, err := client.Tracker().Watch(action.GetResource(), action.GetNamespace())
		close(watching)
		return true, w, err
	})
	c, changes := newCache(t, client)
	c.Register(podWith("p1", "cm"))

	_, err := c.ConfigMap(ctx, "ns", "cm")
	if !apierrors.IsNotFound(err) || err.Error() != `configmap "cm" not found` {
		t.Fatalf("got %v", err)
	}
	// A real server's watch starts at the list; the fake one's when it is opened.
	<-watching
	if err := client.Tracker().Add(configMap("cm", "one", "1")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, changes); got != "ConfigMap ns/cm" {
		t.Fatalf("got change %q", got)
	}
	cm, err := c.ConfigMap(ctx, "ns", "cm")
	if err != nil || cm.Data["k"] != "one" {
		t.Fatalf("got %v, %v", cm, err)
	}
	if _, err := client.CoreV1().ConfigMaps("ns").Update(ctx, configMap("cm", "two", "2"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	next(t, changes)
	if cm, err = c.ConfigMap(ctx, "ns", "cm"); err != nil || cm.Data["k"] != "two" {
		t.Fatalf("got %v, %v", cm, err)
	}
	if err := client.CoreV1().ConfigMaps("ns").Delete(ctx, "cm", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	next(t, changes)
	if _, err = c.ConfigMap(ctx, "ns", "cm"); !apierrors.IsNotFound(err) {
		t.Fatalf("got %v", err)
	}
}

func TestReadsDoNotWaitForTheWatch(t *testing.T) {
	client := fake.NewClientset(configMap("cm", "one", "1"))
	stalled := make(chan struct{})
	stall := func(clienttesting.Action) (bool, runtime.Object, error) { <-stalled; return false, nil, nil }
	client.PrependReactor("list", "configmaps", stall)
	c, _ := newCache(t, client)
	defer close(stalled)
	c.Register(podWith("p1", "cm", "none"))
	if cm, err := c.ConfigMap(t.Context(), "ns", "cm"); err != nil || cm.Data["k"] != "one" {
		t.Errorf("got %v, %v", cm, err)
	}
	if _, err := c.ConfigMap(t.Context(), "ns", "none"); !apierrors.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

func TestAWatchGetsThroughWhereAReadFails(t *testing.T) {
	client := fake.NewClientset(configMap("cm", "one", "1"))
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "cm", nil)
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden })
	var lists atomic.Int32
	client.PrependReactor("list", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return lists.Add(1) < 3, nil, forbidden // the third one is let through
	})
	c, _ := newCache(t, client)
	c.Register(podWith("p1", "cm"))
	if cm, err := c.ConfigMap(t.Context(), "ns", "cm"); err != nil || cm.Data["k"] != "one" {
		t.Errorf("got %v, %v", cm, err)
	}
	// Whom nothing waits for is told at once.
	if _, err := c.ConfigMap(t.Context(), "ns", "other"); !apierrors.IsForbidden(err) {
		t.Errorf("got %v", err)
	}
}

func TestReferencesAreCounted(t *testing.T) {
	ctx := context.Background()
	client := fake.NewClientset(configMap("cm", "one", "1"))
	c, _ := newCache(t, client)
	p1, p2 := podWith("p1", "cm"), podWith("p2", "cm", "other")
	c.Register(p1)
	c.Register(p1) // an update of the same pod counts once
	c.Register(p2)
	if got := c.Referrers(ConfigMap, "ns", "cm"); len(got) != 2 {
		t.Errorf("referrers %v", got)
	}
	c.Unregister(p1)
	if got := c.Referrers(ConfigMap, "ns", "cm"); len(got) != 1 || got[0] != "p2" {
		t.Errorf("referrers %v", got)
	}
	c.Register(podWith("p2", "other")) // the pod no longer refers to cm
	if got := c.Referrers(ConfigMap, "ns", "cm"); got != nil {
		t.Errorf("referrers %v", got)
	}
	// What no pod refers to is read from the API.
	cm, err := c.ConfigMap(ctx, "ns", "cm")
	if err != nil || cm.Data["k"] != "one" {
		t.Errorf("got %v, %v", cm, err)
	}
	if _, err := c.Secret(ctx, "ns", "none"); err == nil || err.Error() != `secret "none" not found` {
		t.Errorf("got %v", err)
	}
	c.Unregister(p2)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.items) != 0 || len(c.pods) != 0 {
		t.Errorf("left over: %v, %v", c.items, c.pods)
	}
}

func TestImmutableObjectsAreNotWatched(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	frozen := make(chan struct{})
	obj := configMap("cm", "one", "1")
	obj.Immutable = ptr.To(true)
	w := newWatched(fake.NewClientset(obj), key{ConfigMap, "ns", "cm"}, func() {}, func() { close(frozen); cancel() })
	w.run(ctx) // ends because the object is immutable
	<-frozen
	if _, err := w.answer(key{ConfigMap, "ns", "cm"}); err != nil {
		t.Errorf("the object was forgotten: %v", err)
	}
}

func TestReferences(t *testing.T) {
	local := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	pod := &v1.Pod{Spec: v1.PodSpec{
		ImagePullSecrets: []v1.LocalObjectReference{local("pull")},
		InitContainers:   []v1.Container{{EnvFrom: []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: local("from")}}}}},
		Containers: []v1.Container{{
			EnvFrom: []v1.EnvFromSource{{SecretRef: &v1.SecretEnvSource{LocalObjectReference: local("fromsecret")}}},
			Env: []v1.EnvVar{
				{ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: local("key")}}},
				{ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: local("secretkey")}}},
				{Value: "x"},
			},
		}},
		Volumes: []v1.Volume{
			{VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "vol"}}},
			{VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
				{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local("proj")}},
				{Secret: &v1.SecretProjection{LocalObjectReference: local("projsecret")}},
			}}}},
		},
	}}
	want := []Reference{
		{Secret, "pull"}, {ConfigMap, "from"}, {Secret, "fromsecret"}, {ConfigMap, "key"}, {Secret, "secretkey"}, {Secret, "vol"}, {ConfigMap, "proj"}, {Secret, "projsecret"},
	}
	got := References(pod)
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for _, r := range want {
		if _, ok := got[r]; !ok {
			t.Errorf("%v is missing", r)
		}
	}
}
