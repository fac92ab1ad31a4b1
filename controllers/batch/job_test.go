package batch

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"proa/controllers/control/controltest"
)

func testJob(change func(*batchv1.Job)) *batchv1.Job {
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "j"},
		Spec: batchv1.JobSpec{
			Completions:  ptr.To(int32(1)),
			Parallelism:  ptr.To(int32(1)),
			BackoffLimit: ptr.To(int32(1)),
			Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"job": "j"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"job": "j"}},
				Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			},
		},
	}
	if change != nil {
		change(job)
	}
	return job
}

func jobWorld(t *testing.T, job *batchv1.Job) (*controltest.World, func() string) {
	w := controltest.New(t)
	r := NewJob(w.Client, w.Client, w.Recorder(), w.Clock)
	w.WatchSelf(&batchv1.Job{})
	w.Watch(&corev1.Pod{}, r.podEvents())
	w.Do(func() {
		if err := w.Client.Create(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	})
	return w, func() string {
		out := []string{}
		for range 10 {
			s := w.Run(r)
			if s != "" {
				out = append(out, s)
			}
			if wait := w.Queue.Waiting(); wait < 0 || wait > time.Second {
				break
			}
			w.Advance(batchDelay)
		}
		return strings.Join(out, "\n")
	}
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if d := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(got), "\n")); d != "" {
		t.Errorf("transcript differs (-want +got):\n%s", d)
	}
}

func TestJobCompletes(t *testing.T) {
	w, run := jobWorld(t, testJob(nil))
	want(t, run(), `
create Pod j-2: owner=j
status Job j: status.active=1 status.ready=0 status.startTime="2030-01-01T00:00:00Z" status.terminating=0
event Normal SuccessfulCreate Created pod: j-2`)
	w.SetReady(w.Pods("default")[0])
	want(t, run(), `status Job j: status.ready=1`)
	w.SetPhase(w.Pods("default")[0], corev1.PodSucceeded)
	want(t, run(), `
status Job j: status.active=- status.conditions[SuccessCriteriaMet]="True/CompletionsReached/Reached expected number of succeeded pods" status.ready=0 status.uncountedTerminatedPods.succeeded=["uid-2"]
patch Pod j-2: finalizers=-
status Job j: status.completionTime="2030-01-01T00:00:00Z" status.conditions[Complete]="True/CompletionsReached/Reached expected number of succeeded pods" status.succeeded=1 status.uncountedTerminatedPods.succeeded=-
event Normal Completed Job completed`)
}

func TestJobFailsAfterBackoff(t *testing.T) {
	w, run := jobWorld(t, testJob(nil))
	run()
	w.SetPhase(w.Pods("default")[0], corev1.PodFailed)
	got := run()
	if !strings.Contains(got, "status.failed=1") || strings.Contains(got, "create") {
		t.Errorf("first failure: %s", got)
	}
	wait := w.Queue.Waiting()
	if wait < 9*time.Second || wait > 10*time.Second {
		t.Errorf("next pod in %v, want about 10s", wait)
	}
	w.Advance(wait)
	if got := run(); !strings.Contains(got, "create Pod j-3") {
		t.Errorf("no second pod: %s", got)
	}
	w.SetPhase(w.Pods("default")[1], corev1.PodFailed)
	want(t, run(), `
status Job j: status.active=- status.conditions[FailureTarget]="True/BackoffLimitExceeded/Job has reached the specified backoff limit" status.uncountedTerminatedPods.failed=["uid-3"]
patch Pod j-3: finalizers=-
status Job j: status.conditions[Failed]="True/BackoffLimitExceeded/Job has reached the specified backoff limit" status.failed=2 status.uncountedTerminatedPods.failed=-
event Warning BackoffLimitExceeded Job has reached the specified backoff limit`)
}

func TestJobIndexed(t *testing.T) {
	w, run := jobWorld(t, testJob(func(j *batchv1.Job) {
		j.Spec.CompletionMode = ptr.To(batchv1.IndexedCompletion)
		j.Spec.Completions, j.Spec.Parallelism = ptr.To(int32(3)), ptr.To(int32(2))
	}))
	run()
	var hosts []string
	for _, p := range w.Pods("default") {
		hosts = append(hosts, p.Spec.Hostname)
		w.SetPhase(p, corev1.PodSucceeded)
	}
	if d := cmp.Diff([]string{"j-0", "j-1"}, hosts); d != "" {
		t.Error(d)
	}
	got := run()
	if !strings.Contains(got, `status.completedIndexes="0,1"`) || !strings.Contains(got, "create Pod j-2-") {
		t.Errorf("second round: %s", got)
	}
	for _, p := range w.Pods("default") {
		if p.Spec.Hostname == "j-2" {
			w.SetPhase(p, corev1.PodSucceeded)
		}
	}
	got = run()
	if !strings.Contains(got, `status.completedIndexes="0-2"`) || !strings.Contains(got, "event Normal Completed Job completed") {
		t.Errorf("end: %s", got)
	}
}

func TestJobBackoffLimitPerIndex(t *testing.T) {
	w, run := jobWorld(t, testJob(func(j *batchv1.Job) {
		j.Spec.CompletionMode = ptr.To(batchv1.IndexedCompletion)
		j.Spec.Completions, j.Spec.Parallelism = ptr.To(int32(2)), ptr.To(int32(2))
		j.Spec.BackoffLimit, j.Spec.BackoffLimitPerIndex = ptr.To(int32(100)), ptr.To(int32(0))
	}))
	run()
	pods := w.Pods("default")
	w.SetPhase(pods[0], corev1.PodFailed)
	if got := run(); !strings.Contains(got, `status.failedIndexes="0"`) {
		t.Errorf("index 0 did not fail: %s", got)
	}
	w.SetPhase(pods[1], corev1.PodSucceeded)
	if got := run(); !strings.Contains(got, "event Warning FailedIndexes Job has failed indexes") {
		t.Errorf("end: %s", got)
	}
}

func TestJobSuspendAndDeadline(t *testing.T) {
	job := testJob(func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = ptr.To(int64(30)); j.Spec.Suspend = ptr.To(true) })
	w, run := jobWorld(t, job)
	want(t, run(), `
status Job j: status.conditions[Suspended]="True/JobSuspended/Job suspended" status.ready=0 status.terminating=0
event Normal Suspended Job suspended`)
	controltest.Update(w, job, func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(false) })
	if got := run(); !strings.Contains(got, "event Normal Resumed Job resumed") || !strings.Contains(got, "create Pod j-2") {
		t.Errorf("resumed: %s", got)
	}
	w.Advance(30 * time.Second)
	if got := run(); !strings.Contains(got, "event Warning DeadlineExceeded Job was active longer than specified deadline") || !strings.Contains(got, "delete Pod j-2") {
		t.Errorf("deadline: %s", got)
	}
}

func TestIntervals(t *testing.T) {
	s := parseIntervals("1,3-5,7", 100)
	for _, tc := range []struct{ got, want any }{
		{s.String(), "1,3-5,7"},
		{s.total(), 5},
		{s.has(4), true},
		{s.has(6), false},
		{s.with([]int{2, 6}).String(), "1-7"},
		{s.with([]int{0}).String(), "0,1,3-5,7"},
		{s.overlap(parseIntervals("4-7", 100)), 3},
		{s.firstMissing(3, 100), []int{0, 2, 6}},
		{s.firstMissing(9, 8), []int{0, 2, 6}},
		{parseIntervals("1,3-5,7", 5).String(), "1,3,4"},
		{parseIntervals("x,2", 5).String(), "2"},
	} {
		if d := cmp.Diff(tc.want, tc.got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
}

func TestJudge(t *testing.T) {
	pod := func(code int32) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
				Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}},
			}}},
		}
	}
	policy := &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}},
		{Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{42}}},
		{Action: batchv1.PodFailurePolicyActionFailIndex, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{7}}},
	}}
	disrupted := pod(42)
	disrupted.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		want verdict
	}{
		"first rule wins": {disrupted, verdict{}},
		"fail job":        {pod(42), verdict{counted: true, failJob: "Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 1"}},
		"fail index":      {pod(7), verdict{counted: true, failIndex: true}},
		"no match":        {pod(1), verdict{counted: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, judge(policy, tc.pod), cmp.AllowUnexported(verdict{})); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}
