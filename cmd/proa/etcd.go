package main

import (
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// etcdCommand is etcd itself, the same code that `proa server` embeds.
func etcdCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "etcd",
		Short:              "The store alone: etcd itself, with its own flags",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			os.Exit(etcd(args))
			return nil
		},
	}
}

// etcd runs etcd's main, which ends the process by itself in most cases.
func etcd(args []string) int {
	// Its gateway and proxy commands read the process's arguments.
	os.Args = append([]string{"etcd"}, args...)
	etcdmain.Main(os.Args)
	return 0
}
