package check

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Severity says what a result means for the start.
type Severity string

const (
	// OK: nothing is lacking.
	OK Severity = "ok"
	// Warning: proa works, with a limit that the message names.
	Warning Severity = "warning"
	// Error: proa would not work.
	Error Severity = "error"
)

// Result is the judgement of one matter.
type Result struct {
	// Name of the matter, e.g. "nftables" or "port 6443".
	Name string `json:"name"`
	// Severity is OK, Warning or Error.
	Severity Severity `json:"severity"`
	// Message is what was found.
	Message string `json:"message"`
	// Mend is what to do about it; empty where nothing is lacking.
	Mend string `json:"mend,omitempty"`
}

// Port is a TCP port that proa wants to listen on.
type Port struct {
	// Address is an IP address; empty for all.
	Address string
	Number  int
	// Use names who listens, e.g. "API server".
	Use string
	// Flag is the option that chooses another port, e.g. "--secure-port".
	Flag string
}

// Options say what the host is wanted for.
type Options struct {
	// DataDir need not exist yet.
	DataDir string
	// Node is whether containers are to run here. Without, root, cgroups and
	// networking features do not matter.
	Node bool
	// Ports that must be free.
	Ports []Port
	// OwnLock is set by a caller that holds the data directory's lock itself.
	OwnLock bool
}

// Run judges this host. The order of the results is fixed.
func Run(ctx context.Context, o Options) []Result { return Judge(o, Gather(ctx, o)) }

// Failed reports whether any result is an Error.
func Failed(results []Result) bool {
	for _, r := range results {
		if r.Severity == Error {
			return true
		}
	}
	return false
}

// Lacks returns the results that are not OK.
func Lacks(results []Result) []Result {
	var lacks []Result
	for _, r := range results {
		if r.Severity != OK {
			lacks = append(lacks, r)
		}
	}
	return lacks
}

// Print writes results as "table" or "json".
func Print(w io.Writer, results []Result, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(results)
	case "", "table":
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, r := range results {
			fmt.Fprintf(t, "%s\t%s\t%s\n", r.Severity, r.Name, r.Message)
			if r.Mend != "" {
				fmt.Fprintf(t, "\t\tmend: %s\n", r.Mend)
			}
		}
		return t.Flush()
	}
	return fmt.Errorf("unknown output format %q: want table or json", format)
}
