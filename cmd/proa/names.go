package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// runAs makes the binary, called by another program's name, that program.
func runAs(ctx context.Context, name string, args []string) (code int, ok bool) {
	switch name {
	case "kubectl":
		return kubectl(ctx, args), true
	case "etcd":
		return etcd(args), true
	}
	for _, p := range programs() {
		if p.name == name {
			return execute(ctx, name, p.asItself(), args), true
		}
	}
	return 0, false
}

// execute runs a command, prints its error and returns the exit code.
func execute(ctx context.Context, name string, c *cobra.Command, args []string) int {
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errPreflight):
		return exitPreflight
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	// cobra has no type for a command that there is not.
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage
	}
	return exitFailed
}
