package torture

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// weather is what a relay does to what passes. The zero value lets everything through.
type weather struct {
	cut bool // no connection lives
	// mute drops what the door answers.
	mute  bool
	delay time.Duration // of each piece
	rate  int           // bytes per second and direction; 0 = no bound
	// flip changes one bit of each so many bytes; 0 = none.
	flip int
}

const piece = 16 << 10 // bytes read at once

// relay stands before a door and passes connections on, in its weather.
type relay struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu      sync.Mutex
	weather weather           // guarded by mu
	changed chan struct{}     // guarded by mu; closed when the weather changes
	open    map[net.Conn]bool // guarded by mu
}

func newRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, failed("open relay", err)
	}
	r := &relay{listener: l, to: to, changed: make(chan struct{}), open: map[net.Conn]bool{}}
	r.running.Go(r.serve)
	return r, nil
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// set changes the weather. A cut, and the end of a mute spell, end all connections: their ends cannot know what was lost.
func (r *relay) set(w weather) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.cut || r.weather.mute {
		r.hangUp()
	}
	r.weather = w
	close(r.changed)
	r.changed = make(chan struct{})
}

// hangUp must be called with mu held.
func (r *relay) hangUp() {
	for c := range r.open {
		_ = c.Close()
	}
}

func (r *relay) now() (weather, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.weather, r.changed
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.hangUp()
	r.mu.Unlock()
	r.running.Wait()
}

func (r *relay) serve() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		if w, _ := r.now(); w.cut {
			_ = in.Close()
			continue
		}
		out, err := net.DialTimeout("tcp", r.to, time.Second)
		if err != nil {
			_ = in.Close() // the door is closed just now
			continue
		}
		r.pass(in, out, false)
		r.pass(out, in, true)
	}
}

// pass copies one direction until either side ends, then ends both.
func (r *relay) pass(from, to net.Conn, answers bool) {
	r.mu.Lock()
	r.open[from] = true
	r.mu.Unlock()
	r.running.Go(func() {
		r.copy(from, to, answers)
		_, _ = from.Close(), to.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, from)
	})
}

func (r *relay) copy(from io.Reader, to io.Writer, answers bool) {
	buf := make([]byte, piece)
	sinceFlip := 0
	for {
		w, changed := r.now()
		part := buf
		if w.rate > 0 {
			part = buf[:min(max(w.rate/20, 1), piece)]
		}
		n, err := from.Read(part)
		if err != nil {
			return
		}
		part = part[:n]
		wait(changed, w.delay+w.time(n))
		if w, _ = r.now(); w.flip > 0 {
			if sinceFlip += n; sinceFlip >= w.flip {
				sinceFlip = 0
				part[rand.IntN(n)] ^= 1 << rand.IntN(8)
			}
		}
		if answers && w.mute {
			continue
		}
		if _, err := to.Write(part); err != nil {
			return
		}
	}
}

// time is how long so many bytes take.
func (w weather) time(n int) time.Duration {
	if w.rate == 0 {
		return 0
	}
	return time.Duration(n) * time.Second / time.Duration(w.rate)
}

// wait lets some time pass, or until the weather changes.
func wait(changed <-chan struct{}, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
}
