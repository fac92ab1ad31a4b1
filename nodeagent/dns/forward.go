package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
)

const (
	// cacheSize is how many answers of others are kept, cacheTTL for how long
	// at most: as CoreDNS's cache in kubeadm's configuration.
	cacheSize = 10000
	cacheTTL  = 30 * time.Second
	// upstreamTimeout is for one try, forwardTimeout for all of a question:
	// stub resolvers give up after 5 seconds.
	upstreamTimeout = 2 * time.Second
	forwardTimeout  = 4500 * time.Millisecond
	// maxForwards is how many questions may wait for others at once, CoreDNS's
	// max_concurrent in kubeadm's configuration.
	maxForwards = 1000
	// resolvConfAge is how long the host's resolv.conf is trusted.
	resolvConfAge = 10 * time.Second
	// hopOption marks our own questions, from the range for local use (RFC 6891).
	hopOption = 65313
	// ednsSize is the largest UDP message we ask for and send: what passes
	// everywhere without fragments (https://www.dnsflagday.net/2020/).
	ednsSize = 1232
)

var (
	errNoUpstream = errors.New("no other DNS server is known: name one in /etc/resolv.conf or by --dns-upstream")
	errBusy       = fmt.Errorf("%d questions wait for the upstream servers already", maxForwards)
	errLoop       = errors.New("a question came back to this server: one of its upstream servers sends it here")
)

// exchanger sends one question to one server over "udp" or "tcp".
type exchanger func(ctx context.Context, m *dns.Msg, network, addr string) (*dns.Msg, error)

func exchange(ctx context.Context, m *dns.Msg, network, addr string) (*dns.Msg, error) {
	c := &dns.Client{Net: network, Timeout: upstreamTimeout, UDPSize: ednsSize}
	r, _, err := c.ExchangeContext(ctx, m, addr)
	return r, err
}

// forwarder passes questions on. It is safe for concurrent use.
type forwarder struct {
	upstreams func() []string
	exchange  exchanger
	clock     clock.PassiveClock
	instance  string // in the hop option of our own questions
	cache     *utilcache.LRUExpireCache
	flights   singleflight.Group
	hits      func(hit bool)
	slots     chan struct{} // taken by each question under way

	mu        sync.Mutex
	preferred string // the upstream that answered last
}

func newForwarder(upstreams func() []string, ex exchanger, c clock.PassiveClock, instance string, hits func(bool)) *forwarder {
	return &forwarder{
		upstreams: upstreams, exchange: ex, clock: c, instance: instance, hits: hits, slots: make(chan struct{}, maxForwards),
		cache: utilcache.NewLRUExpireCacheWithClock(cacheSize, c),
	}
}

type cached struct {
	msg *dns.Msg
	at  time.Time
}

// forward returns somebody else's answer to req's question. The message is the
// caller's to change; its ID and flags of the question are not req's.
func (f *forwarder) forward(ctx context.Context, req *dns.Msg) (*dns.Msg, error) {
	if f.isOwn(req) {
		return nil, errLoop
	}
	q := req.Question[0]
	do := false
	if opt := req.IsEdns0(); opt != nil {
		do = opt.Do()
	}
	key := fmt.Sprintf("%s %d %t %t", strings.ToLower(q.Name), q.Qtype, do, req.CheckingDisabled)
	if hit, ok := f.cache.Get(key); ok {
		f.hits(true)
		c := hit.(cached)
		return aged(c.msg, uint32(f.clock.Since(c.at)/time.Second)), nil
	}
	f.hits(false)
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		return nil, errBusy
	}
	// All who ask the same wait for one question to the outside. That also is
	// what a loop through a server that drops our mark ends at: the question
	// that comes back waits for itself, and times out.
	got, err, _ := f.flights.Do(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forwardTimeout)
		defer cancel()
		m, err := f.ask(ctx, q, do, req.CheckingDisabled)
		if err != nil {
			return nil, err
		}
		if ttl := cacheFor(m); ttl > 0 {
			f.cache.Add(key, cached{m, f.clock.Now()}, ttl)
		}
		return m, nil
	})
	if err != nil {
		return nil, err
	}
	return got.(*dns.Msg).Copy(), nil
}

// ask tries the upstream servers in turn, the one that answered last first.
func (f *forwarder) ask(ctx context.Context, q dns.Question, do, cd bool) (*dns.Msg, error) {
	servers := slices.Clone(f.upstreams())
	if len(servers) == 0 {
		return nil, errNoUpstream
	}
	f.mu.Lock()
	if i := slices.Index(servers, f.preferred); i > 0 {
		servers = append(servers[i:], servers[:i]...)
	}
	f.mu.Unlock()
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.RecursionDesired, m.CheckingDisabled = true, cd
	m.Question = []dns.Question{q}
	m.SetEdns0(ednsSize, do)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: hopOption, Data: []byte(f.instance)})

	var errs []error
	var refused *dns.Msg
	for _, s := range servers {
		r, err := f.exchange(ctx, m, "udp", s)
		if err == nil && r.Truncated {
			r, err = f.exchange(ctx, m, "tcp", s)
		}
		if err == nil && r.Rcode == dns.RcodeFormatError {
			// A server of old that does not know EDNS0.
			plain := m.Copy()
			plain.Extra = nil
			r, err = f.exchange(ctx, plain, "udp", s)
		}
		if err == nil && (r.Rcode == dns.RcodeServerFailure || r.Rcode == dns.RcodeRefused) {
			refused = r
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		f.mu.Lock()
		f.preferred = s
		f.mu.Unlock()
		return r, nil
	}
	if refused != nil {
		return refused, nil
	}
	return nil, errors.Join(errs...)
}

// isOwn reports whether req is one of our own questions, come back.
func (f *forwarder) isOwn(req *dns.Msg) bool {
	opt := req.IsEdns0()
	return opt != nil && slices.ContainsFunc(opt.Option, func(o dns.EDNS0) bool {
		l, ok := o.(*dns.EDNS0_LOCAL)
		return ok && l.Code == hopOption && string(l.Data) == f.instance
	})
}

// cacheFor is how long an answer may be kept: the least TTL of its records, for
// a negative one that of its SOA (RFC 2308), and never long.
func cacheFor(m *dns.Msg) time.Duration {
	if m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	ttl := uint32(cacheTTL / time.Second)
	records := false
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			if rr.Header().Rrtype == dns.TypeOPT {
				continue
			}
			records = true
			ttl = min(ttl, rr.Header().Ttl)
			if soa, ok := rr.(*dns.SOA); ok {
				ttl = min(ttl, soa.Minttl)
			}
		}
	}
	if !records {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// aged is a copy of m whose records have lived for another number of seconds.
func aged(m *dns.Msg, seconds uint32) *dns.Msg {
	m = m.Copy()
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				h.Ttl -= min(h.Ttl, seconds)
			}
		}
	}
	return m
}

// resolvConf reads the servers of a resolv.conf, at most every resolvConfAge,
// without those of own. A host whose file names only the local stub of
// systemd-resolved has the true ones in fallback.
type resolvConf struct {
	path, fallback string
	own            func() []string
	clock          clock.PassiveClock

	mu      sync.Mutex
	read    time.Time
	servers []string
}

func (r *resolvConf) get() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read.IsZero() || r.clock.Since(r.read) > resolvConfAge {
		r.read = r.clock.Now()
		servers := readResolvConf(r.path)
		if r.fallback != "" && !slices.ContainsFunc(servers, func(s string) bool { return !isLoopback(s) }) {
			if _, err := os.Stat(r.fallback); err == nil {
				servers = readResolvConf(r.fallback)
			}
		}
		r.servers = withoutOwn(servers, r.own())
	}
	return r.servers
}

func readResolvConf(path string) []string {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range conf.Servers {
		out = append(out, net.JoinHostPort(s, conf.Port))
	}
	return out
}

// withoutOwn drops the servers that are ourselves: the plainest of loops.
func withoutOwn(servers, own []string) []string {
	return slices.DeleteFunc(slices.Clone(servers), func(s string) bool { return slices.Contains(own, s) })
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
