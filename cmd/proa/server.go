package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"proa/nodeagent/hostid"
)

// settled is when what start-up allocated is garbage and goes back to the system.
const settled = 10 * time.Second

// lockDataDir takes the data directory for this process, making it if needed.
func lockDataDir(dir string) (release func(), err error) {
	if _, err := hostid.Load(dir); err != nil {
		return nil, err
	}
	return hostid.Lock(dir)
}

func serverCommand() *cobra.Command {
	cfg := &serverConfig{}
	logs := logOptions{}
	c := &cobra.Command{
		Use:   "server",
		Short: "Run a cluster: API server, etcd, controllers, scheduler and this machine as a node",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			begin := time.Now()
			if err := cfg.complete(); err != nil {
				return err
			}
			out := c.OutOrStdout()
			release, err := lockDataDir(cfg.dataDir)
			if err != nil {
				return err
			}
			defer release()
			if err := logs.start(cfg.dataDir); err != nil {
				return err
			}
			if !cfg.skipCheck {
				o := cfg.preflight()
				o.OwnLock = true
				if err := require(c.Context(), out, o); err != nil {
					return err
				}
			}
			if os.Geteuid() != 0 {
				fmt.Fprintln(out, "Not started as root: control plane and simulated nodes only, this machine runs no containers.")
			}
			cl := &cluster{config: cfg, clock: clock.RealClock{}, out: out, metrics: newComponentMetrics()}
			runner := Runner{Report: reportTo(out), Now: time.Now}
			return runner.Run(c.Context(), cl.steps(), func() {
				time.AfterFunc(settled, debug.FreeOSMemory)
				fmt.Fprintf(out, "proa is ready after %d ms. Next:\n  export KUBECONFIG=%s\n  %s get nodes\n",
					time.Since(begin).Milliseconds(), cl.identity.AdminKubeconfig(), kubectlHint())
			})
		},
	}
	cfg.flags(c.Flags())
	logs.flags(c.Flags())
	return c
}
