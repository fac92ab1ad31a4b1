// Command bench measures a built proa and prints the table of figures that
// DESIGN.md explains: start-up, idle memory and CPU, API writes per second, pods
// scheduled per second on simulated nodes, and pod latency against the bare CRI
// floor. It runs every cluster in a network namespace of its own and removes it.
//
//	bench [-only name,name] [-bin ../../bin]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// figure is one row of the table.
type figure struct {
	name   string
	unit   string
	goal   string // the "first cluster" column
	value  float64
	detail string
}

// measurement makes one or more figures.
type measurement struct {
	name string
	run  func(ctx context.Context, b *bench) ([]figure, error)
}

func measurements() []measurement {
	return []measurement{
		{"start", start},
		{"idle", idle},
		{"writes", writes},
		{"schedule", schedule},
		{"pods", pods},
	}
}

func main() {
	b := &bench{}
	only := flag.String("only", "", "measurements to run, comma separated; all when empty")
	flag.StringVar(&b.bin, "bin", "../../bin", "where the built programs are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(out, "work\tmeasured\tfirst cluster\tdetail")
	failed := false
	for _, m := range measurements() {
		if *only != "" && !strings.Contains(","+*only+",", ","+m.name+",") {
			continue
		}
		begin := time.Now()
		fmt.Fprintf(os.Stderr, "bench: %s ...\n", m.name)
		figures, err := m.run(ctx, b)
		b.close()
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", m.name, err)
			failed = true
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s took %s\n", m.name, time.Since(begin).Round(time.Second))
		for _, f := range figures {
			fmt.Fprintf(out, "%s\t%.4g %s\t%s\t%s\n", f.name, f.value, f.unit, f.goal, f.detail)
		}
	}
	_ = out.Flush()
	if failed {
		stop()
		os.Exit(1)
	}
}
