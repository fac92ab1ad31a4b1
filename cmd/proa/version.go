package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"
)

func versionCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			info := version.Get()
			switch output {
			case "":
				fmt.Fprintf(c.OutOrStdout(), "proa %s (%s, %s)\n", info.GitVersion, info.GoVersion, info.Platform)
				return nil
			case "json":
				return json.NewEncoder(c.OutOrStdout()).Encode(info)
			}
			return usageError{fmt.Errorf("-o %s: must be json", output)}
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "output format: json")
	return c
}
