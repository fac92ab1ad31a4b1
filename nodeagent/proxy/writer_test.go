package proxy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/knftables"
)

// flaky is an nftables that can fail and notes transactions.
type flaky struct {
	*knftables.Fake
	fail error
	runs []string
}

func (f *flaky) Run(ctx context.Context, tx *knftables.Transaction) error {
	f.runs = append(f.runs, tx.String())
	if f.fail != nil {
		return f.fail
	}
	return f.Fake.Run(ctx, tx)
}

func (f *flaky) take() []string {
	r := f.runs
	f.runs = nil
	return r
}

// A transcript: what the writer sends for each change of one small RuleSet.
func TestWriterTranscript(t *testing.T) {
	ctx := context.Background()
	now := time.Unix(1000, 0)
	nft := &flaky{Fake: knftables.NewFake(knftables.IPv4Family, "t")}
	w := newWriter(nft)
	rules, changes := NewRuleSet(), newChanges()
	step := func(what string, want ...string) {
		t.Helper()
		if err := w.sync(ctx, rules, changes, now); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		changes = newChanges()
		var got []string
		for _, tx := range nft.take() {
			got = append(got, strings.Split(strings.TrimSpace(tx), "\n")...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	put := func(owner string, f *Fragment) { rules.Put(owner, f, changes) }
	target := func(ep string) *Fragment {
		return &Fragment{
			Chains:   []Chain{{Name: "c/1", Rules: []Rule{{Text: "dnat to " + ep}}}},
			Elements: []Element{{Container: "ips", Key: "10.0.0.1 . tcp . 80", Value: "goto c/1"}, {Container: "hair", Key: ep}},
		}
	}
	put(staticOwner, &Fragment{
		Chains: []Chain{{Name: "nat", Hook: &Hook{knftables.NATType, knftables.PreroutingHook, knftables.DNATPriority},
			Rules: []Rule{{Text: "ip daddr . meta l4proto . th dport vmap @ips", Comment: "all"}}}},
		Containers: []Container{
			{Name: "ips", IsMap: true, Type: "ipv4_addr . inet_proto . inet_service : verdict"},
			{Name: "hair", Type: "ipv4_addr"},
		},
	})
	put("ns/a", target("10.1.0.1"))
	step("first",
		`add table ip t { comment "service proxy" ; }`,
		`add set ip t hair { type ipv4_addr ; }`,
		`add map ip t ips { type ipv4_addr . inet_proto . inet_service : verdict ; }`,
		`add chain ip t c/1`,
		`add chain ip t nat { type nat hook prerouting priority -100 ; }`,
		`add rule ip t c/1 dnat to 10.1.0.1`,
		`add rule ip t nat ip daddr . meta l4proto . th dport vmap @ips comment "all"`,
		`add element ip t hair { 10.1.0.1 }`,
		`add element ip t ips { 10.0.0.1 . tcp . 80 : goto c/1 }`)
	put("ns/a", target("10.1.0.1"))
	step("the same") // nothing
	put("ns/a", target("10.1.0.2"))
	step("another endpoint",
		`add chain ip t c/1`,
		`flush chain ip t c/1`,
		`add rule ip t c/1 dnat to 10.1.0.2`,
		`delete element ip t hair { 10.1.0.1 }`,
		`add element ip t hair { 10.1.0.2 }`)
	// A second owner of the same elements: the first by name keeps them.
	put("ns/b", &Fragment{Elements: []Element{{Container: "ips", Key: "10.0.0.1 . tcp . 80", Value: "drop"}, {Container: "hair", Key: "10.1.0.2"}}})
	step("a rival")
	put("ns/a", nil)
	step("the first goes",
		`delete element ip t ips { 10.0.0.1 . tcp . 80 }`,
		`add element ip t ips { 10.0.0.1 . tcp . 80 : drop }`,
		`flush chain ip t c/1`)
	// The unused chain is deleted a second later, not before.
	if next, err := w.sweep(ctx, now); err != nil || !next.Equal(now.Add(time.Second)) || len(nft.take()) != 0 {
		t.Errorf("early sweep: %v %v", next, err)
	}
	now = now.Add(time.Second)
	if next, err := w.sweep(ctx, now); err != nil || !next.IsZero() {
		t.Errorf("sweep: %v %v", next, err)
	}
	if got := strings.Join(nft.take(), ""); got != "delete chain ip t c/1\n" {
		t.Errorf("sweep sent %q", got)
	}
	put("ns/b", &Fragment{Containers: []Container{{Name: "aff/1", Type: "ipv4_addr", Timeout: time.Minute}}})
	step("a set that packets fill",
		`add set ip t aff/1 { type ipv4_addr ; flags dynamic,timeout ; timeout 60s ; }`,
		`delete element ip t hair { 10.1.0.2 }`,
		`delete element ip t ips { 10.0.0.1 . tcp . 80 }`)
	put("ns/b", nil)
	step("and its end", `delete set ip t aff/1`)
	// A chain that comes back before it is deleted stays.
	put("ns/a", target("10.1.0.1"))
	step("again",
		`add chain ip t c/1`, `add rule ip t c/1 dnat to 10.1.0.1`,
		`add element ip t hair { 10.1.0.1 }`, `add element ip t ips { 10.0.0.1 . tcp . 80 : goto c/1 }`)
	put("ns/a", nil)
	step("gone", `delete element ip t hair { 10.1.0.1 }`, `delete element ip t ips { 10.0.0.1 . tcp . 80 }`, `flush chain ip t c/1`)
	put("ns/a", target("10.1.0.1"))
	step("back",
		`add chain ip t c/1`, `add rule ip t c/1 dnat to 10.1.0.1`,
		`add element ip t hair { 10.1.0.1 }`, `add element ip t ips { 10.0.0.1 . tcp . 80 : goto c/1 }`)
	now = now.Add(time.Minute)
	if _, err := w.sweep(ctx, now); err != nil || len(nft.take()) != 0 {
		t.Errorf("swept a chain in use: %v", err)
	}
}

// sortElements sorts the lines of elements, which a set has in no order.
func sortElements(dump string) string {
	lines := strings.Split(dump, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "add element") })
	slices.Sort(lines[i:])
	return strings.Join(lines, "\n")
}

// After any failure the writer finds out what is there and mends it; what a
// former proxy left goes, and if nothing else helps the table is made anew.
func TestWriterRepairs(t *testing.T) {
	ctx := context.Background()
	services, slcs, _ := decodeAll(t, "testdata/affinity.yaml")
	f := testFacts(corev1.IPv4Protocol)
	rules, changes := build(f, services, slcs)
	want := sortElements(dump(t, f, rules, changes))
	now := time.Unix(1000, 0)

	nft := &flaky{Fake: knftables.NewFake(knftables.IPv4Family, "proa")}
	w := newWriter(nft)
	check := func(what string) {
		t.Helper()
		if _, err := w.sweep(ctx, now.Add(time.Hour)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if d := cmp.Diff(want, sortElements(nft.Dump())); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	sync := func(what string) {
		t.Helper()
		if err := w.sync(ctx, rules, newChanges(), now); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		check(what)
	}
	sync("from nothing")

	w.full = true
	sync("steady repair")

	// Somebody meddles.
	tx := nft.NewTransaction()
	tx.Add(&knftables.Element{Set: setClusterIPs, Key: []string{"10.43.9.9"}})
	tx.Delete(&knftables.Element{Map: mapServiceIPs, Key: []string{"10.43.0.7", "tcp", "80"}, Value: []string{"goto service-SUSTUHLJ-default/web/tcp/http"}})
	tx.Flush(&knftables.Chain{Name: chainServices})
	tx.Add(&knftables.Chain{Name: "service-OLD-default/gone/tcp/"})
	tx.Add(&knftables.Rule{Chain: "service-OLD-default/gone/tcp/", Rule: "drop"})
	tx.Add(&knftables.Set{Name: "affinity-OLD-default/gone/tcp/__1/1", Type: "ipv4_addr"})
	if err := nft.Fake.Run(ctx, tx); err != nil {
		t.Fatal(err)
	}
	w.full = true
	sync("meddled with")

	// A new process finds it all and changes nothing but hooks and rules.
	w = newWriter(nft)
	nft.take()
	sync("adopted")
	for _, line := range strings.Split(strings.Join(nft.take(), ""), "\n") {
		if strings.Contains(line, " element ") {
			t.Errorf("adopting touched %s", line)
		}
	}

	// The table is deleted: the next difference fails, the one after repairs.
	tx = nft.NewTransaction()
	tx.Delete(&knftables.Table{})
	if err := nft.Fake.Run(ctx, tx); err != nil {
		t.Fatal(err)
	}
	changes = newChanges()
	rules.Put("default/short", nil, changes)
	if err := w.sync(ctx, rules, changes, now); err == nil {
		t.Error("writing to a deleted table succeeded")
	}
	rules, _ = build(f, services, slcs)
	sync("table deleted")

	// Repairs that fail end in a clean slate.
	w.full, nft.fail = true, errors.New("cannot")
	if err := w.sync(ctx, rules, newChanges(), now); err == nil {
		t.Error("failure hidden")
	}
	nft.fail = nil
	nft.take()
	sync("wiped")
	if got := strings.Join(nft.take(), ""); !strings.Contains(got, "delete table ip proa") {
		t.Errorf("no clean slate:\n%s", got)
	}
	// And so do unused chains that cannot be deleted.
	w.stale["service-NONE-x/y"] = time.Time{}
	if _, err := w.sweep(ctx, now.Add(time.Hour)); err == nil || !w.full {
		t.Errorf("sweep: %v, full %t", err, w.full)
	}
	sync("after the failed sweep")
}
