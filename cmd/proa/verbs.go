package main

import "github.com/spf13/cobra"

// verbs is the command line, one file each.
func verbs() []*cobra.Command {
	all := []*cobra.Command{
		serverCommand(),
		agentCommand(),
		kubectlCommand(),
		checkCommand(),
		resetCommand(),
		versionCommand(),
		etcdCommand(),
	}
	for _, p := range programs() {
		all = append(all, p.command())
	}
	return all
}
