package scheduler

import (
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"proa/controllers/scheduler/framework"
	"proa/controllers/scheduler/plugins"
)

// Options configure a Scheduler.
type Options struct {
	// Config leads to the API. Required.
	Config *rest.Config
	// Cache is the cache shared with the controllers; the caller runs it. When
	// nil, the scheduler makes and runs one of its own.
	Cache cache.Cache
	// Clock defaults to the real one.
	Clock clock.Clock
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// LeaderElect makes the scheduler act only while it holds the Lease
	// kube-system/kube-scheduler.
	LeaderElect bool
	// Identity is the holder's name in that Lease; the host name by default.
	Identity string
	// SchedulerName selects the pods by spec.schedulerName; "default-scheduler" by default.
	SchedulerName string
	// Plugins defaults to plugins.All().
	Plugins []framework.Weighted
	// BindWorkers is the number of bindings in flight at a time; 64 by default.
	BindWorkers int
	// Random breaks ties between equally good nodes.
	Random *rand.Rand
}

func (o *Options) complete() error {
	if o.Config == nil {
		return fmt.Errorf("scheduler: Options.Config is missing: pass the rest.Config of the API server")
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("scheduler: no host name for the leader election; pass Options.Identity: %w", err)
		}
		o.Identity = host
	}
	if o.SchedulerName == "" {
		o.SchedulerName = "default-scheduler"
	}
	if o.Plugins == nil {
		o.Plugins = plugins.All()
	}
	if o.BindWorkers == 0 {
		o.BindWorkers = 64
	}
	if o.Random == nil {
		o.Random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return nil
}
