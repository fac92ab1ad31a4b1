package main

import (
	"context"
	"fmt"
	"os"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"proa/controllers/scheduler"
)

// schedulerFlags are kube-scheduler's flags that have a meaning here.
type schedulerFlags struct {
	set         *pflag.FlagSet
	metrics     *prometheus.Registry
	api         apiFlags
	leaderElect bool
	file        string
}

// schedulerFile is what is read of a KubeSchedulerConfiguration.
type schedulerFile struct {
	ClientConnection struct {
		Kubeconfig string `json:"kubeconfig"`
	} `json:"clientConnection"`
	LeaderElection struct {
		LeaderElect *bool `json:"leaderElect"`
	} `json:"leaderElection"`
	Profiles []struct {
		SchedulerName string `json:"schedulerName"`
	} `json:"profiles"`
}

func newSchedulerAlone(f *pflag.FlagSet, metrics *prometheus.Registry) func(context.Context) (Component, error) {
	s := &schedulerFlags{set: f, metrics: metrics}
	s.api.flags(f)
	f.BoolVar(&s.leaderElect, "leader-elect", true, "act only while holding the Lease kube-system/kube-scheduler")
	f.StringVar(&s.file, "config", "", "KubeSchedulerConfiguration; of it count clientConnection.kubeconfig, leaderElection.leaderElect and the schedulerName of the one profile")
	return s.start
}

func (s *schedulerFlags) start(context.Context) (Component, error) {
	o := scheduler.Options{Clock: clock.RealClock{}, Registerer: s.metrics}
	if s.file != "" {
		file, err := readSchedulerFile(s.file)
		if err != nil {
			return nil, err
		}
		// Upstream ignores the deprecated flags beside a file; flags win here.
		if s.api.kubeconfig == "" {
			s.api.kubeconfig = file.ClientConnection.Kubeconfig
		}
		if file.LeaderElection.LeaderElect != nil && !s.set.Changed("leader-elect") {
			s.leaderElect = *file.LeaderElection.LeaderElect
		}
		if len(file.Profiles) == 1 {
			o.SchedulerName = file.Profiles[0].SchedulerName
		}
	}
	config, err := s.api.config()
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	// Two on one host must not take each other's Lease for their own.
	o.Config, o.LeaderElect, o.Identity = config, s.leaderElect, host+"_"+uuid.NewString()
	return scheduler.New(o)
}

func readSchedulerFile(path string) (*schedulerFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	var out schedulerFile
	if err := yaml.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("--config %s: %w", path, err)
	}
	if len(out.Profiles) > 1 {
		return nil, fmt.Errorf("--config %s: profiles: only one is supported; run one scheduler for each", path)
	}
	return &out, nil
}
