package simulated

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// ExitAnnotation on a pod that is not always restarted makes it finish
// Succeeded after running for the duration that is its value, such as "30s".
const ExitAnnotation = "proa.dev/simulated-exit"

// Options configure simulated nodes. Fields without "Required" have defaults.
type Options struct {
	// Config leads to the API. Required.
	Config *rest.Config
	// Count is the number of nodes; they are named NamePrefix0, NamePrefix1, …
	Count int
	// NamePrefix is "sim-" where empty.
	NamePrefix string
	// Latency is the time from a pod's binding to its being Running and Ready.
	Latency time.Duration
	// CPU, Memory and Pods are each node's capacity: 32 cores, 256 GiB and 110
	// where zero.
	CPU, Memory, Pods resource.Quantity
	// LeaseInterval is how often each node renews its Lease, 10 s where 0;
	// StatusInterval how often it reports its status, 5 min where 0.
	LeaseInterval, StatusInterval time.Duration
	// Cache is a running cache shared with others; where nil, one of bound pods
	// is made and run.
	Cache cache.Cache
	// Clock is the real one where nil.
	Clock clock.WithTicker
	// Workers is the number of writes in flight at a time, 32 where 0.
	Workers int
}

func (o *Options) complete() error {
	if o.Config == nil {
		return errors.New("simulated nodes: Options.Config is missing: pass the rest.Config of the API server")
	}
	if o.Count < 0 || o.Count > maxNodes {
		return fmt.Errorf("simulated nodes: Options.Count is %d, must be between 0 and %d", o.Count, maxNodes)
	}
	if o.NamePrefix == "" {
		o.NamePrefix = "sim-"
	}
	set := func(q *resource.Quantity, otherwise string) {
		if q.IsZero() {
			*q = resource.MustParse(otherwise)
		}
	}
	set(&o.CPU, "32")
	set(&o.Memory, "256Gi")
	set(&o.Pods, "110")
	if o.LeaseInterval == 0 {
		o.LeaseInterval = 10 * time.Second
	}
	if o.StatusInterval == 0 {
		o.StatusInterval = 5 * time.Minute
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Workers == 0 {
		o.Workers = 32
	}
	return nil
}
