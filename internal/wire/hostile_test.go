package wire_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// TestTooOften: who calls more often than a method's rate is refused before the handler sees anything, also over a new
// connection; others are served. P12; PROTOCOL 8.3.
func TestTooOften(t *testing.T) {
	n := newNetwork(t)
	mx, jm, br := n.admit("mx"), n.admit("jm"), n.admit("br")
	var handled atomic.Int64
	d := &door{deliver: func(context.Context, *peerv1.DeliverRequest) (*peerv1.DeliverResponse, error) {
		handled.Add(1)
		return &peerv1.DeliverResponse{}, nil
	}}
	s := n.serve(jm, d, func(o *wire.ServerOptions) { o.Rates = map[string]wire.Rate{deliver: {PerSecond: 0.01, Burst: 10}} })
	for i, client := range []peerv1.PeerServiceClient{n.dial(mx, s.addr, jm), n.dial(mx, s.addr, jm)} {
		var err error
		for range 11 {
			_, err = client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
		}
		if fault.CodeOf(err) != "busy" || !fault.Is(err, fault.Retry) {
			t.Errorf("connection %d: %v, want busy", i+1, err)
		}
	}
	if handled.Load() != 10 {
		t.Errorf("%d calls were handled, want 10", handled.Load())
	}
	if _, err := n.dial(br, s.addr, jm).Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); err != nil {
		t.Errorf("another member: %v", err)
	}
}

// TestTooManyCalls: one caller has so many calls under way over all connections, and gets the places back. P12.
func TestTooManyCalls(t *testing.T) {
	n := newNetwork(t)
	mx, jm, br := n.admit("mx"), n.admit("jm"), n.admit("br")
	release, entered := make(chan struct{}), make(chan struct{}, 8)
	d := &door{deliver: func(ctx context.Context, _ *peerv1.DeliverRequest) (*peerv1.DeliverResponse, error) {
		entered <- struct{}{}
		<-release
		return &peerv1.DeliverResponse{}, nil
	}}
	s := n.serve(jm, d, func(o *wire.ServerOptions) { o.Limits.CallerCalls = 4 })
	a, b := n.dial(mx, s.addr, jm), n.dial(mx, s.addr, jm)
	var calls sync.WaitGroup
	for i := range 4 {
		calls.Go(func() {
			if _, err := []peerv1.PeerServiceClient{a, b}[i%2].Deliver(within(t, 20*time.Second), &peerv1.DeliverRequest{}); err != nil {
				t.Error(err)
			}
		})
		<-entered
	}
	if _, err := a.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); fault.CodeOf(err) != "busy" {
		t.Errorf("a fifth call at once: %v, want busy", err)
	}
	calls.Go(func() {
		if _, err := n.dial(br, s.addr, jm).Deliver(within(t, 20*time.Second), &peerv1.DeliverRequest{}); err != nil {
			t.Errorf("another member: %v", err)
		}
	})
	<-entered
	close(release)
	calls.Wait()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := a.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); err == nil {
			return
		} else if time.Since(began) > 30*time.Second {
			t.Fatalf("the places are not given back: %v", err)
		}
	}
}

// TestArrivals: an address that connects too often is turned away at once, and no other. P12.
func TestArrivals(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	s := n.serve(jm, &door{}, func(o *wire.ServerOptions) { o.Limits.Arrivals = wire.Rate{PerSecond: 0.01, Burst: 5} })
	held := silent(t, s.addr, 20)
	if left := open(held); left != 5 {
		t.Errorf("%d of 20 connections are open, want 5", left)
	}
	if _, err := n.dial(mx, s.addr, jm).Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); err != nil {
		t.Errorf("another address: %v", err)
	}
}

// raw is a member's connection that says what no client would.
type raw struct {
	*tls.Conn
	next uint32 // stream
}

func (n *network) raw(m *member, addr string, to *member) *raw {
	n.t.Helper()
	config := n.source(m, m.node).ClientTLS(wire.ThisNode(n.current, n.now, to.node).Verify)
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", addr, config)
	must(n.t, err)
	n.t.Cleanup(func() { _ = conn.Close() })
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	_, _ = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	r := &raw{conn, 1}
	_ = r.frame(4, 0, 0, nil)
	return r
}

// frame is RFC 9113, 4.1.
func (r *raw) frame(kind, flags byte, stream uint32, payload []byte) error {
	head := make([]byte, 9, 9+len(payload))
	head[0], head[1], head[2] = byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))
	head[3], head[4] = kind, flags
	binary.BigEndian.PutUint32(head[5:], stream)
	_ = r.SetWriteDeadline(time.Now().Add(2 * time.Second))
	_, err := r.Write(append(head, payload...))
	return err
}

// field is a header field without compression; RFC 7541, 6.2.2. Neither part is longer than 126 bytes.
func field(name, value string) []byte {
	b := append([]byte{0, byte(len(name))}, name...)
	return append(append(b, byte(len(value))), value...)
}

func headers(method string) []byte {
	var b []byte
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", method}, {":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		b = append(b, field(f[0], f[1])...)
	}
	return b
}

// call opens a stream and returns its number.
func (r *raw) call(method string) (uint32, error) {
	stream := r.next
	r.next += 2
	return stream, r.frame(1, 4, stream, headers(method))
}

const push = "/enlace.peer.v1.PeerService/PushAttachment"

// announced begins a message of that many bytes.
func announced(size int) []byte { return binary.BigEndian.AppendUint32([]byte{0}, uint32(size)) }

// attacks are what a member can do with the connections that it may have. Each goes on until stop.
func attacks() map[string]func(r *raw, stop <-chan struct{}) {
	endless := func(step func() error) func(stop <-chan struct{}) {
		return func(stop <-chan struct{}) {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if step() != nil {
					return
				}
			}
		}
	}
	unfinished := func(piece int) func(r *raw, stop <-chan struct{}) {
		return func(r *raw, stop <-chan struct{}) {
			var open []uint32
			for range 60 {
				stream, err := r.call(deliver)
				if err != nil {
					return
				}
				_ = r.frame(0, 0, stream, announced(2<<20))
				open = append(open, stream)
			}
			i := 0
			endless(func() error {
				i++
				if i > 400<<10/piece*60 {
					time.Sleep(10 * time.Millisecond)
					return nil
				}
				return r.frame(0, 0, open[i%len(open)], make([]byte, piece))
			})(stop)
		}
	}
	return map[string]func(r *raw, stop <-chan struct{}){
		"unfinished messages in whole frames":     unfinished(16 << 10),
		"unfinished messages in frames of 1025":   unfinished(1025),
		"unfinished messages in frames of 4097":   unfinished(4097),
		"unfinished messages in frames of a byte": unfinished(1),
		"headers without an end": func(r *raw, stop <-chan struct{}) {
			if r.frame(1, 0, 1, headers(deliver)) != nil {
				return
			}
			endless(func() error { return r.frame(9, 0, 1, field("x", string(make([]byte, 100)))) })(stop)
		},
		"streams reset as they begin": func(r *raw, stop <-chan struct{}) {
			endless(func() error {
				stream, err := r.call(push)
				if err != nil {
					return err
				}
				return r.frame(3, 0, stream, []byte{0, 0, 0, 8})
			})(stop)
		},
		"thousands of streams": func(r *raw, stop <-chan struct{}) {
			endless(func() error { _, err := r.call(push); return err })(stop)
		},
		"a stream without an end": func(r *raw, stop <-chan struct{}) {
			stream, err := r.call(push)
			if err != nil {
				return
			}
			endless(func() error { return r.frame(0, 0, stream, make([]byte, 16<<10)) })(stop)
		},
		"frames larger than any": func(r *raw, stop <-chan struct{}) {
			_ = r.frame(0, 0, 1, make([]byte, 1<<20))
			<-stop
		},
		"settings without an end": func(r *raw, stop <-chan struct{}) {
			endless(func() error { return r.frame(4, 0, 0, nil) })(stop)
		},
		"pings without an end": func(r *raw, stop <-chan struct{}) {
			endless(func() error { return r.frame(6, 0, 0, make([]byte, 8)) })(stop)
		},
	}
}

// costs is the most memory that is held while attackers are at it, by them too: they are in this process. Garbage is not
// counted: how much of it there is, is the collector's choice.
func costs(stop <-chan struct{}) <-chan int {
	most := make(chan int, 1)
	go func() {
		top := 0
		for {
			top = max(top, held())
			select {
			case <-stop:
				most <- top
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return most
}

// held is how many MB were found in use, heap and stacks.
func held() int {
	runtime.GC()
	found := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(found)
	return int((found[0].Value.Uint64() + found[1].Value.Uint64()) >> 20)
}

// hostileCost is how much more a door may hold under attack. Number of DESIGN 15.
const hostileCost = 64

// TestHostileStreams: whatever three members do with all their connections, the door holds no more than 64 MB, and another
// member is served meanwhile. P12.
func TestHostileStreams(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("it measures memory")
	}
	n := newNetwork(t)
	jm, good := n.admit("jm"), n.admit("br")
	bad := []*member{n.admit("mx"), n.admit("ca"), n.admit("ht")}
	for name, attack := range attacks() {
		t.Run(name, func(t *testing.T) {
			n.t = t
			d := &door{pushed: make(chan []byte), ended: make(chan error)}
			go func() { // a handler that takes its time
				for range d.pushed {
					time.Sleep(10 * time.Millisecond)
				}
			}()
			go func() {
				for range d.ended {
				}
			}()
			s := n.serve(jm, d, func(o *wire.ServerOptions) {
				o.UnaryTimeout, o.Limits.Bytes, o.Limits.CallerCalls = 5*time.Second, 24<<20, 160 // as room peer has them
				o.Rates = map[string]wire.Rate{"": {PerSecond: 3000, Burst: 6000}}
			})
			before := held()
			stop := make(chan struct{})
			most := costs(stop)
			var attackers sync.WaitGroup
			for _, m := range bad {
				for range 8 {
					r := n.raw(m, s.addr, jm)
					attackers.Go(func() { attack(r, stop) })
				}
			}
			time.AfterFunc(2*time.Second, func() { close(stop) })
			client := n.dial(good, s.addr, jm)
			slowest := time.Duration(0)
			for range 5 {
				began := time.Now()
				if _, err := client.Deliver(within(t, 20*time.Second), &peerv1.DeliverRequest{Envelope: make([]byte, 4<<10)}); err != nil {
					t.Errorf("another member: %v", err)
				}
				slowest = max(slowest, time.Since(began))
			}
			attackers.Wait()
			grown := <-most - before
			t.Logf(name+": %d MB more; the slowest call of another member took %s", grown, slowest.Round(time.Millisecond))
			if grown > hostileCost {
				t.Errorf("the door held %d MB more, want at most %d", grown, hostileCost)
			}
		})
	}
}

var _ net.Conn = (*raw)(nil)
