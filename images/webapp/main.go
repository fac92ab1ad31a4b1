// Command webapp is the small web application that proa's chart, tour and
// tests deploy. It needs nothing but itself in its image.
//
//	webapp [serve]     serves HTTP until SIGTERM
//	webapp job         runs as a release's migration and ends
//	webapp get URL     fetches URL, prints the body, fails unless the status is 2xx
//	webapp version
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is stamped by the build (-X main.version).
var version = "1.0"

const usage = "usage: webapp [serve] | job | get [-timeout D] [-tries N] URL | version"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "webapp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	verb := "serve"
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "serve":
		return serve(ctx, settingsFrom(env), out)
	case "job":
		return job(ctx, env, out)
	case "get":
		flags := flag.NewFlagSet("get", flag.ContinueOnError)
		timeout := flags.Duration("timeout", defaultTimeout, "limit of one try")
		tries := flags.Int("tries", 1, "number of tries, a second apart")
		if err := flags.Parse(args); err != nil {
			return err
		}
		if flags.NArg() != 1 {
			return fmt.Errorf("get wants one URL\n%s", usage)
		}
		return get(ctx, flags.Arg(0), *timeout, *tries, out)
	case "version":
		fmt.Fprintln(out, version)
		return nil
	}
	return fmt.Errorf("unknown verb %q\n%s", verb, usage)
}
