package bus

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/authority"
)

// delivered is a message as the server would send it.
func delivered(times, number, turn, stored int) *nats.Msg {
	return &nats.Msg{Subject: "alert.drugs.trafficking.routine.mx", Data: []byte("x"),
		Reply: fmt.Sprintf("$JS.ACK.ALERT-MX.us--primary.%d.%d.%d.%d.0", times, number, turn, stored)}
}

func (q *queue) hand(t interface{ Fatalf(string, ...any) }, m *nats.Msg) {
	d, ok := parseDelivery(m.Reply)
	if !ok {
		t.Fatalf("%s is not read", m.Reply)
	}
	q.add(d, m)
}

// TestAcknowledgedInOrder: whatever the order in which things are done and delivered again, nothing is acknowledged
// while something at or before it is not done, nothing is handed out twice, and in the end all is acknowledged.
func TestAcknowledgedInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var mu sync.Mutex // the queue also acknowledges from a timer
		done := map[uint64]bool{}
		highest := uint64(0)
		finished := func(number uint64) {
			mu.Lock()
			defer mu.Unlock()
			done[number] = true
		}
		q := newQueue(func(_ authority.State, target string) {
			mu.Lock()
			defer mu.Unlock()
			d, _ := parseDelivery(target)
			for n := uint64(1); n <= d.number; n++ {
				if !done[n] {
					t.Fatalf("acknowledged %d, and %d is not done", d.number, n)
				}
			}
			highest = max(highest, d.number)
		})
		var out []*item
		seen, turn := map[uint64]bool{}, map[int]int{}
		come, turns := 0, 0
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				come++
				turns++
				turn[come] = turns
				q.hand(t, delivered(1, come, turns, come))
			case 2:
				if come > 0 {
					n := rapid.IntRange(1, come).Draw(t, "again")
					turns++
					q.hand(t, delivered(2, n, turns, n))
					if turn[n] > 1 { // and over another connection
						q.hand(t, delivered(1, n, turn[n], n))
					}
				}
			case 3:
				for len(q.waiting) > 0 {
					it := q.next()
					if seen[it.number] {
						t.Fatalf("%d is handed out twice", it.number)
					}
					seen[it.number] = true
					out = append(out, it)
				}
				if len(out) > 0 {
					i := rapid.IntRange(0, len(out)-1).Draw(t, "finish")
					finished(out[i].number)
					q.finish(out[i])
					out = slices.Delete(out, i, i+1)
				}
			}
		}
		for len(q.waiting) > 0 {
			out = append(out, q.next())
		}
		for _, it := range out {
			finished(it.number)
			q.finish(it)
		}
		mu.Lock()
		defer mu.Unlock()
		if highest != uint64(come) {
			t.Fatalf("acknowledged up to %d of %d", highest, come)
		}
		if q.bytes != 0 {
			t.Fatalf("%d bytes are counted in an empty queue", q.bytes)
		}
	})
}

// TestQueueBound: a server that keeps to no window fills no node's memory, neither with large alerts, nor small ones,
// nor publishers that are none. What is dropped is counted, and when there is room again more is taken.
func TestQueueBound(t *testing.T) {
	for _, size := range []int{0, 1 << 20} {
		c := NewClient(ClientOptions{Log: zap.NewNop()})
		body := make([]byte, size)
		most := maxQueued / (size + itemBytes)
		for n := 1; n <= most+2; n++ {
			m := delivered(1, n, n, n)
			m.Data = body
			c.take(m)
		}
		held := len(c.queue.waiting)
		if held == 0 || held > most || c.Status().Dropped != uint64(most+2-held) {
			t.Fatalf("of %d bytes each %d are held of %d, and %d dropped", size, held, most+2, c.Status().Dropped)
		}
		before := c.Status().Dropped
		c.queue.finish(c.queue.next())
		more := delivered(1, most+3, most+3, most+3)
		more.Data = body
		c.take(more)
		if c.Status().Dropped != before || len(c.queue.waiting) != held {
			t.Error("there is room again, and nothing is taken")
		}
	}
	c := NewClient(ClientOptions{Log: zap.NewNop()})
	for n := range 2 * maxLines {
		name := "x-" + string(rune('a'+n/26/26%26)) + string(rune('a'+n/26%26)) + string(rune('a'+n%26))
		c.take(&nats.Msg{Data: []byte("x"), Reply: "$JS.ACK.ALERT-" + strings.ToUpper(name) + ".us--primary.1.1.1.1.0"})
		c.take(&nats.Msg{Subject: "deliver.us.primary." + name, Reply: "$JS.FC.x", Header: nats.Header{"Status": {"100"}}})
	}
	if len(c.queue.lines) != maxLines || c.Status().Dropped != maxLines {
		t.Errorf("%d publishers, %d dropped", len(c.queue.lines), c.Status().Dropped)
	}
}

// TestMadeAnew: a stream or consumer that counts from the beginning again hands out all it has, and what was under way
// before acknowledges nothing of it.
func TestMadeAnew(t *testing.T) {
	var acknowledged []string
	q := newQueue(func(_ authority.State, target string) { acknowledged = append(acknowledged, target) })
	for n := 1; n <= 3; n++ {
		q.hand(t, delivered(1, n, n, n))
	}
	first, second, old := q.next(), q.next(), q.next()
	q.finish(first)
	q.finish(second)
	fresh := delivered(1, 1, 1, 100)
	q.hand(t, fresh)
	q.finish(old)
	if n := len(q.waiting); n != 1 {
		t.Fatalf("%d are waiting, want the new one", n)
	}
	time.Sleep(2 * ackWithin)
	q.mu.Lock()
	if len(acknowledged) != 0 {
		t.Errorf("the old ones acknowledged %q of the new stream", acknowledged)
	}
	q.mu.Unlock()
	q.finish(q.next())
	if len(acknowledged) != 1 || acknowledged[0] != fresh.Reply {
		t.Errorf("acknowledged %q", acknowledged)
	}
}

// TestFlowControl: a question of the server's is answered when all before it is done, and once.
func TestFlowControl(t *testing.T) {
	var said []string
	q := newQueue(func(_ authority.State, target string) { said = append(said, target) })
	ask := &nats.Msg{Subject: "deliver.us.primary.mx", Reply: "$JS.FC.ALERT-MX.us--primary.abc", Header: nats.Header{"Status": {"100"}}}
	stalled := &nats.Msg{Subject: ask.Subject, Header: nats.Header{"Status": {"100"}, "Nats-Consumer-Stalled": {ask.Reply}}}
	q.hand(t, delivered(1, 1, 1, 1))
	q.control(ask)
	q.control(stalled)
	if len(said) != 0 {
		t.Errorf("answered before it was done: %q", said)
	}
	q.finish(q.next())
	if !slices.Contains(said, ask.Reply) || len(said) != 2 {
		t.Errorf("said %q", said)
	}
	q.control(stalled) // the answer was lost
	if len(said) != 3 {
		t.Errorf("said %q", said)
	}
}

// TestDeliveryRefusals: what is not an acknowledgement subject of ours is nothing.
func TestDeliveryRefusals(t *testing.T) {
	for _, reply := range []string{"", "$JS.ACK", "_INBOX.us.primary.x", "$JS.ACK.MINE.us--primary.1.1.1.1.0", "$JS.ACK.ALERT-mx.us--primary.1.1.1.1.0",
		"$JS.ACK.ALERT-MX.us--primary.1.0.1.1.0", "$JS.ACK.ALERT-MX.us--primary.1.-1.1.1.0", "$JS.ACK.ALERT-MX.us--primary.1.1.1.1.0.0"} {
		if _, ok := parseDelivery(reply); ok {
			t.Errorf("%q was read", reply)
		}
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{"mx", "x-rss", "x-a-b"} {
		state, err := authority.ParseState(s)
		if err != nil {
			t.Fatal(err)
		}
		node, err := authority.ParseNode(s + "/node/a-b")
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := publisherOf(streamName(state)); !ok || got != state {
			t.Errorf("%s comes back as %s", s, got)
		}
		if got, ok := nodeOf(consumerName(node)); !ok || got != node {
			t.Errorf("%s comes back as %s", node, got)
		}
	}
	if _, ok := publisherOf("ALERT-mx"); ok {
		t.Error("a stream that is not ours was taken for one")
	}
}

// TestCompress: patterns say exactly what was wanted and covered, and no two overlap.
func TestCompress(t *testing.T) {
	all := []string{"a1.c1", "a1.c2", "a1.c3", "b1.c1", "b1.c2"}
	rapid.Check(t, func(t *rapid.T) {
		wanted := map[string]map[string][]string{"a1": {}, "b1": {}}
		want := map[string]bool{}
		for _, c := range all {
			for _, lane := range lanes() {
				if rapid.Bool().Draw(t, c+lane) {
					want[c+"."+lane] = true
					wanted[c[:2]][c[3:]] = append(wanted[c[:2]][c[3:]], lane)
				}
			}
		}
		patterns := append(compress("a1", wanted["a1"], 3), compress("b1", wanted["b1"], 2)...)
		filters, err := parseFilters(patterns)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			for _, lane := range lanes() {
				n := 0
				for _, f := range filters {
					if f.takes(c[:2], c[3:], lane) {
						n++
					}
				}
				if (n == 1) != want[c+"."+lane] || n > 1 {
					t.Fatalf("%s.%s is matched by %d of %q", c, lane, n, patterns)
				}
			}
		}
	})
}
