package bus

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opMail = "use mailbox"
	// answerWithin is how long the hub may take to say how a box stands; the first time it makes it.
	answerWithin = 10 * time.Second
	// maxHeld bounds the bytes of mail that has arrived and is not done; what finds no room comes again.
	maxHeld = 32 << 20
	// mailWorkers is how many boxes are worked on at once: opening and storing costs processor and disk.
	mailWorkers = 4
	// mostTimes is how often what cannot be taken now may come. Then it leaves the box, so that it does not hold its place
	// before others for ever: its sender posts it again.
	mostTimes = 5
)

// Letter is what came out of a box. Nothing of it is trusted but that the server sent it.
type Letter struct {
	// From is the state that the server held the sender to.
	From authority.State
	Kind Kind
	Data []byte
}

// Box is how a box stood when the hub looked. A hint: the hub may say what it likes.
type Box struct {
	// Made differs when the box was lost and made anew: what was in it is gone.
	Made int64
	// Messages and Bytes are in it, of at most MaxMessages and MaxBytes. What is taken leaves it.
	Messages, Bytes, MaxMessages, MaxBytes uint64
}

// Box asks the hub how the box for a node stands, which makes it where there is none. Errors: Retry "bus-away", "timeout"
// where the hub does not answer (one of an earlier version never does), or the hub's own code where it refuses.
// PROTOCOL 10.11.
func (c *Client) Box(ctx context.Context, kind Kind, to authority.Node) (Box, error) {
	text := kind.String() + " " + to.String()
	told := c.asking.join(text)
	defer c.asking.leave(text, told)
	if err := c.Publish(ctx, boxToken+"."+place(c.o.Node), []byte(text)); err != nil {
		return Box{}, err
	}
	t := time.NewTimer(answerWithin)
	defer t.Stop()
	select {
	case a := <-told:
		if a.Refused != "" {
			return Box{}, fault.New(fault.Retry, a.Refused, opMail, "the hub gives no mailbox for that node")
		}
		return Box{a.Made, a.Messages, a.Bytes, a.MaxMessages, a.MaxBytes}, nil
	case <-t.C:
		return Box{}, fault.New(fault.Retry, "timeout", opMail, "the hub does not say how the mailbox stands")
	case <-ctx.Done():
		return Box{}, fault.Wrap(ctx.Err(), fault.Retry, "", opMail, "the call was given up")
	}
}

// Post puts mail into the box for a node, that Box has asked for. On return it is on its way and no more: a box that is
// full, or that does not exist, takes it and says nothing. Errors: those of Publish. PROTOCOL 10.11.
func (c *Client) Post(ctx context.Context, kind Kind, to authority.Node, data []byte) error {
	return c.Publish(ctx, box{kind, to, c.o.Node.State()}.subject(), data)
}

// asking are the questions that wait for an answer, by their text.
type asking struct {
	mu      sync.Mutex
	waiting map[string][]chan answer // guarded by mu
}

func (q *asking) join(text string) chan answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == nil {
		q.waiting = map[string][]chan answer{}
	}
	told := make(chan answer, 1)
	q.waiting[text] = append(q.waiting[text], told)
	return told
}

func (q *asking) leave(text string, told chan answer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.waiting[text][:0]
	for _, w := range q.waiting[text] {
		if w != told {
			left = append(left, w)
		}
	}
	if q.waiting[text] = left; len(left) == 0 {
		delete(q.waiting, text)
	}
}

// answered tells everybody who asked the same.
func (q *asking) answered(m *nats.Msg) {
	var a answer
	if len(m.Data) > 2*maxQuestion || json.Unmarshal(m.Data, &a) != nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, told := range q.waiting[a.Box] {
		select {
		case told <- a:
		default: // answered already
		}
	}
}

// bag is mail that has arrived and is not done: of each box one piece at a time and in order, of several boxes at once.
type bag struct {
	handle  func(ctx context.Context, l Letter) error
	done    func(from authority.State, target string)
	log     *zap.Logger
	ctx     context.Context // of Run; mail arrives for as long as it lasts
	workers chan struct{}
	wg      sync.WaitGroup

	mu    sync.Mutex
	lanes map[laneName]*lane // guarded by mu
	bytes int                // guarded by mu
	shut  bool               // guarded by mu
}

type laneName struct {
	kind Kind
	from authority.State
}

// lane is what waits of one box, the first under way.
type lane struct {
	waiting []*piece
	held    map[uint64]*piece
}

type piece struct {
	letter Letter
	number uint64
	times  uint64
	target string
}

func newBag(ctx context.Context, handle func(context.Context, Letter) error, done func(authority.State, string), log *zap.Logger) *bag {
	return &bag{handle: handle, done: done, log: log, ctx: ctx, workers: make(chan struct{}, mailWorkers), lanes: map[laneName]*lane{}}
}

// take notes a piece and returns at once. What is not the server's word on one of our boxes is passed over.
func (b *bag) take(kind Kind, node authority.Node, m *nats.Msg) {
	from, err := authority.ParseState(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
	if err != nil {
		return
	}
	d, ok := parseTaken(m.Reply, box{kind, node, from}.stream())
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	name := laneName{kind, from}
	l := b.lanes[name]
	if l != nil && l.held[d.number] != nil {
		l.held[d.number].target = m.Reply // the server tired of waiting; it listens to the newest
		return
	}
	if b.shut || b.bytes+len(m.Data) > maxHeld || (l == nil && len(b.lanes) >= maxLines) {
		return // not acknowledged: it comes again
	}
	begin := l == nil
	if begin {
		l = &lane{held: map[uint64]*piece{}}
		b.lanes[name] = l
	}
	p := &piece{Letter{from, kind, m.Data}, d.number, d.times, m.Reply}
	l.waiting, l.held[d.number] = append(l.waiting, p), p
	b.bytes += len(m.Data)
	if begin {
		b.wg.Go(func() { b.empty(name, l) })
	}
}

// parseTaken reads the acknowledgement's subject of a message out of that stream.
func parseTaken(reply, stream string) (delivery, bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK."+stream+"."+boxToken+".")
	if !ok || len(reply) > maxTarget {
		return delivery{}, false
	}
	return parseCounts(strings.Split(rest, "."))
}

// empty handles what is in a lane until nothing is.
func (b *bag) empty(name laneName, l *lane) {
	for {
		b.mu.Lock()
		if len(l.waiting) == 0 || b.shut {
			delete(b.lanes, name)
			b.mu.Unlock()
			return
		}
		p := l.waiting[0]
		l.waiting = l.waiting[1:]
		b.mu.Unlock()
		settled := b.one(p)
		b.mu.Lock()
		b.bytes -= len(p.letter.Data)
		target := p.target
		delete(l.held, p.number)
		b.mu.Unlock()
		if settled {
			// If the machine stops before, it comes again and finds itself done.
			b.done(name.from, target)
		}
	}
}

// one hands a piece over and reports whether it may leave its box.
func (b *bag) one(p *piece) bool {
	b.workers <- struct{}{}
	defer func() { <-b.workers }()
	err := b.handle(b.ctx, p.letter)
	switch {
	case err == nil:
		return true
	case b.ctx.Err() != nil, fault.Is(err, fault.Retry) && p.times < mostTimes:
		return false
	}
	b.log.Info("mail was dropped", zap.Stringer("from", p.letter.From), zap.Stringer("box", p.letter.Kind),
		zap.String("code", fault.CodeOf(err)), zap.Error(err))
	return true
}

// stop waits for what is under way. The rest comes again.
func (b *bag) stop() {
	b.mu.Lock()
	b.shut = true
	b.mu.Unlock()
	b.wg.Wait()
}
