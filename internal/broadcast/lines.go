package broadcast

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const (
	// gather is how many alerts are told of at once at the latest.
	gather     = 128
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// firstStall is how soon a member is asked again that has not said that it has everything; then twice as long, to
	// lastRetry, which is how often it is told while there is news (DESIGN 8).
	firstStall = 2 * time.Second
	// longestPause bounds the time between two indexes, however many members there are.
	longestPause = 5 * time.Second
	// company is how long the first alert after a quiet time waits for others.
	company = 200 * time.Millisecond
	// reissueRetry is how long after a failure alerts are issued again to newcomers.
	reissueRetry = 30 * time.Second
	// tellers bounds how many members are told at once.
	tellers = 32
)

// lines is what has to be told to whom, and when. All of it can be lost: it follows from the ledger.
type lines struct {
	b    *Broadcaster
	wake chan struct{}
	// newcomers is a word that there is something in again; holds one.
	newcomers chan struct{}
	slots     chan struct{}
	wg        sync.WaitGroup
	mu        sync.Mutex
	nodes     map[authority.Node]*line      // guarded by mu
	fresh     map[message.Digest]*freshness // guarded by mu
	last      map[message.Digest]time.Time  // guarded by mu; when members were told last
	again     map[message.Digest]bool       // guarded by mu; audiences whose alerts in force are to be issued again
	full      bool                          // guarded by mu; read everything from the ledger
}

// freshness is what was published to an audience since its members were told, and when they are to be.
type freshness struct {
	count int
	at    time.Time
}

// line is one member node.
type line struct {
	due      map[message.Digest]time.Time
	stalls   map[message.Digest]int
	running  bool
	failures int
	// notBefore holds everything back after a failure.
	notBefore time.Time
}

func newLines(b *Broadcaster) *lines {
	return &lines{b: b, wake: make(chan struct{}, 1), newcomers: make(chan struct{}, 1), slots: make(chan struct{}, tellers), nodes: map[authority.Node]*line{},
		fresh: map[message.Digest]*freshness{}, last: map[message.Digest]time.Time{}, again: map[message.Digest]bool{}, full: true}
}

// node is called with mu held.
func (l *lines) node(n authority.Node) *line {
	x := l.nodes[n]
	if x == nil {
		x = &line{due: map[message.Digest]time.Time{}, stalls: map[message.Digest]int{}}
		l.nodes[n] = x
	}
	return x
}

// put is called with mu held: an audience is due at a time, or before.
func (x *line) put(id message.Digest, at time.Time) {
	if old, ok := x.due[id]; !ok || at.Before(old) {
		x.due[id] = at
	}
}

// all makes an audience due for nodes at a time.
func (l *lines) all(id message.Digest, nodes []authority.Node, at time.Time) {
	l.mu.Lock()
	for _, n := range nodes {
		l.node(n).put(id, at)
	}
	l.mu.Unlock()
	poke(l.wake)
}

// news notes that an alert was published. Its members are told with others, or at once.
func (l *lines) news(id message.Digest, nodes []authority.Node, urgent bool) {
	now := l.b.Clock()
	l.mu.Lock()
	f := l.fresh[id]
	if f == nil {
		pause := l.spacing(len(nodes)) * time.Duration(len(nodes))
		f = &freshness{at: now.Add(min(company, pause))}
		if after := l.last[id].Add(pause); after.After(f.at) {
			f.at = after
		}
		l.fresh[id] = f
	}
	f.count++
	at := f.at
	first := f.count == 1
	if urgent || f.count >= gather || !at.After(now) {
		at, first = now, true
		delete(l.fresh, id)
	}
	if first {
		for i, n := range nodes {
			x := l.node(n)
			if urgent {
				x.put(id, at)
			} else {
				// One after the other: all at once would stand in the way of the alerts themselves.
				x.put(id, at.Add(l.spacing(len(nodes))*time.Duration(i)))
			}
			delete(x.stalls, id)
			if urgent {
				x.notBefore = time.Time{} // once, whatever failed before
			}
		}
	}
	l.mu.Unlock()
	if first {
		poke(l.wake)
	}
}

// spacing is the time between telling two members of so many.
func (l *lines) spacing(members int) time.Duration {
	return min(l.b.Flush, longestPause/time.Duration(max(members, 1)))
}

// Heard makes what waits for a node due at once: it has just been reached, or has reached us.
func (b *Broadcaster) Heard(n authority.Node) {
	l := b.lines
	l.mu.Lock()
	x, ok := l.nodes[n]
	if ok {
		x.failures, x.notBefore = 0, time.Time{}
		for id := range x.due {
			x.due[id] = b.Clock()
		}
	}
	l.mu.Unlock()
	if ok {
		poke(l.wake)
	}
}

// everything reads from the ledger who has to be told of what.
func (l *lines) everything() {
	l.mu.Lock()
	l.full = true
	l.mu.Unlock()
	poke(l.wake)
}

// reissue notes that alerts in force are to be issued again to who joined.
func (l *lines) reissue(id message.Digest) {
	l.mu.Lock()
	l.again[id] = true
	l.mu.Unlock()
	poke(l.newcomers)
}

func (l *lines) run(ctx context.Context) {
	defer l.wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		l.chores(ctx)
		timer.Reset(l.start(ctx))
	}
}

// chores reads everything from the ledger where that is wanted.
func (l *lines) chores(ctx context.Context) {
	l.mu.Lock()
	full := l.full
	l.full = false
	l.mu.Unlock()
	if !full {
		return
	}
	if err := l.load(ctx); err != nil && ctx.Err() == nil {
		l.b.Log.Error("the members of audiences cannot be read", zap.Error(err))
		l.everything()
	}
}

// reissuing gives newcomers what is in force, apart from the lines: it may be much.
func (l *lines) reissuing(ctx context.Context) {
	for {
		l.mu.Lock()
		again := l.again
		l.again = map[message.Digest]bool{}
		l.mu.Unlock()
		for id := range again {
			if err := l.b.reissue(ctx, id); err != nil && ctx.Err() == nil {
				l.b.Log.Error("alerts in force could not be issued again", zap.Error(err))
				time.AfterFunc(reissueRetry, func() { l.reissue(id) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-l.newcomers:
		}
	}
}

// load finds every member that has not confirmed everything.
func (l *lines) load(ctx context.Context) error {
	due := map[message.Digest][]authority.Node{}
	err := l.b.Ledger.View(ctx, func(r ledger.Reader) error {
		all, err := r.Broadcasts()
		if err != nil {
			return err
		}
		for _, row := range all {
			members, err := r.Members(row.Audience)
			if err != nil {
				return err
			}
			for _, m := range members {
				if m.Removed.IsZero() && (m.Epoch < row.Epoch || (m.Position < row.Last && m.First <= row.Last)) {
					due[row.Audience] = append(due[row.Audience], m.Node)
				}
			}
		}
		return nil
	})
	for id, nodes := range due {
		l.all(id, nodes, l.b.Clock())
		l.reissue(id)
	}
	return err
}

// start tells every node that is due, and returns how long to wait for the next.
func (l *lines) start(ctx context.Context) time.Duration {
	now := l.b.Clock()
	next := now.Add(time.Minute)
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, x := range l.nodes {
		if x.running || len(x.due) == 0 {
			continue
		}
		at := x.next()
		if at.After(now) {
			if at.Before(next) {
				next = at
			}
			continue
		}
		select {
		case l.slots <- struct{}{}:
		default:
			return firstRetry // whoever ends gives a word
		}
		x.running = true
		ids := x.take(now)
		for _, id := range ids {
			delete(l.fresh, id)
			l.last[id] = now
		}
		l.wg.Go(func() { l.serve(ctx, n, ids) })
	}
	return max(next.Sub(now), time.Millisecond)
}

// next is called with mu held: when the line has something to say.
func (x *line) next() time.Time {
	var first time.Time
	for _, at := range x.due {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.Before(x.notBefore) {
		return x.notBefore
	}
	return first
}

// take is called with mu held: what is due, removed from the line.
func (x *line) take(now time.Time) []message.Digest {
	var ids []message.Digest
	for id, at := range x.due {
		if !at.After(now) {
			ids = append(ids, id)
			delete(x.due, id)
		}
	}
	return ids
}

// serve tells one node of audiences, one after the other.
func (l *lines) serve(ctx context.Context, n authority.Node, ids []message.Digest) {
	defer func() { <-l.slots; poke(l.wake) }()
	for i, id := range ids {
		done, err := l.b.tell(ctx, n, id)
		if err != nil {
			l.failed(ctx, n, ids[i:], err)
			return
		}
		l.told(n, id, done)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.node(n)
	x.running, x.failures, x.notBefore = false, 0, time.Time{}
}

// told notes how a member answered: everything, or something is still on its way.
func (l *lines) told(n authority.Node, id message.Digest, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.node(n)
	if done {
		delete(x.stalls, id)
		return
	}
	wait := min(firstStall<<min(x.stalls[id], 12), lastRetry)
	x.stalls[id]++
	x.put(id, l.b.Clock().Add(wait))
}

// failed puts off what could not be told: doubling from a second to five minutes, with jitter. Where the node itself has
// answered, only the audience at fault waits; where it cannot be reached, all do.
func (l *lines) failed(ctx context.Context, n authority.Node, ids []message.Digest, err error) {
	if ctx.Err() == nil {
		l.b.Log.Info("a member could not be told of alerts", zap.Stringer("node", n), zap.String("code", fault.CodeOf(err)), zap.Error(err))
		l.b.note(ctx, n, ids, err)
	}
	now := l.b.Clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.node(n)
	x.running = false
	wait := min(firstRetry<<min(x.failures, 12), lastRetry)
	wait = wait/2 + rand.N(wait)
	x.failures++
	if fault.Is(err, fault.Retry) {
		x.notBefore = now.Add(wait)
	}
	for i, id := range ids {
		at := now
		if i == 0 {
			at = now.Add(wait)
		}
		x.put(id, at)
	}
}
