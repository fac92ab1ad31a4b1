package server

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	testclock "k8s.io/utils/clock/testing"
)

func TestLegacyTokenTracking(t *testing.T) {
	ctx, client := context.Background(), fake.NewClientset()
	clock := testclock.NewFakePassiveClock(time.Date(2026, 1, 1, 23, 0, 0, 0, time.FixedZone("", -2*3600)))
	l := LegacyTokenTracking{clock}
	expect := func(want string) {
		t.Helper()
		if err := l.sync(ctx, client); err != nil {
			t.Fatal(err)
		}
		m, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, trackingName, metav1.GetOptions{})
		if err != nil || m.Data["since"] != want {
			t.Errorf("%v, %v; want %s", m.Data, err, want)
		}
	}
	expect("2026-01-02") // by UTC
	clock.SetTime(clock.Now().Add(48 * time.Hour))
	expect("2026-01-02")
	m, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, trackingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Data["since"] = "nonsense"
	if _, err := client.CoreV1().ConfigMaps("kube-system").Update(ctx, m, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("2026-01-04")
	if err := client.CoreV1().ConfigMaps("kube-system").Delete(ctx, trackingName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("2026-01-04")
}
