package wire

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

// Bounded is a listener that keeps Connections, PerAddress and PerCaller of limits; its other fields mean nothing
// here. Every connection counts as one that has shown nothing until Prove. A [Server] has one of its own: this is for
// servers that are not made by this room.
func Bounded(l net.Listener, limits Limits) net.Listener {
	g := &gate{Listener: l, limits: limits.filled(), callers: map[string]*caller{}, strangers: map[string]int{}, arrivals: newPace(nil)}
	if limits.Arrivals != (Rate{}) {
		g.arrivals = newPace(map[string]Rate{anyMethod: limits.Arrivals})
	}
	return g
}

// Prove says that a known caller was heard on a connection that a Bounded listener accepted, under TLS or not. It
// counts from now on for its address. Other connections it leaves alone.
func Prove(conn net.Conn) {
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	if g, ok := conn.(*guest); ok {
		g.prove("address " + g.addr)
	}
}

// gate knows all connections of one listener. Strangers can fill neither it nor each other's part of it: what makes
// room is always the oldest connection that has shown nothing.
type gate struct {
	net.Listener
	limits   Limits
	arrivals *pace

	mu        sync.Mutex
	silent    []*guest           // guarded by mu; those that have shown nothing, oldest first
	open      int                // guarded by mu; all connections
	callers   map[string]*caller // guarded by mu; by name, while they have a connection
	strangers map[string]int     // guarded by mu; running calls of strangers by address
	strange   int                // guarded by mu; their sum
}

// caller is one who showed who they are, with all their connections.
type caller struct {
	name   string
	guests []*guest // guarded by the gate's mu; oldest first
	calls  int      // guarded by the gate's mu; that run
	bytes  share
}

// guest is one connection.
type guest struct {
	net.Conn
	gate   *gate
	addr   string
	caller *caller // guarded by the gate's mu; nil until proven
	calls  int     // guarded by the gate's mu; strangers' calls that run on it
	gone   bool    // guarded by the gate's mu
}

// Accept gives the next connection for which there is room.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if entered := g.enter(conn); entered != nil {
			return entered, nil
		}
		_ = conn.Close()
	}
}

// enter is nil where there is no room.
func (g *gate) enter(conn net.Conn) net.Conn {
	in := &guest{Conn: conn, gate: g, addr: address(conn)}
	if !g.arrivals.allow(in.addr, "", time.Now()) {
		return nil
	}
	out, ok := g.admit(in)
	if out != nil {
		_ = out.Close()
	}
	if !ok {
		return nil
	}
	return in
}

// admit counts a connection in and names the one that has to go for it, if any.
func (g *gate) admit(in *guest) (*guest, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out *guest
	if same := g.silentFrom(in.addr); len(same) >= g.limits.PerAddress {
		out = same[0]
	} else if g.open >= g.limits.Connections {
		if len(g.silent) == 0 {
			return nil, false
		}
		out = g.silent[0]
	}
	g.forget(out)
	g.open++
	g.silent = append(g.silent, in)
	return out, true
}

// silentFrom must be called with mu held.
func (g *gate) silentFrom(addr string) []*guest {
	var same []*guest
	for _, s := range g.silent {
		if s.addr == addr {
			same = append(same, s)
		}
	}
	return same
}

// forget must be called with mu held.
func (g *gate) forget(out *guest) {
	if out == nil || out.gone {
		return
	}
	out.gone = true
	g.open--
	if out.caller == nil {
		g.silent = without(g.silent, out)
		return
	}
	out.caller.guests = without(out.caller.guests, out)
	if len(out.caller.guests) == 0 {
		delete(g.callers, out.caller.name)
	}
}

func without(all []*guest, one *guest) []*guest {
	return slices.DeleteFunc(all, func(g *guest) bool { return g == one })
}

// Close hangs up and makes room.
func (c *guest) Close() error {
	c.gate.mu.Lock()
	c.gate.forget(c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// prove counts the connection for a caller, who loses the oldest of too many.
func (c *guest) prove(name string) *caller {
	who, out := c.gate.prove(c, name)
	if out != nil {
		_ = out.Close()
	}
	return who
}

func (g *gate) prove(c *guest, name string) (*caller, *guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.caller != nil {
		return c.caller, nil
	}
	who := g.callers[name]
	if who == nil {
		who = &caller{name: name, bytes: share{limit: g.limits.CallerBytes}}
	}
	if c.gone { // evicted meanwhile; its call ends soon
		return who, nil
	}
	g.callers[name] = who
	g.silent = without(g.silent, c)
	c.caller = who
	who.guests = append(who.guests, c)
	var out *guest
	if len(who.guests) > g.limits.PerCaller {
		out = who.guests[0]
		g.forget(out)
	}
	return who, out
}

// begin takes a place for a known caller's call until ctx ends.
func (g *gate) begin(ctx context.Context, who *caller) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if who.calls >= g.limits.CallerCalls {
		return busy()
	}
	who.calls++
	context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		who.calls--
	})
	return nil
}

// borrow takes a place for a stranger's call until ctx ends.
func (c *guest) borrow(ctx context.Context) error {
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.strange >= g.limits.Strangers || g.strangers[c.addr] >= max(1, g.limits.Strangers/8) {
		return busy()
	}
	g.strange++
	g.strangers[c.addr]++
	c.calls++
	context.AfterFunc(ctx, c.giveBack)
	return nil
}

func (c *guest) giveBack() {
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.strange--
	c.calls--
	if g.strangers[c.addr]--; g.strangers[c.addr] == 0 {
		delete(g.strangers, c.addr)
	}
}

// idle reports whether the connection has shown nothing and has no call under way.
func (c *guest) idle() bool {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	return c.caller == nil && c.calls == 0
}

// shown reports whether it is known who is at the other end.
func (c *guest) shown() bool {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	return c.caller != nil || c.gone
}

func busy() error {
	return fault.New(fault.Retry, "busy", "take call", "too much is under way at once").WithHint("try again in a moment")
}

// address is what counts as one place in the network: an IPv4 address, or the half of an IPv6 address that a site has.
func address(conn net.Conn) string {
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().Network()
	}
	addr := from.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	half, _ := addr.Prefix(64) // never fails: 64 is within an IPv6 address
	return half.String()
}
