package main

import (
	"bufio"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"proa/nodeagent/reset"
)

func resetCommand() *cobra.Command {
	o := reset.Options{}
	var yes bool
	var scope string
	c := &cobra.Command{
		Use:   "reset",
		Short: "Remove all that this data directory's cluster made on this host, and nothing else",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := filepath.Abs(o.DataDir)
			if err != nil {
				return err
			}
			o.DataDir = dir
			if o.RouteScope, err = prefixes(scope); err != nil {
				return usageError{fmt.Errorf("--route-scope: %w", err)}
			}
			out := c.OutOrStdout()
			if !yes {
				fmt.Fprintf(out, "This removes the cluster in %s with all its containers and data. Go on? [y/N] ", dir)
				answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n')
				if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
					return fmt.Errorf("nothing was removed; answer y, or give --yes")
				}
			}
			o.Report = func(line string) { fmt.Fprintln(out, "  "+line) }
			return reset.Run(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.DataDir, "data-dir", defaultDataDir(), "the data directory whose cluster is removed")
	c.Flags().StringVar(&o.PodLogsDir, "pod-logs-dir", "", "where container logs are kept; default /var/log/pods")
	c.Flags().StringVar(&scope, "route-scope", "10.244.0.0/16,10.96.0.0/16", "pod and service addresses whose routes are the cluster's")
	c.Flags().BoolVar(&o.KeepData, "keep-data", false, "keep the data directory itself")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}
