package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// ignoredFlags are flags of an upstream program that mean nothing here. They are
// accepted with a warning, so that scripts and manifests for it run unchanged;
// flags that are in no list are refused.
type ignoredFlags struct {
	// values take a value, bools may.
	values, bools []string
}

// add registers those that are not meant by the program after all, such as those
// of a library's options.
func (i ignoredFlags) add(f *pflag.FlagSet, warnings func() io.Writer) {
	for _, name := range i.values {
		if f.Lookup(name) != nil {
			continue
		}
		f.AddFlag(&pflag.Flag{Name: name, Hidden: true, Value: &ignoredFlag{name, "string", warnings}})
	}
	for _, name := range i.bools {
		if f.Lookup(name) != nil {
			continue
		}
		f.AddFlag(&pflag.Flag{Name: name, Hidden: true, NoOptDefVal: "true", Value: &ignoredFlag{name, "bool", warnings}})
	}
}

// ignoredFlag is one of them, a pflag.Value that warns.
type ignoredFlag struct {
	name, kind string
	warnings   func() io.Writer
}

func (v *ignoredFlag) String() string { return "" }
func (v *ignoredFlag) Type() string   { return v.kind }

func (v *ignoredFlag) Set(string) error {
	_, err := fmt.Fprintf(v.warnings(), "warning: --%s has no effect in proa\n", v.name)
	return err
}

// words joins lists of names separated by white space.
func words(lists ...string) []string { return strings.Fields(strings.Join(lists, " ")) }

// Flags that several programs have.
const (
	ignoredLogging      = `logging-format log-flush-frequency log-json-info-buffer-size log-text-info-buffer-size vmodule`
	ignoredLoggingBools = `log-json-split-stream log-text-split-stream`
	ignoredServing      = ignoredLogging + ` tls-cipher-suites tls-curve-preferences tls-min-version tls-sni-cert-key
		http2-max-streams-per-connection show-hidden-metrics-for-version allow-metric-labels
		allow-metric-labels-manifest disabled-metrics emulated-version min-compatibility-version`
	ignoredServingBools = ignoredLoggingBools + ` profiling contention-profiling permit-address-sharing permit-port-sharing disable-http2-serving
		emulation-forward-compatible`
	ignoredClient   = `kube-api-burst kube-api-content-type kube-api-qps`
	ignoredElection = `leader-elect-lease-duration leader-elect-renew-deadline leader-elect-resource-lock
		leader-elect-resource-name leader-elect-resource-namespace leader-elect-retry-period`
)

func apiserverIgnored() ignoredFlags {
	return ignoredFlags{
		values: words(ignoredLogging, `admission-control apiserver-count coordinated-leadership-lease-duration
			coordinated-leadership-renew-deadline coordinated-leadership-retry-period
			endpoint-reconciler-type kubelet-port kubelet-preferred-address-types kubelet-read-only-port
			kubelet-timeout kubernetes-service-node-port max-connection-bytes-per-sec peer-advertise-ip
			peer-advertise-port peer-ca-file service-account-signing-endpoint default-not-ready-toleration-seconds
			default-unreachable-toleration-seconds`),
		bools: words(ignoredLoggingBools, `aggregator-reject-forwarding-redirect allow-privileged enable-aggregator-routing
			enable-logs-handler`),
	}
}

func controllersIgnored() ignoredFlags {
	return ignoredFlags{
		values: words(ignoredServing, ignoredClient, ignoredElection, `attach-detach-reconcile-sync-period
			cidr-allocator-type cloud-config cloud-provider cluster-name concurrent-cron-job-syncs
			concurrent-daemonset-syncs concurrent-deployment-syncs concurrent-device-taint-eviction-syncs
			concurrent-endpoint-syncs concurrent-ephemeralvolume-syncs concurrent-gc-syncs
			concurrent-horizontal-pod-autoscaler-syncs concurrent-job-syncs concurrent-namespace-syncs
			concurrent-rc-syncs concurrent-replicaset-syncs concurrent-resource-quota-syncs concurrent-resourceclaim-syncs
			concurrent-service-endpoint-syncs concurrent-service-syncs concurrent-serviceaccount-token-syncs
			concurrent-statefulset-syncs concurrent-ttl-after-finished-syncs
			concurrent-validating-admission-policy-status-syncs controller-shutdown-timeout controller-start-interval
			endpoint-updates-batch-period endpointslice-updates-batch-period external-cloud-volume-plugin
			flex-volume-plugin-dir horizontal-pod-autoscaler-cpu-initialization-period
			horizontal-pod-autoscaler-downscale-stabilization horizontal-pod-autoscaler-initial-readiness-delay
			horizontal-pod-autoscaler-sync-period horizontal-pod-autoscaler-tolerance large-cluster-size-threshold
			leader-migration-config max-endpoints-per-slice
			min-resync-period mirroring-concurrent-service-endpoint-syncs mirroring-endpointslice-updates-batch-period
			mirroring-max-endpoints-per-subset namespace-sync-period node-eviction-rate node-monitor-grace-period
			node-monitor-period node-startup-grace-period node-sync-period pv-recycler-increment-timeout-nfs
			pv-recycler-minimum-timeout-hostpath pv-recycler-minimum-timeout-nfs pv-recycler-pod-template-filepath-hostpath
			pv-recycler-pod-template-filepath-nfs pv-recycler-timeout-increment-hostpath pvclaimbinder-sync-period
			resource-quota-sync-period route-reconciliation-period secondary-node-eviction-rate
			terminated-pod-gc-threshold unhealthy-zone-threshold`),
		bools: words(ignoredServingBools, `allow-untagged-cloud configure-cloud-routes
			disable-attach-detach-reconcile-sync disable-force-detach-on-timeout enable-dynamic-provisioning
			enable-garbage-collector enable-hostpath-provisioner enable-leader-migration use-service-account-credentials`),
	}
}

func schedulerIgnored() ignoredFlags {
	return ignoredFlags{
		values: words(ignoredServing, ignoredClient, ignoredElection,
			`pod-max-in-unschedulable-pods-duration write-config-to`),
		bools: words(ignoredServingBools),
	}
}

func kubeletIgnored() ignoredFlags {
	return ignoredFlags{
		values: words(ignoredServing, ignoredClient, `authentication-token-webhook-cache-ttl authorization-mode
			authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl bootstrap-kubeconfig
			cgroup-driver cloud-config cloud-provider config-dir container-log-max-files container-log-max-size
			container-runtime cpu-cfs-quota-period cpu-manager-policy cpu-manager-policy-options
			cpu-manager-reconcile-period enforce-node-allocatable event-burst event-qps eviction-hard
			eviction-max-pod-grace-period eviction-minimum-reclaim eviction-pressure-transition-period eviction-soft
			eviction-soft-grace-period experimental-mounter-path file-check-frequency hairpin-mode healthz-bind-address
			healthz-port housekeeping-interval http-check-frequency image-credential-provider-bin-dir
			image-credential-provider-config image-gc-high-threshold image-gc-low-threshold image-service-endpoint
			kube-reserved-cgroup kubelet-cgroups lock-file manifest-url manifest-url-header max-open-files
			maximum-dead-containers maximum-dead-containers-per-container memory-manager-policy
			minimum-container-ttl-duration minimum-image-ttl-duration node-status-max-images
			node-status-update-frequency oom-score-adj pod-cidr pod-infra-container-image pod-manifest-path pod-max-pids
			pods-per-core provider-id qos-reserved read-only-port registry-burst registry-qps reserved-cpus
			reserved-memory runtime-cgroups runtime-request-timeout streaming-connection-idle-timeout sync-frequency
			system-cgroups system-reserved-cgroup topology-manager-policy topology-manager-policy-options
			topology-manager-scope volume-plugin-dir volume-stats-agg-period`),
		bools: words(ignoredServingBools, `anonymous-auth authentication-token-webhook cgroups-per-qos cpu-cfs-quota
			enable-controller-attach-detach enable-debugging-handlers enable-server exit-on-lock-contention
			experimental-allocatable-ignore-eviction fail-cgroupv1 fail-swap-on kernel-memcg-notification
			local-storage-capacity-isolation make-iptables-util-chains protect-kernel-defaults register-node
			rotate-certificates rotate-server-certificates runonce seccomp-default serialize-image-pulls`),
	}
}

func proxyIgnored() ignoredFlags {
	return ignoredFlags{
		values: words(ignoredServing, ignoredClient, `bind-address config-sync-period conntrack-max-per-core conntrack-min
			conntrack-tcp-timeout-established conntrack-udp-timeout conntrack-udp-timeout-stream detect-local-mode
			healthz-port iptables-min-sync-period iptables-sync-period ipvs-exclude-cidrs
			ipvs-min-sync-period ipvs-scheduler ipvs-sync-period ipvs-tcp-timeout ipvs-tcpfin-timeout ipvs-udp-timeout
			metrics-bind-address metrics-port oom-score-adj pod-bridge-interface pod-interface-name-prefix proxy-mode
			write-config-to`),
		bools: words(ignoredServingBools, `bind-address-hard-fail conntrack-tcp-be-liberal ipvs-strict-arp`),
	}
}
