package controllers

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proa/controllers/admissionregistration"
	"proa/controllers/apps"
	"proa/controllers/batch"
	"proa/controllers/bootstrap"
	"proa/controllers/certificates"
	"proa/controllers/control"
	"proa/controllers/core"
	"proa/controllers/discovery"
	"proa/controllers/garbagecollector"
	"proa/controllers/networking"
	"proa/controllers/node"
	"proa/controllers/podgc"
	"proa/controllers/policy"
	"proa/controllers/serviceaccount"
	"proa/controllers/storage"
)

// Entry is one controller of the list.
type Entry struct {
	// Name as in --controllers; upstream's where it has one.
	Name string
	// Needs are the resources without which the controller is not started.
	Needs []schema.GroupVersionResource
	// Setup registers the controller with env.Manager.
	Setup func(env *control.Env) error
}

// missing lists the resources that the API server does not serve.
func (e Entry) missing(served map[schema.GroupVersionResource]bool) []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, gvr := range e.Needs {
		if !served[gvr] {
			out = append(out, gvr)
		}
	}
	return out
}

func v1(resources ...string) []schema.GroupVersionResource { return in("", resources...) }

// in lists resources of version v1 of a group.
func in(group string, resources ...string) []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, r := range resources {
		out = append(out, schema.GroupVersionResource{Group: group, Version: "v1", Resource: r})
	}
	return out
}

// All is the list of controllers, in the order of their setup.
func All() []Entry {
	return []Entry{
		{"namespace-controller", v1("namespaces", "pods"), core.SetupNamespace},
		{"serviceaccount-controller", v1("namespaces", "serviceaccounts"), core.SetupServiceAccount},
		{"root-ca-certificate-publisher-controller", v1("namespaces", "configmaps"), core.SetupRootCA},
		{"serviceaccount-token-controller", v1("serviceaccounts", "secrets"), serviceaccount.SetupTokens},
		{"legacy-serviceaccount-token-cleaner-controller", v1("serviceaccounts", "secrets", "pods"), serviceaccount.SetupCleaner},
		{"replicaset-controller", append(in("apps", "replicasets"), v1("pods")...), apps.SetupReplicaSet},
		{"deployment-controller", append(in("apps", "deployments", "replicasets"), v1("pods")...), apps.SetupDeployment},

		{"daemonset-controller", append(in("apps", "daemonsets", "controllerrevisions"), v1("nodes", "pods")...), apps.SetupDaemonSet},
		{"statefulset-controller", append(in("apps", "statefulsets", "controllerrevisions"), v1("pods", "persistentvolumeclaims")...), apps.SetupStatefulSet},
		{"endpointslice-controller", append(in("discovery.k8s.io", "endpointslices"), v1("services", "pods", "nodes")...), discovery.SetupEndpointSlice},
		{"endpointslice-mirroring-controller", append(in("discovery.k8s.io", "endpointslices"), v1("services", "endpoints")...), discovery.SetupEndpointSliceMirroring},
		{"service-cidr-controller", in("networking.k8s.io", "servicecidrs", "ipaddresses"), networking.SetupServiceCIDR},
		{"replicationcontroller-controller", v1("replicationcontrollers", "pods"), core.SetupReplicationController},
		{"endpoints-controller", v1("services", "pods", "endpoints"), core.SetupEndpoints},

		{"job-controller", append(in("batch", "jobs"), v1("pods")...), batch.SetupJob},
		{"cronjob-controller", in("batch", "cronjobs", "jobs"), batch.SetupCronJob},
		{"job-orphans-controller", append(in("batch", "jobs"), v1("pods")...), batch.SetupJobOrphans},
		{"ttl-after-finished-controller", in("batch", "jobs"), batch.SetupTTLAfterFinished},
		{"garbage-collector-controller", nil, func(env *control.Env) error { return garbagecollector.Setup(env, cachedWhole()) }},

		{"disruption-controller", append(in("policy", "poddisruptionbudgets"), append(in("apps", "deployments", "replicasets", "statefulsets"), v1("pods", "replicationcontrollers")...)...), policy.SetupDisruption},
		{"stale-pod-disruption-controller", append(in("policy", "poddisruptionbudgets"), v1("pods")...), policy.SetupStaleDisruption},
		{"resourcequota-controller", v1("resourcequotas", "pods", "services", "persistentvolumeclaims"), func(env *control.Env) error { return core.SetupResourceQuota(env, cachedWhole()) }},

		{"node-ipam-controller", v1("nodes"), node.SetupIPAM},
		{"node-lifecycle-controller", append(in("coordination.k8s.io", "leases"), v1("nodes", "pods")...), node.SetupLifecycle},
		{"taint-eviction-controller", v1("nodes", "pods"), node.SetupTaintEviction},
		{"pod-garbage-collector-controller", v1("nodes", "pods"), podgc.Setup},
		{"certificatesigningrequest-approving-controller", in("certificates.k8s.io", "certificatesigningrequests"), certificates.SetupApprover},
		{"certificatesigningrequest-signing-controller", in("certificates.k8s.io", "certificatesigningrequests"), certificates.SetupSigner},
		{"certificatesigningrequest-cleaner-controller", in("certificates.k8s.io", "certificatesigningrequests"), certificates.SetupCleaner},
		{"token-cleaner-controller", v1("secrets"), bootstrap.SetupTokenCleaner},
		{"persistentvolumeclaim-protection-controller", v1("persistentvolumeclaims", "pods"), storage.SetupClaimProtection},
		{"persistentvolume-protection-controller", v1("persistentvolumes"), storage.SetupVolumeProtection},
		{"volumeattributesclass-protection-controller", append(in("storage.k8s.io", "volumeattributesclasses"), v1("persistentvolumes", "persistentvolumeclaims")...), storage.SetupAttributesProtection},
		{"persistentvolume-binder-controller", append(in("storage.k8s.io", "storageclasses"), v1("persistentvolumes", "persistentvolumeclaims", "pods")...), storage.SetupBinder},
		{"validatingadmissionpolicy-status-controller", in("admissionregistration.k8s.io", "validatingadmissionpolicies"), admissionregistration.SetupPolicyStatus},
		{"clusterrole-aggregation-controller", in("rbac.authorization.k8s.io", "clusterroles"), bootstrap.SetupClusterRoleAggregation},
	}
}

// cachedWhole are the kinds that some controller or the scheduler reads whole
// from the shared cache. The garbage collector uses the same informers; of all
// other kinds it keeps the metadata only.
func cachedWhole() map[schema.GroupVersionResource]client.Object {
	return map[schema.GroupVersionResource]client.Object{
		v1("pods")[0]:                                                        &corev1.Pod{},
		v1("nodes")[0]:                                                       &corev1.Node{},
		v1("namespaces")[0]:                                                  &corev1.Namespace{},
		v1("services")[0]:                                                    &corev1.Service{},
		v1("endpoints")[0]:                                                   &corev1.Endpoints{}, //nolint:staticcheck // still served
		v1("replicationcontrollers")[0]:                                      &corev1.ReplicationController{},
		in("apps", "replicasets")[0]:                                         &appsv1.ReplicaSet{},
		in("apps", "deployments")[0]:                                         &appsv1.Deployment{},
		in("apps", "daemonsets")[0]:                                          &appsv1.DaemonSet{},
		in("apps", "statefulsets")[0]:                                        &appsv1.StatefulSet{},
		v1("persistentvolumes")[0]:                                           &corev1.PersistentVolume{},
		in("storage.k8s.io", "storageclasses")[0]:                            &storagev1.StorageClass{},
		in("storage.k8s.io", "volumeattributesclasses")[0]:                   &storagev1.VolumeAttributesClass{},
		v1("persistentvolumeclaims")[0]:                                      &corev1.PersistentVolumeClaim{},
		in("apps", "controllerrevisions")[0]:                                 &appsv1.ControllerRevision{},
		in("batch", "jobs")[0]:                                               &batchv1.Job{},
		in("batch", "cronjobs")[0]:                                           &batchv1.CronJob{},
		in("policy", "poddisruptionbudgets")[0]:                              &policyv1.PodDisruptionBudget{},
		v1("resourcequotas")[0]:                                              &corev1.ResourceQuota{},
		in("resource.k8s.io", "resourceclaims")[0]:                           &resourcev1.ResourceClaim{},
		in("resource.k8s.io", "deviceclasses")[0]:                            &resourcev1.DeviceClass{},
		in("discovery.k8s.io", "endpointslices")[0]:                          &discoveryv1.EndpointSlice{},
		in("admissionregistration.k8s.io", "validatingadmissionpolicies")[0]: &admissionregistrationv1.ValidatingAdmissionPolicy{},
		in("networking.k8s.io", "servicecidrs")[0]:                           &networkingv1.ServiceCIDR{},
		in("networking.k8s.io", "ipaddresses")[0]:                            &networkingv1.IPAddress{},
		in("coordination.k8s.io", "leases")[0]:                               &coordinationv1.Lease{},
		in("certificates.k8s.io", "certificatesigningrequests")[0]:           &certificatesv1.CertificateSigningRequest{},
	}
}
