package bus

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/enlace-network/enlace/internal/authority"
)

// ackEvery is how many may be finished before they are acknowledged; the last one under way always is at once.
const ackEvery = window / 8

// ackWithin is how long what is done may wait for more, to be acknowledged together.
const ackWithin = 100 * time.Millisecond

// maxFlow bounds the questions of flow control that wait for an answer; the server asks one at a time.
const maxFlow = 16

// queue is what has arrived and is not done. The windows of the consumers bound it.
type queue struct {
	acknowledge func(publisher authority.State, target string)

	mu      sync.Mutex
	some    *sync.Cond
	waiting []*item
	stopped bool
	lines   map[authority.State]*line
}

// item is one alert under way.
type item struct {
	arrival Arrival
	line    *line
	number  uint64 // in its publisher's stream
	target  string // what acknowledges it and all before it
	done    bool
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
	d := delivery{publisher: publisher}
	var errs [5]error
	d.times, errs[0] = strconv.ParseUint(t[4], 10, 64)
	d.number, errs[1] = strconv.ParseUint(t[5], 10, 64)
	d.turn, errs[2] = strconv.ParseUint(t[6], 10, 64)
	d.stored, errs[3] = strconv.ParseInt(t[7], 10, 64)
	d.pending, errs[4] = strconv.ParseUint(t[8], 10, 64)
	return d, ok && errs == [5]error{} && d.number > 0
}

// take is called for each message in the order of arrival, and only notes it.
func (c *Client) take(m *nats.Msg) {
	if m.Header.Get("Status") != "" && len(m.Data) == 0 {
		c.queue.control(m)
		return
	}
	if d, ok := parseDelivery(m.Reply); ok {
		c.queue.add(d, m)
	}
}

func (q *queue) add(d delivery, m *nats.Msg) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[d.publisher]
	if l == nil || l.another(d) {
		l = &line{}
		q.lines[d.publisher] = l
	}
	l.pending, l.heard = d.pending, time.Now()
	if d.number <= l.floor { // done already; the acknowledgement was lost
		q.acknowledge(d.publisher, m.Reply)
		return
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
		return
	}
	it := &item{arrival: Arrival{Subject: m.Subject, Data: m.Data, Publisher: d.publisher, Pending: d.pending}, line: l,
		number: d.number, target: m.Reply}
	l.items = slices.Insert(l.items, at, it)
	if d.number > l.top {
		l.top, l.stored = d.number, d.stored
	}
	q.waiting = append(q.waiting, it)
	q.some.Signal()
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
	if err != nil || target == "" {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[publisher]
	if l == nil {
		l = &line{}
		q.lines[publisher] = l
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
