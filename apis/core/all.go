package core

import "proa/apis/kind"

// Kinds lists the kinds of the legacy group.
func Kinds() []kind.Any {
	return []kind.Any{
		Namespace(),
		ConfigMap(),
		Secret(),
		ServiceAccount(),
		Node(),
		Pod(),
		Service(),
		Endpoints(),
		Event(),
		Binding(),
		ComponentStatus(),
		LimitRange(),
		ResourceQuota(),
		PodTemplate(),
		ReplicationController(),
		PersistentVolume(),
		PersistentVolumeClaim(),
	}
}
