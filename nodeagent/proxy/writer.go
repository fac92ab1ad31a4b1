package proxy

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"sigs.k8s.io/knftables"
)

// staleAge is how long an unused chain stays, empty: before Linux 6.2 the kernel
// forgets some time later only that an element which is gone referred to it.
const staleAge = time.Second

// writer keeps one table of the kernel as a RuleSet wants it. It is used by one
// goroutine.
type writer struct {
	nft knftables.Interface

	// What the kernel has, as far as we know. A nil chain is one whose rules
	// are unknown.
	chains     map[string]*Chain
	containers map[string]bool
	elements   map[string]map[string]string
	stale      map[string]time.Time

	// full: what the kernel has must be read before the next transaction.
	full bool
	// begun: hooks have been made anew once, with our priorities.
	begun bool
	// wipe: a repair failed; the next one starts from an empty table.
	wipe bool
}

func newWriter(nft knftables.Interface) *writer {
	return &writer{nft: nft, full: true}
}

// sync writes the difference between rules and the kernel, of which changes names
// all that may be new. After an error the next sync repairs everything.
func (w *writer) sync(ctx context.Context, rules *RuleSet, changes *Changes, now time.Time) error {
	tx := w.nft.NewTransaction()
	full := w.full
	if full {
		if err := w.read(ctx, rules); err != nil {
			return err
		}
		changes = rules.all()
		for name := range w.chains {
			changes.chains[name] = true
		}
		for name := range w.containers {
			changes.containers[name] = true
		}
		for c, elems := range w.elements {
			for k := range elems {
				changes.elements[elementID{c, k}] = true
			}
		}
		tx.Add(&knftables.Table{Comment: knftables.PtrTo("service proxy")})
		if w.wipe {
			tx.Delete(&knftables.Table{})
			tx.Add(&knftables.Table{Comment: knftables.PtrTo("service proxy")})
		}
	}
	w.plan(tx, rules, changes, now)
	if tx.NumOperations() == 0 {
		return nil
	}
	if err := w.nft.Run(ctx, tx); err != nil {
		w.wipe = full
		w.full = true
		return fmt.Errorf("writing nftables rules: %w", err)
	}
	w.full, w.wipe, w.begun = false, false, true
	return nil
}

// read learns what the kernel has: names of chains and sets, and the elements of
// the containers that rules has. Rules cannot be read back, so chains count as
// unknown.
func (w *writer) read(ctx context.Context, rules *RuleSet) error {
	w.chains, w.containers, w.elements = map[string]*Chain{}, map[string]bool{}, map[string]map[string]string{}
	w.stale = map[string]time.Time{}
	if w.wipe {
		return nil
	}
	all, err := w.nft.ListAll(ctx)
	if knftables.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing nftables objects: %w", err)
	}
	for _, name := range all["chain"] {
		w.chains[name] = nil
	}
	for _, name := range slices.Concat(all["set"], all["map"]) {
		w.containers[name] = true
		want := rules.containers[name]
		if want == nil || want.Timeout != 0 {
			continue
		}
		kind := "set"
		if want.IsMap {
			kind = "map"
		}
		list, err := w.nft.ListElements(ctx, kind, name)
		if err != nil {
			return fmt.Errorf("listing nftables %s %s: %w", kind, name, err)
		}
		have := map[string]string{}
		for _, e := range list {
			have[strings.Join(e.Key, " . ")] = strings.Join(e.Value, " . ")
		}
		w.elements[name] = have
	}
	return nil
}

// plan adds to tx what leads from what the kernel has to rules, and takes note of
// it as done. The order satisfies what refers to what.
func (w *writer) plan(tx *knftables.Transaction, rules *RuleSet, changes *Changes, now time.Time) {
	chains, containers := sorted(changes.chains), sorted(changes.containers)

	for _, name := range containers {
		if c := rules.containers[name]; c != nil {
			tx.Add(c.object())
			w.containers[name] = true
		}
	}
	var write []*Chain
	for _, name := range chains {
		want := rules.chains[name]
		have, exists := w.chains[name]
		if want == nil || exists && have != nil && want.equal(have) {
			continue
		}
		if exists && want.Hook != nil && !w.begun {
			// The priority of a hook cannot be changed.
			tx.Delete(&knftables.Chain{Name: name})
			exists = false
		}
		tx.Add(want.object())
		if exists {
			tx.Flush(&knftables.Chain{Name: name})
		}
		delete(w.stale, name)
		w.chains[name] = want
		write = append(write, want)
	}
	for _, c := range write {
		for _, r := range c.Rules {
			rule := &knftables.Rule{Chain: c.Name, Rule: r.Text}
			if r.Comment != "" {
				rule.Comment = knftables.PtrTo(r.Comment)
			}
			tx.Add(rule)
		}
	}

	ids := make([]elementID, 0, len(changes.elements))
	for id := range changes.elements {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool {
		return ids[i].container < ids[j].container || ids[i].container == ids[j].container && ids[i].key < ids[j].key
	})
	var add []*knftables.Element
	for _, id := range ids {
		have, exists := w.elements[id.container][id.key]
		claims := rules.claims[id]
		if exists && (len(claims) == 0 || claims[0].value != have) {
			if rules.containers[id.container] != nil {
				tx.Delete(newElement(rules, id, have, ""))
			}
			delete(w.elements[id.container], id.key)
			exists = false
		}
		if len(claims) > 0 && !exists {
			if w.elements[id.container] == nil {
				w.elements[id.container] = map[string]string{}
			}
			w.elements[id.container][id.key] = claims[0].value
			add = append(add, newElement(rules, id, claims[0].value, claims[0].comment))
		}
	}
	for _, e := range add {
		tx.Add(e)
	}

	for _, name := range chains {
		if _, exists := w.chains[name]; exists && rules.chains[name] == nil {
			if _, already := w.stale[name]; !already {
				tx.Flush(&knftables.Chain{Name: name})
				w.stale[name] = now
			}
			delete(w.chains, name)
		}
	}
	for _, name := range containers {
		if w.containers[name] && rules.containers[name] == nil {
			// Whether it is a set or a map does not matter to the kernel.
			tx.Delete(&knftables.Set{Name: name})
			delete(w.containers, name)
			delete(w.elements, name)
		}
	}
}

// sweep deletes chains that have been unused for long enough, and returns when
// to call it next; the zero time if nothing is left.
func (w *writer) sweep(ctx context.Context, now time.Time) (time.Time, error) {
	tx := w.nft.NewTransaction()
	var next time.Time
	var gone []string
	for name, since := range w.stale {
		if due := since.Add(staleAge); now.Before(due) {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			continue
		}
		gone = append(gone, name)
	}
	if len(gone) == 0 || w.full {
		return next, nil
	}
	sort.Strings(gone)
	for _, name := range gone {
		tx.Delete(&knftables.Chain{Name: name})
		delete(w.stale, name)
	}
	if err := w.nft.Run(ctx, tx); err != nil {
		// Somebody may have deleted them before us; the repair finds out.
		w.full = true
		return next, fmt.Errorf("deleting unused nftables chains: %w", err)
	}
	return next, nil
}

func (c *Chain) object() *knftables.Chain {
	o := &knftables.Chain{Name: c.Name}
	if c.Hook != nil {
		o.Type, o.Hook, o.Priority = &c.Hook.Type, &c.Hook.Hook, &c.Hook.Priority
	}
	return o
}

func (c *Container) object() knftables.Object {
	var comment *string
	if c.Comment != "" {
		comment = &c.Comment
	}
	if c.IsMap {
		return &knftables.Map{Name: c.Name, Type: c.Type, Comment: comment}
	}
	s := &knftables.Set{Name: c.Name, Type: c.Type, Comment: comment}
	if c.Timeout != 0 {
		s.Flags, s.Timeout = []knftables.SetFlag{knftables.DynamicFlag, knftables.TimeoutFlag}, &c.Timeout
	}
	return s
}

func newElement(rules *RuleSet, id elementID, value, comment string) *knftables.Element {
	e := &knftables.Element{Key: strings.Split(id.key, " . ")}
	if comment != "" {
		e.Comment = &comment
	}
	if c := rules.containers[id.container]; c != nil && c.IsMap {
		e.Map, e.Value = id.container, []string{value}
	} else {
		e.Set = id.container
	}
	return e
}

func sorted(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
