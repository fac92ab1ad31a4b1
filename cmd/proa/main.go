// Command proa is a complete Kubernetes-compatible cluster in one binary.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes: 0 done, 1 failed, 2 usage, 3 preflight failed.
const (
	exitFailed    = 1
	exitUsage     = 2
	exitPreflight = 3
)

// errPreflight marks what the host lacks; it has been printed already.
var errPreflight = errors.New("this host lacks what proa needs; see above")

// usageError is a mistake on the command line.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if code, ok := runAs(ctx, filepath.Base(args[0]), args[1:]); ok {
		return code
	}
	return execute(ctx, "proa", rootCommand(), args[1:])
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "proa",
		Short:         "A complete Kubernetes-compatible cluster in one binary",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	for _, c := range verbs() {
		root.AddCommand(c)
	}
	return root
}
