package control

import (
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Env holds what a controller may depend on. One value is made per process
// and handed to every setup function; controllers take the fields they need
// in their constructors.
type Env struct {
	// Manager owns the shared cache and runs the controllers.
	Manager manager.Manager
	// Config reaches the API server; clients made from it are not rate limited.
	Config *rest.Config
	// Kube is a typed client for calls that client.Client does not have.
	Kube kubernetes.Interface
	// Metadata reads and deletes objects of any kind by their metadata alone.
	Metadata metadata.Interface
	// Discovery lists what the API server serves.
	Discovery discovery.DiscoveryInterface
	// Clock is the only source of time.
	Clock clock.WithTicker
	// Recorder returns the recorder of core/v1 events whose source is component.
	Recorder func(component string) record.EventRecorder
	// EventsRecorder returns the recorder of events.k8s.io events whose
	// reporting controller is the given name. Nil in tests that need none.
	EventsRecorder func(controller string) events.EventRecorder

	// ClusterCIDR and ServiceCIDR are the pod and service ranges, in CIDR
	// notation, comma separated for two families; empty where unused.
	ClusterCIDR string
	ServiceCIDR string
	// NodeCIDRMaskSize is the prefix length of one node's pod range, in bits; 0 means the default.
	NodeCIDRMaskSize int
	// AllocateNodeCIDRs turns the allocation of pod ranges to nodes on.
	AllocateNodeCIDRs bool
	// RootCA is the PEM bundle published in every namespace.
	RootCA []byte
	// Signers are the CAs that certificate requests are signed with, by signer
	// name; SigningDuration is the longest life of a certificate, 0 for the default.
	Signers         map[string]CA
	SigningDuration time.Duration
	// ServiceAccountKeyFile is the PEM file of the private key that signs the
	// tokens in Secrets; empty turns them off.
	ServiceAccountKeyFile string
	// LegacyTokenCleanUp is how long such a token may be unused; 0 means the default.
	LegacyTokenCleanUp time.Duration
}

// CA names the PEM files of a CA's certificate and key.
type CA struct{ CertFile, KeyFile string }

// Client reads from the shared cache and writes to the API server. What it
// reads must not be changed.
func (e *Env) Client() client.Client { return e.Manager.GetClient() }

// Live reads from the API server, past the cache.
func (e *Env) Live() client.Reader { return e.Manager.GetAPIReader() }
