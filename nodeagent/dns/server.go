package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/miekg/dns"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// handler speaks the protocol: it answers from the resolver or passes on.
type handler struct {
	resolver *Resolver
	forward  *forwarder
	metrics  *metrics
	clock    clock.PassiveClock
	logger   klog.Logger
}

// ServeDNS answers one message.
func (h *handler) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	start := h.clock.Now()
	proto := "udp"
	if _, ok := w.RemoteAddr().(*net.TCPAddr); ok {
		proto = "tcp"
	}
	m := h.answer(context.Background(), req)
	finish(m, req, proto)
	if err := w.WriteMsg(m); err != nil {
		h.logger.V(4).Info("Could not send an answer", "to", w.RemoteAddr(), "err", err)
	}
	h.metrics.observe(proto, req, m, h.clock.Since(start))
}

// answer returns the whole answer to req, as if there were no limit of size.
func (h *handler) answer(ctx context.Context, req *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	switch {
	case req.Opcode != dns.OpcodeQuery:
		return m.SetRcode(req, dns.RcodeNotImplemented)
	case len(req.Question) != 1:
		return m.SetRcode(req, dns.RcodeFormatError)
	}
	q := req.Question[0]
	if opt := req.IsEdns0(); opt != nil && opt.Version() != 0 {
		return m.SetRcode(req, dns.RcodeBadVers)
	}
	if q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		return m.SetRcode(req, dns.RcodeRefused)
	}
	res := h.resolver.Resolve(q.Name, q.Qtype)
	if !res.Mine {
		r, err := h.forward.forward(ctx, req)
		if err != nil {
			h.failed(q, err)
			return m.SetRcode(req, dns.RcodeServerFailure)
		}
		// The sections and the server's word on them are its own, the rest ours.
		m.SetReply(req)
		m.Rcode, m.Authoritative, m.AuthenticatedData, m.RecursionAvailable = r.Rcode, r.Authoritative, r.AuthenticatedData, true
		m.Answer, m.Ns, m.Extra = r.Answer, r.Ns, withoutOPT(r.Extra)
		return m
	}
	m.SetReply(req)
	m.Rcode, m.Authoritative, m.RecursionAvailable = res.Rcode, true, true
	m.Answer, m.Ns, m.Extra = res.Answer, res.Authority, res.Extra
	if res.Target != "" {
		sub := new(dns.Msg)
		sub.SetQuestion(res.Target, q.Qtype)
		sub.CheckingDisabled = req.CheckingDisabled
		if r, err := h.forward.forward(ctx, sub); err != nil {
			h.failed(sub.Question[0], err)
			// The alias alone is true; a failure would hide it.
		} else {
			m.Answer = append(m.Answer, r.Answer...)
			if m.Rcode = r.Rcode; len(r.Answer) == 0 {
				m.Ns = r.Ns
			}
		}
	}
	rotate(m.Answer)
	return m
}

func (h *handler) failed(q dns.Question, err error) {
	logger := h.logger.V(4)
	if errors.Is(err, errLoop) {
		logger = h.logger.V(0)
	}
	logger.Info("Cannot answer", "name", q.Name, "type", dns.TypeToString[q.Qtype], "err", err)
}

// finish adds what the transport needs: EDNS0 if asked for, and no more bytes
// than the client takes.
func finish(m, req *dns.Msg, proto string) {
	m.Compress = true
	size := dns.MinMsgSize
	if opt := req.IsEdns0(); opt != nil {
		size = max(size, min(int(opt.UDPSize()), ednsSize))
		// The OPT record carries the upper bits of the code as well.
		m.SetEdns0(ednsSize, opt.Do())
		if m.Rcode > 0xF {
			m.IsEdns0().SetExtendedRcode(uint16(m.Rcode))
		}
	}
	if proto == "tcp" {
		size = dns.MaxMsgSize
	}
	m.Truncate(size)
}

// rotate lets each answer begin with another address, for clients that take the
// first. Aliases stay in front.
func rotate(rrs []dns.RR) {
	first := 0
	for first < len(rrs) && rrs[first].Header().Rrtype == dns.TypeCNAME {
		first++
	}
	rrs = rrs[first:]
	rand.Shuffle(len(rrs), func(i, j int) { rrs[i], rrs[j] = rrs[j], rrs[i] })
}

func withoutOPT(rrs []dns.RR) []dns.RR {
	var out []dns.RR
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			out = append(out, rr)
		}
	}
	return out
}

// listener is a bound pair of sockets.
type listener struct {
	packet net.PacketConn
	stream net.Listener
}

// bind opens both sockets of addr. Port 0 takes any that is free for both.
func bind(ctx context.Context, addr string) (*listener, error) {
	var lc net.ListenConfig
	stream, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	packet, err := lc.ListenPacket(ctx, "udp", stream.Addr().String())
	if err != nil {
		stream.Close()
		return nil, err
	}
	return &listener{packet, stream}, nil
}

// bindRetrying tries until it works or ctx is done: the address of the pod bridge
// may come only later, or the port be held by a former process for a moment.
func bindRetrying(ctx context.Context, c clock.Clock, addr string) (*listener, error) {
	logger := klog.FromContext(ctx)
	wait := 50 * time.Millisecond
	for try := 0; ; try++ {
		l, err := bind(ctx, addr)
		if err == nil {
			return l, nil
		}
		if try == 5 {
			logger.Error(err, "Cannot listen yet; trying on", "address", addr)
		}
		select {
		case <-c.After(wait):
			wait = min(2*wait, 5*time.Second)
		case <-ctx.Done():
			return nil, fmt.Errorf("listening on %s: %w", addr, err)
		}
	}
}

// serve answers on l until ctx is done or a socket fails.
func (l *listener) serve(ctx context.Context, h dns.Handler) error {
	udp := &dns.Server{PacketConn: l.packet, Handler: h, UDPSize: 4096}
	tcp := &dns.Server{Listener: l.stream, Handler: h, ReadTimeout: 5 * time.Second, IdleTimeout: func() time.Duration { return 10 * time.Second }}
	errs := make(chan error, 2)
	go func() { errs <- udp.ActivateAndServe() }()
	go func() { errs <- tcp.ActivateAndServe() }()
	var err error
	left := 2
	select {
	case <-ctx.Done():
	case err = <-errs:
		left--
	}
	// Closing the sockets ends both, also one that has not begun.
	l.packet.Close()
	l.stream.Close()
	for range left {
		<-errs
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}
