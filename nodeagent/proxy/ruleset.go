package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"sigs.k8s.io/knftables"
)

// Rule is one rule in nft's language.
type Rule struct {
	Text, Comment string
}

// Hook attaches a chain to the path of packets.
type Hook struct {
	Type     knftables.BaseChainType
	Hook     knftables.BaseChainHook
	Priority knftables.BaseChainPriority
}

// Chain is a chain with all its rules.
type Chain struct {
	Name  string
	Hook  *Hook // nil: reached from other chains only
	Rules []Rule
}

func (c *Chain) equal(o *Chain) bool {
	return o != nil && c.Name == o.Name && (c.Hook == nil) == (o.Hook == nil) && (c.Hook == nil || *c.Hook == *o.Hook) &&
		slices.Equal(c.Rules, o.Rules)
}

// Container is a set, or with IsMap a map, without its elements.
type Container struct {
	Name, Type, Comment string
	IsMap               bool
	// Timeout, if not zero, makes a set that packets fill and whose elements
	// vanish when unused for so long. Its elements are none of ours.
	Timeout time.Duration
}

// Element of a set, or with a Value of a map. Parts of a key are joined by " . ".
type Element struct {
	Container, Key, Value, Comment string
}

// Fragment is the part of a RuleSet that one owner contributes. A chain or
// container has one owner; an element may have several.
type Fragment struct {
	Chains     []Chain
	Containers []Container
	Elements   []Element

	// UDP are the frontends and backends of UDP ports, for conntrack.
	UDP []UDPPort
	// HealthCheckNodePort, if not zero, answers with LocalEndpoints.
	HealthCheckNodePort int32
	LocalEndpoints      int
	// NoLocalInternal and NoLocalExternal count ports whose traffic policy is
	// Local and for which this node has no endpoint.
	NoLocalInternal, NoLocalExternal int
}

// UDPPort is a UDP service port.
type UDPPort struct {
	Frontends []netip.AddrPort
	NodePort  uint16
	Backends  []netip.AddrPort // the serving endpoints
}

type elementID struct{ container, key string }

type claim struct{ owner, value, comment string }

// RuleSet is all that a table should have, kept by owner.
type RuleSet struct {
	fragments  map[string]*Fragment
	chains     map[string]*Chain
	containers map[string]*Container
	// claims of each element, sorted by owner: the first wins. Two Services may
	// claim one external IP and port, or lead to the same endpoint.
	claims map[elementID][]claim
}

// Changes names what may differ from before.
type Changes struct {
	chains, containers map[string]bool
	elements           map[elementID]bool
}

func newChanges() *Changes {
	return &Changes{chains: map[string]bool{}, containers: map[string]bool{}, elements: map[elementID]bool{}}
}

// NewRuleSet returns the empty RuleSet.
func NewRuleSet() *RuleSet {
	return &RuleSet{
		fragments: map[string]*Fragment{}, chains: map[string]*Chain{}, containers: map[string]*Container{},
		claims: map[elementID][]claim{},
	}
}

// Put replaces what owner contributes by f, which nil removes, and notes in
// changes what that touches. f must not be changed afterwards. It returns what
// owner contributed before, or nil.
func (s *RuleSet) Put(owner string, f *Fragment, changes *Changes) *Fragment {
	old := s.fragments[owner]
	if old != nil {
		for _, e := range old.Elements {
			s.unclaim(owner, e, changes)
		}
	}
	keepChains, keepContainers := map[string]bool{}, map[string]bool{}
	if f != nil {
		for i := range f.Chains {
			c := &f.Chains[i]
			keepChains[c.Name] = true
			if !c.equal(s.chains[c.Name]) {
				changes.chains[c.Name] = true
			}
			s.chains[c.Name] = c
		}
		for i := range f.Containers {
			c := &f.Containers[i]
			keepContainers[c.Name] = true
			if have := s.containers[c.Name]; have == nil || *have != *c {
				changes.containers[c.Name] = true
			}
			s.containers[c.Name] = c
		}
		for _, e := range f.Elements {
			s.claim(owner, e, changes)
		}
		s.fragments[owner] = f
	} else {
		delete(s.fragments, owner)
	}
	if old != nil {
		for i := range old.Chains {
			if name := old.Chains[i].Name; !keepChains[name] {
				delete(s.chains, name)
				changes.chains[name] = true
			}
		}
		for i := range old.Containers {
			if name := old.Containers[i].Name; !keepContainers[name] {
				delete(s.containers, name)
				changes.containers[name] = true
			}
		}
	}
	return old
}

func (s *RuleSet) claim(owner string, e Element, changes *Changes) {
	id := elementID{e.Container, e.Key}
	list := s.claims[id]
	i, taken := slices.BinarySearchFunc(list, owner, func(c claim, o string) int { return cmp.Compare(c.owner, o) })
	if taken {
		return // of one owner's claims the first counts
	}
	changes.elements[id] = true
	s.claims[id] = slices.Insert(list, i, claim{owner, e.Value, e.Comment})
}

func (s *RuleSet) unclaim(owner string, e Element, changes *Changes) {
	id := elementID{e.Container, e.Key}
	list := s.claims[id]
	i, ok := slices.BinarySearchFunc(list, owner, func(c claim, o string) int { return cmp.Compare(c.owner, o) })
	if !ok {
		return
	}
	changes.elements[id] = true
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(s.claims, id)
	} else {
		s.claims[id] = list
	}
}

// all returns changes that name everything.
func (s *RuleSet) all() *Changes {
	c := newChanges()
	for name := range s.chains {
		c.chains[name] = true
	}
	for name := range s.containers {
		c.containers[name] = true
	}
	for id := range s.claims {
		c.elements[id] = true
	}
	return c
}
