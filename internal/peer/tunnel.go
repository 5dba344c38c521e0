package peer

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// maxPiece is the most bytes of a lent connection in one message. PROTOCOL 10.5.
const maxPiece = 64 << 10

// tunnel is one end of a connection that is carried by a Collect call: a net.Conn with one reader and any number of
// writers. Closing it ends the call, the end of the call closes it. Memory is two pieces in and one out beside what HTTP/2 lets
// come ahead.
type tunnel struct {
	peer   authority.Node
	pieces chan []byte
	rest   []byte // of the piece read last; the reader's alone

	sending sync.Mutex
	send    func([]byte) error
	most    int // bytes of a piece that goes out

	once sync.Once
	over chan struct{} // closed with the tunnel
	end  func()        // ends the call

	mu     sync.Mutex
	timer  *time.Timer // guarded by mu; the deadline
	failed error       // guarded by mu
}

func newTunnel(peer authority.Node, most int, recv func() ([]byte, error), send func([]byte) error, end func()) *tunnel {
	t := &tunnel{peer: peer, pieces: make(chan []byte), send: send, most: min(most, maxPiece), over: make(chan struct{}), end: end}
	go t.pump(recv)
	return t
}

// pump hands pieces to the reader, who can so be told that the tunnel is over while the call still waits for bytes.
func (t *tunnel) pump(recv func() ([]byte, error)) {
	for {
		piece, err := recv()
		if err == nil && len(piece) > maxPiece {
			err = fault.New(fault.TooLarge, "too-large", opCollect, "a piece is larger than it may be")
		}
		if err != nil {
			t.fail(err)
			return
		}
		select {
		case t.pieces <- piece:
		case <-t.over:
			return
		}
	}
}

// Read gives the next bytes; io.EOF when the tunnel is over.
func (t *tunnel) Read(p []byte) (int, error) {
	for len(t.rest) == 0 {
		select {
		case t.rest = <-t.pieces:
		case <-t.over:
			return 0, io.EOF
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// Write sends everything or fails.
func (t *tunnel) Write(p []byte) (int, error) {
	t.sending.Lock()
	defer t.sending.Unlock()
	sent := 0
	for sent < len(p) {
		piece := p[sent:min(sent+t.most, len(p))]
		select {
		case <-t.over:
			return sent, net.ErrClosed
		default:
		}
		// A copy: a call that is cut returns while the old bytes are still being looked at.
		if err := t.send(bytes.Clone(piece)); err != nil {
			t.fail(err)
			return sent, net.ErrClosed
		}
		sent += len(piece)
	}
	return sent, nil
}

// Close ends the call.
func (t *tunnel) Close() error {
	t.once.Do(func() {
		close(t.over)
		t.end()
	})
	return nil
}

// SetDeadline closes the tunnel at that time, unless it is moved before: who missed one wants nothing more of it.
func (t *tunnel) SetDeadline(at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if !at.IsZero() {
		t.timer = time.AfterFunc(time.Until(at), func() { _ = t.Close() })
	}
	return nil
}

// SetReadDeadline is SetDeadline.
func (t *tunnel) SetReadDeadline(at time.Time) error { return t.SetDeadline(at) }

// SetWriteDeadline is SetDeadline.
func (t *tunnel) SetWriteDeadline(at time.Time) error { return t.SetDeadline(at) }

// why is the error that ended the tunnel; nil where it was closed here.
func (t *tunnel) why() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *tunnel) fail(err error) {
	t.mu.Lock()
	if t.failed == nil {
		t.failed = err
	}
	t.mu.Unlock()
	_ = t.Close()
}

// LocalAddr names the tunnel as RemoteAddr does.
func (t *tunnel) LocalAddr() net.Addr { return lentAddr{t.peer} }

// RemoteAddr names the node at the other end.
func (t *tunnel) RemoteAddr() net.Addr { return lentAddr{t.peer} }

// lentAddr is the address of a connection that has none: the node that it leads to, by its certificate.
type lentAddr struct{ node authority.Node }

// Network tells nodes apart, for those who count connections by address.
func (a lentAddr) Network() string { return "collect " + a.node.String() }

// String is for logs.
func (a lentAddr) String() string { return a.Network() }

var _ net.Conn = (*tunnel)(nil)
