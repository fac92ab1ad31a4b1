package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"proa/nodeagent/check"
)

func checkCommand() *cobra.Command {
	cfg := &serverConfig{}
	var output string
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what this host lacks to run proa, each with its mend",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			format := "table"
			switch output {
			case "":
			case "json":
				format = "json"
			default:
				return usageError{fmt.Errorf("-o %s: must be json", output)}
			}
			if err := cfg.complete(); err != nil {
				return err
			}
			results := check.Run(c.Context(), cfg.preflight())
			if err := check.Print(c.OutOrStdout(), results, format); err != nil {
				return err
			}
			if check.Failed(results) {
				return errPreflight
			}
			return nil
		},
	}
	cfg.flags(c.Flags())
	c.Flags().StringVarP(&output, "output", "o", "", "output format: json")
	return c
}

// preflight is what `proa server` with these flags asks of the host.
func (c *serverConfig) preflight() check.Options {
	o := check.Options{DataDir: c.dataDir, Node: !c.noNode, Ports: []check.Port{
		{Address: c.bindAddress, Number: c.securePort, Use: "API server", Flag: "--secure-port"},
	}}
	if len(c.etcdServers) == 0 {
		o.Ports = append(o.Ports,
			check.Port{Address: "127.0.0.1", Number: c.etcdPort, Use: "etcd", Flag: "--etcd-port"},
			check.Port{Address: "127.0.0.1", Number: c.etcdPeerPort, Use: "etcd peers", Flag: "--etcd-peer-port"})
	}
	if !c.noNode {
		o.Ports = append(o.Ports, check.Port{Number: c.kubeletPort, Use: "node agent", Flag: "--kubelet-port"})
	}
	return o
}

// require prints what the host lacks and refuses to go on if it is needed.
func require(ctx context.Context, w io.Writer, o check.Options) error {
	results := check.Run(ctx, o)
	if lacks := check.Lacks(results); len(lacks) > 0 {
		if err := check.Print(w, lacks, "table"); err != nil {
			return err
		}
	}
	if check.Failed(results) {
		return errPreflight
	}
	return nil
}
