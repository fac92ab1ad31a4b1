// Command conformance runs upstream's conformance tests against a cluster of two
// nodes that it starts for them, each in a network namespace of its own, and
// removes afterwards. `make conformance` builds what it needs and calls it.
//
// In the output folder it leaves junit.xml, the suite's log e2e.log and
// table.md, the results by area. With -report it makes the table from junit
// files of earlier runs, where a later file's result replaces an earlier one's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

type options struct {
	bin         string // the repository's bin folder, absolute
	out         string
	focus, skip string // regular expressions, as ginkgo's
	label       string
	procs       int
	clusterOnly bool
}

func main() {
	var o options
	var report, serve bool
	flag.StringVar(&o.bin, "bin", "bin", "folder of proa, tools/, images/conformance/ and conformance/")
	flag.StringVar(&o.out, "out", "", "folder for results (default BIN/conformance)")
	flag.StringVar(&o.focus, "focus", "", "run only tests whose name matches this regular expression")
	flag.StringVar(&o.skip, "skip", "", "leave out tests whose name matches this regular expression")
	flag.StringVar(&o.label, "label-filter", "Conformance", "ginkgo's label filter")
	flag.IntVar(&o.procs, "procs", 4, "how many tests run at a time; serial ones run alone, after the others")
	flag.BoolVar(&o.clusterOnly, "cluster-only", false, "start the cluster, print how to reach it, remove it at an interrupt")
	flag.BoolVar(&report, "report", false, "print the table for the junit files named as arguments")
	flag.BoolVar(&serve, "serve-images", false, "serve the images as a registry; the runner calls itself so, on the switch")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if report {
		err = printTable(flag.Args())
	} else if serve {
		err = serveImages(ctx, o.bin)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func printTable(files []string) error {
	var all results
	for _, file := range files {
		r, err := readJUnit(file)
		if err != nil {
			return err
		}
		all.merge(r)
	}
	fmt.Print(all.table())
	return nil
}

func run(ctx context.Context, o options) (err error) {
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	if o.out == "" {
		o.out = filepath.Join(o.bin, "conformance")
	}
	if o.out, err = filepath.Abs(o.out); err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	c, err := startCluster(ctx, o.bin)
	defer func() { err = errors.Join(err, c.remove()) }()
	if err != nil {
		return err
	}
	if o.clusterOnly {
		fmt.Printf("the cluster is up; enter its server with\n  nsenter --net=/run/netns/%s env KUBECONFIG=%s PATH=%s/tools:$PATH bash\ninterrupt to remove it\n",
			c.server.ns, c.kubeconfig(), o.bin)
		<-ctx.Done()
		return nil
	}
	suiteErr := runSuite(ctx, o, c)
	r, err := readJUnit(filepath.Join(o.out, "junit.xml"))
	if err != nil {
		return errors.Join(suiteErr, err)
	}
	table := r.table()
	fmt.Print("\n", table)
	if err := os.WriteFile(filepath.Join(o.out, "table.md"), []byte(table), 0o644); err != nil {
		return err
	}
	return suiteErr
}
