package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
)

// kubectlCommand is the real kubectl; without a kubeconfig of the user's it
// talks to the cluster of the default data directory.
func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl",
		Short:              "The real kubectl, pointed at this cluster by default",
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			os.Exit(kubectl(c.Context(), args))
			return nil
		},
	}
}

func kubectl(_ context.Context, args []string) int {
	home, _ := os.UserHomeDir()
	_, err := os.Stat(filepath.Join(home, ".kube", "config"))
	if os.Getenv("KUBECONFIG") == "" && err != nil {
		if path := filepath.Join(defaultDataDir(), "admin.kubeconfig"); fileExists(path) {
			_ = os.Setenv("KUBECONFIG", path) // fails for malformed names only
		}
	}
	// kubectl reads its arguments (plugins, command headers) from the process's.
	os.Args = append([]string{"kubectl"}, args...)
	k := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{
		PluginHandler: cmd.NewDefaultPluginHandler([]string{"kubectl"}),
		Arguments:     os.Args,
		ConfigFlags:   genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().WithDiscoveryBurst(300).WithDiscoveryQPS(50.0).WithWarningPrinter(genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}),
		IOStreams:     genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
	})
	if err := cli.RunNoErrOutput(k); err != nil {
		return exitFailed
	}
	return 0
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
