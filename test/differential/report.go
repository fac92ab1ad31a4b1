package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report counts and groups the outcomes of a run.
type report struct {
	options    options
	exceptions []*exception
	duration   time.Duration
	refused    []string // valid objects of testdata/ that upstream does not take
	total      int
	counts     map[class]int
	kinds      map[string]map[class]int
	groups     map[string]map[string]*differences // by kind, by class and signature
}

// differences are the outcomes that look alike.
type differences struct {
	class     class
	signature string
	count     int
	fields    map[string]int
	// example is the one with the smallest id, so that it does not depend on timing.
	example outcome
}

func newReport(o options, e []*exception) *report {
	return &report{options: o, exceptions: e, counts: map[class]int{}, kinds: map[string]map[class]int{}, groups: map[string]map[string]*differences{}}
}

// add judges an outcome and counts it.
func (r *report) add(o outcome) class {
	if o.verdict.class == "" {
		o.verdict = judge(o.answers[0], o.answers[1], sameCauses(r.exceptions))
	}
	v := o.verdict
	if v.class == unsent {
		r.counts[unsent]++
		return unsent
	}
	if v.class != same {
		for _, e := range r.exceptions {
			if e.allows(o.testCase, v) {
				e.used++
				v.signature = string(v.class) + ", because " + e.Reason
				v.class = allowed
				break
			}
		}
	}
	r.total++
	r.counts[v.class]++
	if r.kinds[o.kind] == nil {
		r.kinds[o.kind], r.groups[o.kind] = map[class]int{}, map[string]*differences{}
	}
	r.kinds[o.kind][v.class]++
	if v.class == same {
		return same
	}
	key := string(v.class) + "\x00" + v.signature
	g := r.groups[o.kind][key]
	if g == nil {
		g = &differences{class: v.class, signature: v.signature, fields: map[string]int{}, example: o}
		r.groups[o.kind][key] = g
	}
	g.count++
	g.fields[strings.TrimSpace(o.category+": "+o.at+" "+o.what)]++
	if o.id() < g.example.id() {
		g.example = o
	}
	return v.class
}

// equal is how many of those that were counted were the same.
func equal(counts map[class]int) (same_, total int) {
	for c, n := range counts {
		if c == unsent {
			continue
		}
		total += n
		if c == same || c == messages || c == allowed {
			same_ += n
		}
	}
	return same_, total
}

func percent(counts map[class]int) string {
	a, b := equal(counts)
	return fmt.Sprintf("%6.2f%%", 100*float64(a)/float64(max(b, 1)))
}

// failed says whether a figure is missed: any panic, anything that we accept
// and upstream refuses, or less than 99.5% the same.
func (r *report) failed() bool {
	a, b := equal(r.counts)
	return r.counts[panics] > 0 || r.counts[accepts] > 0 || float64(a) < 0.995*float64(b)
}

func (r *report) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d cases, %s the same (%s)\n", r.options.seed, r.total, percent(r.counts), r.duration.Round(time.Second))
	fmt.Fprintf(&b, "  %6d %s\n", r.counts[same], same)
	for _, c := range append(slices.Clone(classes), unsent) {
		if r.counts[c] > 0 {
			fmt.Fprintf(&b, "  %6d %s\n", r.counts[c], c)
		}
	}
	fmt.Fprintf(&b, "\n%-58s %7s %6s %6s %6s %6s %6s %6s %6s %6s %6s %6s\n", "resource", "same", "cases", "panic", "accept", "refuse", "404", "code", "causes", "object", "warn", "(msg)")
	for _, k := range sortedKeys(r.kinds) {
		counts := r.kinds[k]
		_, n := equal(counts)
		fmt.Fprintf(&b, "%-58s %s %6d", k, percent(counts), n)
		for _, c := range []class{panics, accepts, refuses, notServed, codes, causes, objects, warns, messages} {
			fmt.Fprintf(&b, " %6d", counts[c])
		}
		b.WriteByte('\n')
	}
	for _, s := range r.refused {
		fmt.Fprintf(&b, "testdata: upstream refuses %s\n", s)
	}
	for _, e := range r.exceptions {
		if e.used == 0 && r.options.n >= 20000 && r.options.kind.String() == "" {
			fmt.Fprintf(&b, "unused exception: %s\n", e.Reason)
		}
	}
	return b.String()
}

// write puts the summary and a file per kind into a folder.
func (r *report) write(dir string) error {
	folder := filepath.Join(dir, "report")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, k := range sortedKeys(r.groups) {
		if err := os.WriteFile(filepath.Join(folder, k+".txt"), []byte(r.kindReport(k)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "summary.txt"), []byte(r.summary()), 0o644)
}

func (r *report) kindReport(k string) string {
	var b strings.Builder
	counts := r.kinds[k]
	_, n := equal(counts)
	fmt.Fprintf(&b, "%s: %d cases, %s the same\n", k, n, percent(counts))
	groups := make([]*differences, 0, len(r.groups[k]))
	for _, key := range sortedKeys(r.groups[k]) {
		groups = append(groups, r.groups[k][key])
	}
	slices.SortStableFunc(groups, func(x, y *differences) int {
		if d := slices.Index(classes, x.class) - slices.Index(classes, y.class); d != 0 {
			return d
		}
		return y.count - x.count
	})
	for _, g := range groups {
		fmt.Fprintf(&b, "\n== %s (%d): %s\n", g.class, g.count, g.signature)
		fields := sortedKeys(g.fields)
		slices.SortStableFunc(fields, func(x, y string) int { return g.fields[y] - g.fields[x] })
		for i, f := range fields {
			if i == 8 {
				fmt.Fprintf(&b, "   … %d more\n", len(fields)-i)
				break
			}
			fmt.Fprintf(&b, "   %s\n", f)
		}
		t := g.example
		fmt.Fprintf(&b, "   e.g. -id %s of %s: %s %s %s\n", t.id(), t.base, t.method, t.url, t.header["Content-Type"]+t.header["Accept"])
		for _, d := range t.verdict.detail {
			fmt.Fprintf(&b, "        %s\n", strings.ReplaceAll(d, "\n", "\n        "))
		}
	}
	return b.String()
}
