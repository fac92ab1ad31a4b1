package main

import "github.com/spf13/cobra"

// verbs is the command line, one file each.
func verbs() []*cobra.Command {
	return []*cobra.Command{
		serverCommand(),
		agentCommand(),
		kubectlCommand(),
		checkCommand(),
		resetCommand(),
		versionCommand(),
	}
}
