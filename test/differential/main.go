package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// options are what a run is asked for.
type options struct {
	seed    uint64
	n       int
	kind    *regexp.Regexp
	only    *regexp.Regexp // categories
	field   *regexp.Regexp // changed fields
	id      string
	out     string
	bin     string
	workers int
	keep    bool
	verbose bool
}

// outcome is a case with what came of it.
type outcome struct {
	*testCase
	verdict verdict   // filled in by report.add
	answers [2]answer // upstream's and ours
	took    time.Duration
}

func main() {
	var o options
	var kind, only, field string
	flag.Uint64Var(&o.seed, "seed", 1, "chooses the cases")
	flag.IntVar(&o.n, "n", 20000, "how many cases, about; 0 for all there are")
	flag.StringVar(&kind, "kind", os.Getenv("KIND"), "only resources that match, e.g. pods, apps.deployments")
	flag.StringVar(&only, "case", "", "only categories that match, e.g. create, update, patch, read")
	flag.StringVar(&field, "field", "", "only changed fields that match, e.g. ^spec.ports")
	flag.StringVar(&o.id, "id", "", "only the case with this id, with both answers whole")
	flag.StringVar(&o.out, "out", filepath.Join(os.TempDir(), "proa-differential"), "folder of the reports")
	flag.IntVar(&o.workers, "workers", 6, "requests at the same time")
	flag.BoolVar(&o.keep, "keep", false, "keep both servers running until interrupted")
	flag.BoolVar(&o.verbose, "v", false, "print a line for each case")
	flag.Parse()
	o.bin = binaries()
	var err error
	if o.kind, err = regexp.Compile(kind); err == nil {
		o.only, err = regexp.Compile(only)
	}
	if err == nil {
		o.field, err = regexp.Compile(field)
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		var r *report
		if r, err = run(ctx, o); err == nil {
			err = r.write(o.out)
			fmt.Print(r.summary())
		}
		if err == nil && r.failed() {
			err = fmt.Errorf("the answers differ; %s has the details", o.out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "differential:", err)
		os.Exit(1)
	}
}

// binaries is the folder of the programs.
func binaries() string {
	if dir := os.Getenv("PROA_BIN"); dir != "" {
		return dir
	}
	dir, _ := filepath.Abs("../../bin")
	return dir
}

// run starts both servers, sends the cases and judges the answers.
func run(ctx context.Context, o options) (*report, error) {
	exceptions, err := loadExceptions("allow.yaml")
	if err != nil {
		return nil, err
	}
	c, err := load()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "differential-")
	if err != nil {
		return nil, err
	}
	defer func() { // the servers' logs outlive them, for whoever looks into a panic
		for _, name := range []string{"ours.log", "upstream.log"} {
			_ = os.MkdirAll(o.out, 0o755)
			_ = os.Rename(filepath.Join(dir, name), filepath.Join(o.out, name))
		}
		_ = os.RemoveAll(dir)
	}()
	etcd := filepath.Join(o.bin, "tools/etcd")
	upstream, err := start(ctx, "upstream", dir, etcd, filepath.Join(o.bin, "tools/kube-apiserver"))
	if err != nil {
		return nil, err
	}
	defer upstream.stop()
	ours, err := start(ctx, "ours", dir, etcd, filepath.Join(o.bin, "proa"), "apiserver")
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	sides := [2]*side{upstream, ours}
	resources, err := discover(ctx, upstream)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	seeded, err := seed(ctx, c, resources, sides)
	if err != nil {
		return nil, err
	}
	cases, err := choose(c, upstream, resources, o)
	if err != nil {
		return nil, err
	}
	rep := newReport(o, exceptions)
	for _, s := range seeded {
		if s.answers[0].code >= 400 {
			rep.refused = append(rep.refused, fmt.Sprintf("%s %s %s: %s", s.kind, s.base, s.what, describe(s.answers[0].code, s.answers[0].body)))
		}
		if o.kind.MatchString(s.kind) && o.id == "" {
			rep.add(s)
		}
	}
	if o.verbose {
		fmt.Println("seeded and chosen after", time.Since(begin))
	}
	for i := range sides {
		sides[i].listRV = listVersion(ctx, sides[i])
	}
	var wg sync.WaitGroup
	queue, results := make(chan *testCase), make(chan outcome)
	for range o.workers {
		wg.Go(func() {
			for t := range queue {
				begin := time.Now()
				r := ask(ctx, t, sides)
				r.took = time.Since(begin)
				results <- r
			}
		})
	}
	go func() {
		defer close(results)
		for _, t := range cases {
			if ctx.Err() == nil {
				queue <- t
			}
		}
		close(queue)
		wg.Wait()
	}()
	for r := range results {
		c := rep.add(r)
		if o.verbose {
			fmt.Printf("%s %s %d %d %s %s %s %s\n", r.took.Round(time.Millisecond), r.id(), r.answers[0].code, r.answers[1].code, c, r.category, r.method, r.url)
		}
		if o.id != "" {
			fmt.Printf("%s %s\n%s\n\nupstream: %s\n\nours:     %s\n\n", r.method, r.url, bodyOf(r.testCase, upstream),
				encode(normalise(r.answers[0].body)), encode(normalise(r.answers[1].body)))
		}
	}
	rep.duration = time.Since(begin)
	if ours.ended() {
		logs, _ := os.ReadFile(ours.log)
		return nil, fmt.Errorf("our server ended:\n%s", tail(logs, 4000))
	}
	if o.keep {
		fmt.Printf("upstream: kubectl --server %s --token %s --insecure-skip-tls-verify\nours:     kubectl --server %s --token %s --insecure-skip-tls-verify\n", upstream.url, token, ours.url, token)
		<-ctx.Done()
	}
	return rep, ctx.Err()
}

// choose makes all cases and takes a sample of each kind's: more of kinds with
// more fields.
func choose(c *corpus, upstream *side, resources []*resource, o options) ([]*testCase, error) {
	b := &builder{corpus: c, upstream: upstream, resources: resources}
	byKind := map[string][]*testCase{}
	for _, r := range resources {
		if o.kind.MatchString(r.id()) {
			b.rng = rand.New(rand.NewPCG(o.seed, uint64(len(r.id()))))
			b.cases(r)
		}
	}
	files, err := filepath.Glob("testdata/requests/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := b.requests(f); err != nil {
			return nil, err
		}
	}
	for _, t := range b.out {
		if o.kind.MatchString(t.kind) && o.only.MatchString(t.category) && o.field.MatchString(t.at) {
			byKind[t.kind] = append(byKind[t.kind], t)
		}
	}
	weight := map[string]float64{}
	var total float64
	for k, l := range byKind {
		groups := map[string]bool{}
		for _, t := range l {
			groups[t.group] = true
		}
		weight[k] = math.Sqrt(float64(len(groups)))
		total += weight[k]
	}
	var out []*testCase
	for i, k := range sortedKeys(byKind) {
		rng := rand.New(rand.NewPCG(o.seed, uint64(i)<<16))
		n := int(math.Ceil(float64(o.n) * weight[k] / total))
		if o.id != "" {
			n = 0
		}
		for _, t := range sample(byKind[k], n, rng) {
			if t.category == "create" && t.at != "" {
				t.url += validations[modeOf(t, rng)]
			}
			out = append(out, t)
		}
	}
	if o.id != "" {
		kept := out[:0]
		for _, t := range out {
			if t.id() == o.id {
				kept = append(kept, t)
			}
		}
		out = kept
	}
	rng := rand.New(rand.NewPCG(o.seed, 0))
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out, nil
}

// listVersion is the version of the store after everything was created.
func listVersion(ctx context.Context, s *side) string {
	a := s.send(ctx, "GET", "/api/v1/namespaces/live/configmaps", nil, nil)
	return text(a.body, "metadata", "resourceVersion")
}

func bodyOf(t *testCase, s *side) []byte {
	if t.body == nil {
		return nil
	}
	b, _ := t.body(s)
	return b
}

// ask sends a case to both sides.
func ask(ctx context.Context, t *testCase, sides [2]*side) outcome {
	var a [2]answer
	for i, s := range sides {
		var body []byte
		if t.body != nil {
			var ok bool
			if body, ok = t.body(s); !ok {
				return outcome{testCase: t, verdict: verdict{class: unsent, signature: s.name + " lacks what it is made of"}}
			}
		}
		url := strings.ReplaceAll(t.url, "{rv}", s.listRV)
		if strings.Contains(url, "watch=") {
			a[i] = s.watch(ctx, url, t.header)
			continue
		}
		a[i] = s.send(ctx, t.method, url, t.header, body)
	}
	return outcome{testCase: t, answers: a}
}
