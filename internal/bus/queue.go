package bus

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
)

// ackEvery is how many may be finished before they are acknowledged; the last one under way always is at once.
const ackEvery = window / 8

// ackWithin is how long what is done may wait for more, to be acknowledged together.
const ackWithin = 100 * time.Millisecond

// maxFlow bounds the questions of flow control that wait for an answer; the server asks one at a time.
const maxFlow = 16

const (
	// maxQueued bounds the bytes of what has arrived and is not done. An honest server sends more only where several
	// publishers flood at once: what is dropped then comes by the direct road, after the next chain index (PROTOCOL 7.5).
	maxQueued = 64 << 20
	// itemBytes is about what one more alert takes in memory, whatever its size.
	itemBytes = 512
	// maxLines bounds the publishers that a server may name.
	maxLines = 1024
)

// queue is what has arrived and is not done. With an honest server the windows of the consumers bound it, with another
// maxQueued.
type queue struct {
	acknowledge func(publisher authority.State, target string)

	mu      sync.Mutex
	some    *sync.Cond
	waiting []*item
	stopped bool
	lines   map[authority.State]*line
	// bytes are those of all items in all lines, and of lines that were given up and still have some under way.
	bytes int
	// dropped is how many did not fit.
	dropped uint64
}

// item is one alert under way.
type item struct {
	arrival Arrival
	line    *line
	number  uint64 // in its publisher's stream
	target  string // what acknowledges it and all before it
	done    bool
	size    int // in maxQueued
}

// line is what is under way of one publisher, since its stream was made.
type line struct {
	// items are in order of number; the oldest is not done.
	items []*item
	// top is the highest number seen and when the server stored it; floor the highest of which all up to it are done.
	top, floor uint64
	stored     int64
	// acked is how many were done since the last acknowledgement, target the newest of them.
	acked  int
	target string
	// due: a later look at it is arranged.
	due bool
	// flow are questions of the server's flow control, to be answered when all that came before is done.
	flow []question
	// pending and heard are the last arrival's.
	pending uint64
	heard   time.Time
}

type question struct {
	after  uint64
	target string
}

func newQueue(acknowledge func(authority.State, string)) *queue {
	q := &queue{acknowledge: acknowledge, lines: map[authority.State]*line{}}
	q.some = sync.NewCond(&q.mu)
	return q
}

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.some.Broadcast()
}

// next waits for an item; nil after stop.
func (q *queue) next() *item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.stopped {
		q.some.Wait()
	}
	if q.stopped {
		return nil
	}
	it := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	return it
}

// delivery is what the server says of a message in the subject of its acknowledgement:
// $JS.ACK.<stream>.<consumer>.<times>.<number>.<consumer's number>.<stored>.<pending>.
type delivery struct {
	publisher authority.State
	// times is how often it was delivered, number its place in the stream and turn in what the consumer delivered.
	times, number, turn, pending uint64
	stored                       int64
}

func parseDelivery(reply string) (delivery, bool) {
	t := strings.Split(reply, ".")
	if len(t) != 9 || t[0] != "$JS" || t[1] != "ACK" {
		return delivery{}, false
	}
	publisher, ok := publisherOf(t[2])
	d, counted := parseCounts(t[4:])
	d.publisher = publisher
	return d, ok && counted
}

// parseCounts reads the last five tokens of an acknowledgement's subject.
func parseCounts(t []string) (delivery, bool) {
	if len(t) != 5 {
		return delivery{}, false
	}
	var d delivery
	var errs [5]error
	d.times, errs[0] = strconv.ParseUint(t[0], 10, 64)
	d.number, errs[1] = strconv.ParseUint(t[1], 10, 64)
	d.turn, errs[2] = strconv.ParseUint(t[2], 10, 64)
	d.stored, errs[3] = strconv.ParseInt(t[3], 10, 64)
	d.pending, errs[4] = strconv.ParseUint(t[4], 10, 64)
	return d, errs == [5]error{} && d.number > 0
}

// take is called for each message in the order of arrival, and only notes it.
func (c *Client) take(m *nats.Msg) {
	if m.Header.Get("Status") != "" && len(m.Data) == 0 {
		c.queue.control(m)
		return
	}
	d, ok := parseDelivery(m.Reply)
	if !ok {
		return
	}
	if dropped := c.queue.add(d, m); dropped&(dropped-1) == 0 && dropped > 0 { // the more, the rarer said
		c.o.Log.Warn("the bus sends more than this node holds in memory; the rest comes by the direct road",
			zap.Stringer("publisher", d.publisher), zap.Uint64("dropped", dropped))
	}
}

// add notes a delivery. Where there is no room it is dropped, and add says how many were until now; 0 = it was not.
func (q *queue) add(d delivery, m *nats.Msg) (dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.line(d.publisher)
	if l != nil && l.another(d) {
		l = &line{}
		q.lines[d.publisher] = l
	}
	if l == nil {
		q.dropped++
		return q.dropped
	}
	l.pending, l.heard = d.pending, time.Now()
	if d.number <= l.floor { // done already; the acknowledgement was lost
		q.acknowledge(d.publisher, m.Reply)
		return 0
	}
	at, known := slices.BinarySearchFunc(l.items, d.number, func(it *item, n uint64) int {
		switch {
		case it.number < n:
			return -1
		case it.number > n:
			return 1
		}
		return 0
	})
	if known {
		// The server tired of waiting. It listens to the newest acknowledgement.
		l.items[at].target = m.Reply
		return 0
	}
	size := m.Size() + itemBytes
	if q.bytes+size > maxQueued {
		q.dropped++
		return q.dropped
	}
	q.bytes += size
	it := &item{arrival: Arrival{Subject: m.Subject, Data: m.Data, Publisher: d.publisher, Pending: d.pending}, line: l,
		number: d.number, target: m.Reply, size: size}
	l.items = slices.Insert(l.items, at, it)
	if d.number > l.top {
		l.top, l.stored = d.number, d.stored
	}
	q.waiting = append(q.waiting, it)
	q.some.Signal()
	return 0
}

// line is that of a publisher; nil where there are too many already.
func (q *queue) line(publisher authority.State) *line {
	l := q.lines[publisher]
	if l == nil && len(q.lines) < maxLines {
		l = &line{}
		q.lines[publisher] = l
	}
	return l
}

// another reports whether a delivery is of another stream than the line, or of a consumer that was made anew and begins:
// they count anew. What a stream stores comes later than what an earlier one did.
func (l *line) another(d delivery) bool {
	return d.number <= l.top && (d.stored > l.stored || (d.turn == 1 && d.number < l.top))
}

// finish acknowledges as far as all is done.
func (q *queue) finish(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := it.line
	it.done = true
	n := 0
	for n < len(l.items) && l.items[n].done {
		l.floor, l.target = l.items[n].number, l.items[n].target
		q.bytes -= l.items[n].size
		n++
	}
	clear(l.items[:n])
	l.items = l.items[n:]
	l.acked += n
	if q.lines[it.arrival.Publisher] != l {
		return // made anew meanwhile: the numbers mean others now
	}
	switch {
	case l.acked == 0:
	case len(l.items) == 0 || l.acked >= ackEvery:
		q.settle(it.arrival.Publisher, l)
	case !l.due:
		l.due = true
		time.AfterFunc(ackWithin, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			l.due = false
			q.settle(it.arrival.Publisher, l)
		})
	}
	q.answer(it.arrival.Publisher, l)
}

// settle acknowledges what is done and was not acknowledged.
func (q *queue) settle(publisher authority.State, l *line) {
	if l.acked > 0 && q.lines[publisher] == l {
		q.acknowledge(publisher, l.target)
		l.acked = 0
	}
}

// settleAll is settle for every publisher, before the connection ends.
func (q *queue) settleAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for publisher, l := range q.lines {
		q.settle(publisher, l)
	}
}

// control takes the server's flow control and heartbeats.
func (q *queue) control(m *nats.Msg) {
	publisher, err := authority.ParseState(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
	target := m.Reply
	if target == "" {
		target = m.Header.Get("Nats-Consumer-Stalled")
	}
	if err != nil || target == "" || len(target) > maxTarget {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.line(publisher)
	if l == nil {
		return
	}
	if len(l.flow) < maxFlow && !slices.ContainsFunc(l.flow, func(f question) bool { return f.target == target }) {
		l.flow = append(l.flow, question{l.top, target})
	}
	q.answer(publisher, l)
}

// answer answers what is due. Late on purpose: what the server may send without an answer is what we hold in memory.
func (q *queue) answer(publisher authority.State, l *line) {
	for len(l.flow) > 0 && (len(l.items) == 0 || l.items[0].number > l.flow[0].after) {
		q.acknowledge(publisher, l.flow[0].target)
		l.flow = l.flow[1:]
	}
}

func (q *queue) expecting(publisher authority.State) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[publisher]
	return l != nil && (len(l.items) > 0 || (l.pending > 0 && time.Since(l.heard) < believed))
}

// lost is how many were dropped.
func (q *queue) lost() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
