package parity

import (
	"testing"
)

// pair is upstream's server and ours, each with an etcd of its own.
type pair struct {
	theirs, ours         *server
	theirStore, ourStore *store
}

func newPair(t *testing.T) *pair {
	p := &pair{theirStore: newStore(t), ourStore: newStore(t)}
	p.theirs, p.ours = newServer(t, "upstream", upstream(t), p.theirStore), newServer(t, "ours", ours(t), p.ourStore)
	return p
}

// TestParity runs all comparisons on one pair of servers.
func TestParity(t *testing.T) {
	p := newPair(t)
	t.Run("discovery", p.discovery)
	t.Run("openapi", p.openapi)
	t.Run("objects", p.objects)
	t.Run("tables", p.tables)
	t.Run("kubectl", p.kubectl)
	t.Run("selectable fields", p.selectableFields)
	t.Run("stored", p.stored)
	t.Run("cross-read", p.crossRead)
	known := p.keys(t, p.theirStore)
	t.Run("deletions", p.deletions)
	t.Run("samples", func(t *testing.T) { p.samples(t, known) })
}

// report tells every difference that has no reason in allowed.
func report(t *testing.T, differences []difference, allowed []allowance) {
	t.Helper()
	for _, d := range differences {
		if !permitted(d, allowed) {
			t.Error(d)
		}
	}
}
