package server

import (
	"bufio"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestContainerLogs(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct {
		path, want string
		code       int
	}{
		{"ns/web/c", "one\ntwo\n", 200},
		{"ns/web/c?tailLines=1", "two\n", 200},
		{"ns/web/c?tail=1", "two\n", 200},
		{"ns/web/c?tail=all", "one\ntwo\n", 200},
		{"ns/web/c?stream=Stdout", "one\n", 200},
		{"ns/web/c?stream=Stderr&timestamps=true", "2026-01-01T00:00:02.000000000Z two\n", 200},
		{"ns/web/c?limitBytes=5", "one\nt", 200},
		{"ns/web/c?sinceTime=2026-01-01T00:00:02Z", "two\n", 200},
		{"ns/web/ended", "last words\n", 200},
		{"ns/web/ended?follow=true", "last words\n", 200},
		{"ns/web/waiting", `container "waiting" in pod "web" is waiting to start: ContainerCreating`, 400},
		{"ns/web/c?previous=true", `previous terminated container "c" in pod "web" not found`, 400},
		{"ns/web/gone", "unable to retrieve container logs for gone", 400},
		{"ns/web/none", `container "none" not found in pod "web"`, 404},
		{"ns/none/c", `pod "none" does not exist`, 404},
		{"ns/web/c?tailLines=many", `unable to decode query: tailLines: "many" is not a whole number`, 400},
		{"ns/web/c?tailLines=-1", "invalid request: tailLines must be greater than or equal to 0", 422},
	} {
		code, body := f.do(t, "admin", "GET", "/containerLogs/"+tc.path)
		if code != tc.code || body != tc.want {
			t.Errorf("%s: got %d %q, want %d %q", tc.path, code, body, tc.code, tc.want)
		}
	}
	if err := os.Remove(filepath.Join(f.logs, "id-c.log")); err != nil {
		t.Fatal(err)
	}
	if code, _ := f.do(t, "admin", "GET", "/containerLogs/ns/web/c"); code != 400 {
		t.Errorf("a log that is gone: %d", code)
	}
}

func TestFollow(t *testing.T) {
	f := newFixture(t)
	f.log(t, "id-c", runtimeapi.ContainerState_CONTAINER_RUNNING, "")
	client, err := rest.HTTPClientFor(f.config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url.String()+"/containerLogs/ns/web/c?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r) // comes back although the log is empty
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	path := filepath.Join(f.logs, "id-c.log")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, word := range []string{"first", "second"} {
		if _, err := file.WriteString("2026-01-01T00:00:01Z stdout F " + word + "\n"); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || lines.Text() != word {
			t.Fatalf("got %q, %v", lines.Text(), lines.Err())
		}
	}
	f.runtime.mu.Lock()
	f.runtime.statuses["id-c"] = &runtimeapi.ContainerStatus{State: runtimeapi.ContainerState_CONTAINER_EXITED, LogPath: path}
	f.runtime.mu.Unlock()
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("after the end: %q, %v", lines.Text(), lines.Err())
	}
}

func TestLogOptions(t *testing.T) {
	for query, want := range map[string]int{
		"": 0, "follow": 0, "tailLines=0": 0, "stream=All&tailLines=1": 0,
		"tailLines=-1": 422, "limitBytes=0": 422, "sinceSeconds=0": 422, "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z": 422, "stream=None": 422, "stream=Stdout&tailLines=1": 422,
		"sinceTime=yesterday": 400, "limitBytes=1.5": 400, "tail=x": 400,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, got, err := logOptions(values); got != want || (err == nil) != (want == 0) {
			t.Errorf("%s: got %d, %v", query, got, err)
		}
	}
	o, _, err := logOptions(url.Values{"follow": {"true"}, "previous": {"false"}, "timestamps": {""}})
	if err != nil || !o.Follow || o.Previous || !o.Timestamps {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestLogTarget(t *testing.T) {
	waiting := func(reason string) v1.ContainerState {
		return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason}}
	}
	ended := func(id string) v1.ContainerState {
		return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ContainerID: id}}
	}
	for name, tc := range map[string]struct {
		status   v1.ContainerStatus
		previous bool
		want     string
		err      string
	}{
		"running":              {status: running("c", "a"), want: "a"},
		"previous":             {status: v1.ContainerStatus{ContainerID: "containerd://b", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}, LastTerminationState: ended("containerd://a")}, previous: true, want: "a"},
		"no previous":          {status: running("c", "a"), previous: true, err: `previous terminated container "c" in pod "p" not found`},
		"ended":                {status: v1.ContainerStatus{State: ended("containerd://a")}, want: "a"},
		"ended without an id":  {status: v1.ContainerStatus{State: ended("")}, err: `container "c" in pod "p" is terminated`},
		"did not start again":  {status: v1.ContainerStatus{State: ended(""), LastTerminationState: ended("containerd://a")}, want: "a"},
		"backs off":            {status: v1.ContainerStatus{State: waiting("CrashLoopBackOff"), LastTerminationState: ended("containerd://a")}, want: "a"},
		"backs off, id lost":   {status: v1.ContainerStatus{State: waiting("CrashLoopBackOff"), LastTerminationState: ended("")}, err: `container "c" in pod "p" is terminated`},
		"is created":           {status: v1.ContainerStatus{State: waiting("ContainerCreating")}, err: `container "c" in pod "p" is waiting to start: ContainerCreating`},
		"cannot pull":          {status: v1.ContainerStatus{State: waiting("ErrImagePull")}, err: `container "c" in pod "p" is waiting to start: image can't be pulled`},
		"cannot pull for long": {status: v1.ContainerStatus{State: waiting("ImagePullBackOff")}, err: `container "c" in pod "p" is waiting to start: trying and failing to pull image`},
		"unknown state":        {err: `container "c" in pod "p" is waiting to start - no logs yet`},
	} {
		tc.status.Name = "c"
		for kind, pod := range map[string]*v1.Pod{
			"container":           {Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{tc.status}}},
			"init container":      {Status: v1.PodStatus{InitContainerStatuses: []v1.ContainerStatus{tc.status}}},
			"ephemeral container": {Status: v1.PodStatus{EphemeralContainerStatuses: []v1.ContainerStatus{tc.status}}},
		} {
			pod.ObjectMeta = metav1.ObjectMeta{Name: "p"}
			got, err := logTarget(pod, "c", tc.previous)
			if got != tc.want || (err == nil) != (tc.err == "") || (err != nil && err.Error() != tc.err) {
				t.Errorf("%s, %s: got %q, %v", name, kind, got, err)
			}
		}
	}
	if _, err := logTarget(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, "c", false); err == nil || err.Error() != `container "c" in pod "p" is not available` {
		t.Errorf("got %v", err)
	}
}
