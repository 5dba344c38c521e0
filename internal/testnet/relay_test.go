package testnet_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// relay passes connections on to a door and keeps every byte of both directions.
type relay struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex
	rate  int               // guarded by mu; bytes per second and direction; 0 = as fast as it goes
	open  map[net.Conn]bool // guarded by mu
	bytes []*bytes.Buffer   // guarded by mu; one for each direction of each connection
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, to: to, open: map[net.Conn]bool{}}
	r.running.Go(r.serve)
	t.Cleanup(r.close)
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// slow sets how many bytes pass in a second, of each direction of each connection.
func (r *relay) slow(rate int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rate = rate
}

// seen is all that has passed, each direction of each connection by itself.
func (r *relay) seen() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all [][]byte
	for _, b := range r.bytes {
		all = append(all, bytes.Clone(b.Bytes()))
	}
	return all
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for c := range r.open {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

func (r *relay) serve() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.to)
		if err != nil {
			_ = in.Close() // the door is closed just now
			continue
		}
		r.pass(in, out)
		r.pass(out, in)
	}
}

// pass copies one direction until either side ends, then ends both.
func (r *relay) pass(from, to net.Conn) {
	r.mu.Lock()
	kept := new(bytes.Buffer)
	r.bytes = append(r.bytes, kept)
	r.open[from] = true
	r.mu.Unlock()
	r.running.Go(func() {
		_, _ = io.Copy(onlyWriter{to}, &tap{r, from, kept})
		_, _ = from.Close(), to.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, from)
	})
}

// onlyWriter hides ReadFrom, which would read past the tap.
type onlyWriter struct{ io.Writer }

// tap keeps what is read through it, at the relay's rate.
type tap struct {
	relay *relay
	from  io.Reader
	kept  *bytes.Buffer
}

func (t *tap) Read(p []byte) (int, error) {
	t.relay.mu.Lock()
	rate := t.relay.rate
	t.relay.mu.Unlock()
	if rate > 0 {
		p = p[:min(len(p), max(rate/50, 1))]
		time.Sleep(time.Second / 50)
	}
	n, err := t.from.Read(p)
	t.relay.mu.Lock()
	defer t.relay.mu.Unlock()
	t.kept.Write(p[:n])
	return n, err
}
