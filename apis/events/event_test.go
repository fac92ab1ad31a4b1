package events

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func full() *corev1.Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	e := &corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "web", Namespace: "default"},
		Reason:         "Started", Message: "Started container web", Type: corev1.EventTypeNormal,
		EventTime: metav1.NewMicroTime(at), Action: "Starting", Related: &corev1.ObjectReference{Kind: "Node", Name: "n1"},
		ReportingController: "example.com/agent", ReportingInstance: "agent-1",
		Series: &corev1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(at)},
	}
	e.Name, e.Namespace = "web.1", "default"
	return e
}

// TestConversion: an event survives the way there and back, alone and in lists.
func TestConversion(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := AddConversions(scheme); err != nil {
		t.Fatal(err)
	}
	e := full()
	e.Source, e.Count = corev1.EventSource{Component: "kubelet", Host: "n1"}, 7
	e.FirstTimestamp, e.LastTimestamp = metav1.NewTime(e.EventTime.Time), metav1.NewTime(e.EventTime.Time)
	in := &corev1.EventList{ListMeta: metav1.ListMeta{ResourceVersion: "5"}, Items: []corev1.Event{*e}}
	mid, back := &eventsv1.EventList{}, &corev1.EventList{}
	if err := scheme.Converter().Convert(in, mid, nil); err != nil {
		t.Fatal(err)
	}
	if got := mid.Items[0]; got.Note != e.Message || got.Regarding.Name != "web" || got.DeprecatedCount != 7 {
		t.Errorf("converted: %+v", got)
	}
	if err := scheme.Converter().Convert(mid, back, nil); err != nil {
		t.Fatal(err)
	}
	if !equality.Semantic.DeepEqual(in, back) {
		t.Errorf("came back as %+v", back.Items[0])
	}
}

func TestStrictValidation(t *testing.T) {
	k, ctx := Event(), context.Background()
	if errs := k.Validate(ctx, full()); len(errs) > 0 {
		t.Fatalf("a good event: %v", errs)
	}
	for want, change := range map[string]func(*corev1.Event){
		"type":                func(e *corev1.Event) { e.Type = "Odd" },
		"count":               func(e *corev1.Event) { e.Count = 1 },
		"firstTimestamp":      func(e *corev1.Event) { e.FirstTimestamp = metav1.Now() },
		"source":              func(e *corev1.Event) { e.Source.Host = "n1" },
		"series.count":        func(e *corev1.Event) { e.Series.Count = 1 },
		"reportingController": func(e *corev1.Event) { e.ReportingController = "a b" },
	} {
		e := full()
		change(e)
		if errs := k.Validate(ctx, e); len(errs) != 1 || errs[0].Field != want {
			t.Errorf("%s: %v", want, errs)
		}
	}
	old, e := full(), full()
	e.Series.Count = 3
	if errs := k.ValidateUpdate(ctx, e, old); len(errs) > 0 {
		t.Errorf("the series goes on: %v", errs)
	}
	e.Reason = "Other"
	if errs := k.ValidateUpdate(ctx, e, old); len(errs) != 1 || errs[0].Field != "reason" {
		t.Errorf("changed reason: %v", errs)
	}
}
