package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"
)

func serverCommand() *cobra.Command {
	cfg := &config{}
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
			if err := logs.start(cfg.dataDir); err != nil {
				return err
			}
			if !cfg.skipCheck {
				if err := require(c.Context(), out, cfg.preflight()); err != nil {
					return err
				}
			}
			cl := &cluster{config: cfg, clock: clock.RealClock{}, out: out}
			runner := Runner{Report: reportTo(out), Now: time.Now}
			return runner.Run(c.Context(), cl.steps(), func() {
				fmt.Fprintf(out, "proa is ready after %d ms. Next:\n  export KUBECONFIG=%s\n  %s get nodes\n",
					time.Since(begin).Milliseconds(), cl.identity.AdminKubeconfig(), kubectlHint())
			})
		},
	}
	cfg.flags(c.Flags())
	logs.flags(c.Flags())
	return c
}
