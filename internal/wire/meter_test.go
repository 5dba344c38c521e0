package wire

import (
	"context"
	"slices"
	"testing"
	"time"
)

// frames is a meter that has a load on stream 1, after it has read those bytes in pieces of n.
func frames(data []byte, n int) (*meter, *load) {
	m := newMeter(nil)
	l := &load{shares: []*share{{limit: 1 << 40}}, cut: func(error) {}}
	m.loads[1] = l
	for piece := range slices.Chunk(data, n) {
		m.scan(piece)
	}
	return m, l
}

func TestMeterCounts(t *testing.T) {
	data := append(make([]byte, preface), 0, 0, 2, frameHeads, 0, 0, 0, 0, 3, 'h', 'h')
	data = append(data, 0, 0, 5, frameData, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5)
	data = append(data, 0, 0, 1, frameData, 0, 0, 0, 0, 3, 1)
	m, l := frames(data, 4)
	if l.bytes != 5 || l.extra != perFrame || m.opening != 3 {
		t.Errorf("%d bytes, %d extra, stream %d; want 5, %d, 3", l.bytes, l.extra, m.opening, perFrame)
	}
}

// What is held is given back, whether the messages came whole, in parts or never.
func TestLoadIsGivenBack(t *testing.T) {
	all := &share{limit: 10 << 10}
	cut := 0
	l := &load{stream: true, shares: []*share{all, {limit: 1000}}, cut: func(error) { cut++ }}
	l.add(500)
	l.add(300) // beyond the second share, and so nowhere
	if held := all.held.Load(); held != 500+perFrame || cut != 1 {
		t.Errorf("%d held and %d cut, want %d and 1", held, cut, 500+perFrame)
	}
	l.settle(250)
	if held := all.held.Load(); held != 250+perFrame/2 {
		t.Errorf("half a message settled: %d held, want %d", held, 250+perFrame/2)
	}
	l.end()
	l.end()
	l.add(100)
	l.settle(100)
	if held := all.held.Load(); held != 0 {
		t.Errorf("after the end %d held, want 0", held)
	}
}

// FuzzMeter: whatever comes, in whatever pieces, counts the same.
func FuzzMeter(f *testing.F) {
	f.Add(append(make([]byte, preface), 0, 0, 5, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 0, 0, 0, 1, 4, 0, 0, 0, 3), 3)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 1 {
			t.Skip()
		}
		whole, a := frames(data, max(1, len(data)))
		parts, b := frames(data, n)
		if a.bytes != b.bytes || a.extra != b.extra || whole.opening != parts.opening || whole.skip != parts.skip {
			t.Errorf("whole: %d, %d, %d, %d; in pieces of %d: %d, %d, %d, %d", a.bytes, a.extra, whole.opening, whole.skip,
				n, b.bytes, b.extra, parts.opening, parts.skip)
		}
	})
}

// A connection's loads are gone with their calls.
func TestMeterForgets(t *testing.T) {
	m := newMeter(nil)
	ctx, cancel := context.WithCancel(context.Background())
	m.open(ctx, &load{shares: []*share{{limit: 1}}})
	if len(m.loads) != 1 {
		t.Fatalf("%d loads, want 1", len(m.loads))
	}
	cancel()
	for range 1000 {
		m.mu.Lock()
		n := len(m.loads)
		m.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the load of an ended call stays")
}
