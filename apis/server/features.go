package server

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-base/featuregate"
)

// AddKubernetesGates makes the gates of Kubernetes' own programs known to gate,
// beside those that the libraries register, so that --feature-gates takes all that
// upstream's does. Nothing here asks for them: what they guard is as their defaults
// say. It may be called again.
func AddKubernetesGates(gate featuregate.MutableVersionedFeatureGate) error {
	missing, known := kubernetesGates(), gate.GetAllVersioned()
	maps.DeleteFunc(missing, func(name featuregate.Feature, _ featuregate.VersionedSpecs) bool {
		_, ok := known[name]
		return ok
	})
	if len(missing) == 0 { // once it is in a flag set, a gate takes no more, not even none
		return nil
	}
	return gate.AddVersioned(missing)
}

// GatesWithoutEffect are the names, sorted, of the gates that were set to another
// value than what this program does.
func GatesWithoutEffect(gate featuregate.MutableVersionedFeatureGate) []string {
	var out []string
	for name, specs := range kubernetesGates() {
		if gate.ExplicitlySet(name) && gate.Enabled(name) != specs[0].Default {
			out = append(out, string(name))
		}
	}
	slices.Sort(out)
	return out
}

// kubernetesGates are the gates of release 1.36 that no library here registers: of
// k8s.io/kubernetes' pkg/features, of the controller manager, of client-go and of
// logging and metrics. They are known in all versions that can be emulated.
func kubernetesGates() map[featuregate.Feature]featuregate.VersionedSpecs {
	all := map[featuregate.Feature]featuregate.VersionedSpecs{}
	for _, g := range []struct {
		spec  featuregate.FeatureSpec
		names string
	}{
		{featuregate.FeatureSpec{Default: false, PreRelease: featuregate.Alpha, LockToDefault: false}, `CPUManagerPolicyAlphaOptions CRIListStreaming CSIVolumeHealth ClientsAllowCBOR ClientsPreferCBOR
			CloudControllerManagerWatchBasedRoutesReconciliation CloudControllerManagerWebhook ContainerStopSignals
			ControllerManagerReleaseLeaderElectionLockOnExit CrossNamespaceVolumeDataSource DRAListTypeAttributes
			DRANodeAllocatableResources DRAResourcePoolStatus DRAWorkloadResourceClaims EventedPLEG GangScheduling GenericWorkload
			HPAScaleToZero ImageVolumeWithDigest InPlacePodVerticalScalingExclusiveCPUs InPlacePodVerticalScalingExclusiveMemory
			KubeletInUserNamespace LoggingAlphaOptions MemoryQoS MutablePVNodeAffinity NativeHistograms
			PersistentVolumeClaimUnusedSinceTime PodAndContainerStatsFromCRI PodLevelResourceManagers PodLogsQuerySplitStreams
			PodsAPI QOSReserved ReduceDefaultCrashLoopBackOffDecay RuntimeClassInImageCriApi StorageCapacityScoring
			TaintTolerationComparisonOperators TopologyAwareWorkloadScheduling TopologyManagerPolicyAlphaOptions
			UserNamespacesHostNetworkSupport VolumeLimitScaling WindowsCPUAndMemoryAffinity WorkloadAwarePreemption WorkloadWithJob`},
		{featuregate.FeatureSpec{Default: false, PreRelease: featuregate.Beta, LockToDefault: false}, `ClusterTrustBundle ClusterTrustBundleProjection DRADeviceTaintRules LocalStorageCapacityIsolationFSQuotaMonitoring
			MaxUnavailableStatefulSet PodCertificateRequest SELinuxMount SchedulerAsyncAPICalls StorageVersionMigrator`},
		{featuregate.FeatureSpec{Default: true, PreRelease: featuregate.Beta, LockToDefault: false}, `AtomicFIFO AuthorizePodWebsocketUpgradeCreatePermission CPUManagerPolicyBetaOptions
			ClearingNominatedNodeNameAfterBinding ClientsAllowCARotation ClientsAllowTLSCacheGC ContainerCheckpoint
			ContainerRestartRules ContextualLogging DRAConsumableCapacity DRADeviceBindingConditions DRADeviceTaints
			DRAExtendedResource DRAPartitionableDevices DRAResourceClaimDeviceStatus DRAResourceClaimGranularStatusAuthorization
			DRASchedulerFilterTimeout DeploymentReplicaSetTerminatingReplicas EnvFiles ExtendWebSocketsToKubelet
			GracefulNodeShutdown GracefulNodeShutdownBasedOnPodPriority HPAConfigurableTolerance HostnameOverride
			InOrderInformersBatchProcess InPlacePodLevelResourcesVerticalScaling InPlacePodVerticalScalingInitContainers
			KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages KubeletSeparateDiskGC
			KubeletServiceAccountTokenForCredentialProviders LoggingBetaOptions MatchLabelKeysInPodTopologySpread
			MatchLabelKeysInPodTopologySpreadSelectorMerge MutablePodResourcesForSuspendedJobs
			MutableSchedulingDirectivesForSuspendedJobs NodeDeclaredFeatures NominatedNodeNameForExpectation OpportunisticBatching
			PLEGOnDemandRelist PodDeletionCost PodLevelResources PodReadyToStartContainersCondition PodTopologyLabelsAdmission
			PortForwardWebsockets PreventStaticPodAPIReferences RelaxedServiceNameValidation ReloadKubeletClientCAFile
			ReloadKubeletServerCertificateFile ResourceHealthStatus ResourceHealthStatusMessage RestartAllContainersOnContainerExits
			RotateKubeletServerCertificate SchedulerAsyncPreemption SchedulerPopFromBackoffQ ServiceAccountNodeAudienceRestriction
			StaleControllerConsistencyDaemonSet StaleControllerConsistencyJob StaleControllerConsistencyReplicaSet
			StaleControllerConsistencyStatefulSet StatefulSetSemanticRevisionComparison StrictIPCIDRValidation
			TopologyManagerPolicyBetaOptions TranslateStreamCloseWebsocketRequests UnlockWhileProcessingFIFO WatchListClient
			WindowsGracefulNodeShutdown`},
		{featuregate.FeatureSpec{Default: true, PreRelease: featuregate.GA, LockToDefault: false}, `AllowServiceExternalIPs CustomCPUCFSQuotaPeriod DRAPrioritizedList InformerResourceVersion`},
		{featuregate.FeatureSpec{Default: true, PreRelease: featuregate.GA, LockToDefault: true}, `APIServerTracing AnonymousAuthConfigurableEndpoints AnyVolumeDataSource AuthorizeNodeWithSelectors
			AuthorizeWithSelectors BtreeWatchCache CPUManagerPolicyOptions CSIServiceAccountTokenSecrets ConsistentListFromCache
			DRAAdminAccess DisableAllocatorDualWrite DynamicResourceAllocation ExecProbeTimeout ExternalServiceAccountTokenSigner
			ImageMaximumGCAge ImageVolume InOrderInformers InPlacePodVerticalScaling JobBackoffLimitPerIndex JobManagedBy
			JobPodReplacementPolicy JobSuccessPolicy KubeletCgroupDriverFromCRI KubeletFineGrainedAuthz KubeletPSI
			KubeletPodResourcesDynamicResources KubeletPodResourcesGet KubeletTracing LogarithmicScaleDown
			MatchLabelKeysInPodAffinity MultiCIDRServiceAllocator MutableCSINodeAllocatableCount NFTablesProxyMode
			NodeInclusionPolicyInPodTopologySpread NodeLogQuery NodeSwap OrderedNamespaceDeletion PodLifecycleSleepAction
			PodLifecycleSleepActionAllowZero PodObservedGenerationTracking PodSchedulingReadiness PreferSameTrafficDistribution
			ProcMountType RecoverVolumeExpansionFailure RecursiveReadOnlyMounts RelaxedDNSSearchValidation
			RelaxedEnvironmentVariableValidation ResilientWatchCacheInitialization RetryGenerateName SELinuxChangePolicy
			SELinuxMountReadWriteOncePod SchedulerQueueingHints SeparateTaintEvictionController ServiceAccountTokenJTI
			ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation ServiceAccountTokenPodNodeInfo SidecarContainers
			StreamingCollectionEncodingToJSON StreamingCollectionEncodingToProtobuf StructuredAuthenticationConfiguration
			SupplementalGroupsPolicy SystemdWatchdog TopologyManagerPolicyOptions UserNamespacesSupport VolumeAttributesClass WinDSR
			WinOverlay`},
		{featuregate.FeatureSpec{Default: false, PreRelease: featuregate.Deprecated, LockToDefault: false}, `AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests ChangeContainerStatusOnKubeletRestart
			KubeletRegistrationGetOnExistsOnly WindowsHostNetwork`},
		{featuregate.FeatureSpec{Default: true, PreRelease: featuregate.Deprecated, LockToDefault: false}, `DisableCPUQuotaWithExclusiveCPUs KubeletPodResourcesListUseActivePods ServiceCIDRStatusFieldWiping StorageNamespaceIndex`},
		{featuregate.FeatureSpec{Default: true, PreRelease: featuregate.Deprecated, LockToDefault: true}, `AllowOverwriteTerminationGracePeriodSeconds DisableNodeKubeProxyVersion GitRepoVolumeDriver`},
	} {
		g.spec.Version = version.MajorMinor(1, 0)
		for _, name := range strings.Fields(g.names) {
			all[featuregate.Feature(name)] = featuregate.VersionedSpecs{g.spec}
		}
	}
	return all
}
