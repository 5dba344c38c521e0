package wire

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/stats"

	"github.com/enlace-network/enlace/internal/fault"
)

// gRPC reads a message into memory as it comes, tells nobody before it is whole, and has one limit for all methods. So
// the bytes are counted here, below gRPC: the heads of HTTP/2 frames say for which call each byte is (RFC 9113, 4.1).

const (
	preface    = 24 // bytes of "PRI * HTTP/2.0...", before the first frame
	frameHead  = 9
	frameData  = 0x0
	frameHeads = 0x1
	// perFrame is what keeping one DATA frame costs beside its bytes: a caller may send a byte in each.
	perFrame = 128
)

// kept is what gRPC holds for a DATA frame of n bytes: beyond a kilobyte it reads into buffers of a few sizes, so a frame of
// 1,025 bytes costs four times that.
func kept(n int) int {
	if n > 1<<10 {
		for _, size := range []int{4 << 10, 16 << 10, 32 << 10} {
			if n <= size {
				return size + perFrame
			}
		}
	}
	return n + perFrame
}

// meter counts what comes in on one connection, call by call. gRPC must read without a buffer, so that the call whose
// headers the tap sees is the one whose frame was read last.
type meter struct {
	net.Conn
	skip    int // bytes that belong to no head of a frame
	head    [frameHead]byte
	have    int    // bytes of head
	opening uint32 // stream whose headers came last

	mu    sync.Mutex
	loads map[uint32]*load // guarded by mu; by stream
}

func newMeter(conn net.Conn) *meter {
	return &meter{Conn: conn, skip: preface, loads: map[uint32]*load{}}
}

// Read reads and counts. It is called by one goroutine, gRPC's reader, which also runs the tap.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.scan(p[:n])
	return n, err
}

func (m *meter) scan(p []byte) {
	for len(p) > 0 {
		if m.skip > 0 {
			n := min(m.skip, len(p))
			m.skip -= n
			p = p[n:]
			continue
		}
		n := copy(m.head[m.have:], p)
		m.have += n
		p = p[n:]
		if m.have == frameHead {
			m.have = 0
			m.frame()
		}
	}
}

func (m *meter) frame() {
	m.skip = int(m.head[0])<<16 | int(m.head[1])<<8 | int(m.head[2])
	stream := binary.BigEndian.Uint32(m.head[5:]) &^ (1 << 31)
	switch m.head[3] {
	case frameHeads:
		m.opening = stream
	case frameData:
		m.mu.Lock()
		l := m.loads[stream]
		m.mu.Unlock()
		if l != nil {
			l.add(m.skip)
		}
	}
}

// open counts the call whose headers have just come, until ctx ends. It must be called from the tap.
func (m *meter) open(ctx context.Context, l *load) {
	stream := m.opening
	m.mu.Lock()
	m.loads[stream] = l
	m.mu.Unlock()
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		delete(m.loads, stream)
		m.mu.Unlock()
		l.end()
	})
}

// share is a number of bytes that several calls have together.
type share struct {
	held  atomic.Int64
	limit int64
}

func (s *share) take(n int) bool {
	if s.held.Add(int64(n)) <= s.limit {
		return true
	}
	s.held.Add(int64(-n))
	return false
}

func (s *share) give(n int) { s.held.Add(int64(-n)) }

// load is what one call makes us hold.
type load struct {
	most   int // bytes of a stranger's call; 0 is no limit beside the shares
	stream bool
	shares []*share
	cut    context.CancelCauseFunc

	mu    sync.Mutex
	bytes int       // guarded by mu; of frames not yet handed to a handler
	extra int       // guarded by mu; what they cost beside
	last  time.Time // guarded by mu; when bytes came
	ended bool      // guarded by mu
}

type loadKey struct{}

func loadFrom(ctx context.Context) *load {
	l, _ := ctx.Value(loadKey{}).(*load)
	return l
}

// add counts a frame of which the head has come. A call that holds too much is cut; gRPC then drops what it kept.
func (l *load) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	if l.ended {
		return
	}
	if l.most > 0 && l.bytes+n > l.most {
		l.cut(fault.New(fault.TooLarge, "too-large", "take call", "the message is larger than this method takes"))
		return
	}
	for i, s := range l.shares {
		if !s.take(kept(n)) {
			for _, taken := range l.shares[:i] {
				taken.give(kept(n))
			}
			l.cut(busy())
			return
		}
	}
	l.bytes += n
	l.extra += kept(n) - n
}

// settle gives back what a message of n bytes held, once a stream's handler has it. The one message of a unary call
// counts until the call ends.
func (l *load) settle(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stream || l.ended || l.bytes == 0 {
		return
	}
	n = min(n, l.bytes)
	frames := int(int64(l.extra) * int64(n) / int64(l.bytes))
	l.bytes -= n
	l.extra -= frames
	for _, s := range l.shares {
		s.give(n + frames)
	}
}

func (l *load) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	for _, s := range l.shares {
		s.give(l.bytes + l.extra)
	}
}

// heard is when bytes came last; zero for never.
func (l *load) heard() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// tally hears from gRPC when a message has been read.
type tally struct{}

var _ stats.Handler = tally{}

func (tally) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (tally) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if in, ok := event.(*stats.InPayload); ok {
		if l := loadFrom(ctx); l != nil {
			l.settle(in.WireLength)
		}
	}
}

func (tally) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (tally) HandleConn(context.Context, stats.ConnStats) {}
