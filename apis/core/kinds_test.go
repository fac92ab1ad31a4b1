package core

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proa/apis/kind/kindtest"
)

func TestConfigMap(t *testing.T)      { kindtest.Run(t, ConfigMap(), "testdata/configmap") }
func TestSecret(t *testing.T)         { kindtest.Run(t, Secret(), "testdata/secret") }
func TestServiceAccount(t *testing.T) { kindtest.Run(t, ServiceAccount(), "testdata/serviceaccount") }
func TestNamespace(t *testing.T)      { kindtest.Run(t, Namespace(), "testdata/namespace") }
func TestNode(t *testing.T)           { kindtest.Run(t, Node(), "testdata/node") }
func TestService(t *testing.T)        { kindtest.Run(t, Service(), "testdata/service") }
func TestEndpoints(t *testing.T)      { kindtest.Run(t, Endpoints(), "testdata/endpoints") }
func TestEvent(t *testing.T)          { kindtest.Run(t, Event(), "testdata/event") }
func TestLimitRange(t *testing.T)     { kindtest.Run(t, LimitRange(), "testdata/limitrange") }
func TestResourceQuota(t *testing.T)  { kindtest.Run(t, ResourceQuota(), "testdata/resourcequota") }
func TestPodTemplate(t *testing.T)    { kindtest.Run(t, PodTemplate(), "testdata/podtemplate") }
func TestReplicationController(t *testing.T) {
	kindtest.Run(t, ReplicationController(), "testdata/replicationcontroller")
}

// Times of the moment are left out of what the cases compare.

func TestPod(t *testing.T) {
	k := Pod()
	prepare := k.PrepareForCreate
	k.PrepareForCreate = func(ctx context.Context, p *corev1.Pod) {
		prepare(ctx, p)
		for i := range p.Status.Conditions {
			p.Status.Conditions[i].LastTransitionTime = metav1.Time{}
		}
	}
	kindtest.Run(t, k, "testdata/pod")
}

func TestPersistentVolume(t *testing.T) {
	k := PersistentVolume()
	prepare := k.PrepareForCreate
	k.PrepareForCreate = func(ctx context.Context, v *corev1.PersistentVolume) {
		prepare(ctx, v)
		v.Status.LastPhaseTransitionTime = nil
	}
	kindtest.Run(t, k, "testdata/persistentvolume")
}
func TestPersistentVolumeClaim(t *testing.T) {
	kindtest.Run(t, PersistentVolumeClaim(), "testdata/persistentvolumeclaim")
}
