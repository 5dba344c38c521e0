package peer

import (
	"context"
	"crypto/sha256"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
)

const (
	// pushWithin is how long one peer may take over one statement.
	pushWithin = 3 * time.Second
	// promptPeers are how many peers a node dials first, drawn at random, within promptWithin. That tells nearly everybody,
	// since whoever is told does the same. The others have their turn after that, a few each second and all within
	// turnsWithin, so that the calls which tell somebody something are not held up by those which do not; by then most
	// peers have called, and are left out.
	promptPeers  = 4
	promptWithin = 400 * time.Millisecond
	turnPace     = 150 * time.Millisecond
	turnsWithin  = 5 * time.Second
	// maxNews bounds what is remembered of restrictions passed on; what is forgotten is mended at the next greeting.
	maxNews = 1024
	// knownFor is how long a restriction that is brought again is answered without a look at its signatures.
	knownFor = time.Minute
)

// spread passes on restrictions that take effect on sight: each once to every peer that is not known to have it.
// DESIGN 6; PROTOCOL 4.6, 10.10.
type spread struct {
	o      MeshOptions
	visits *rounds
	// bounds keeps a state that floods its own restrictions from making everyone call everyone; those that stewards
	// signed are counted apart, or it would delay its own suspension.
	bounds *ration

	mu     sync.Mutex
	news   []*item                           // guarded by mu; oldest first
	coming map[digest]map[authority.Node]int // guarded by mu; who is bringing what at this moment
	turns  map[authority.Node]time.Time      // guarded by mu; when those are dialled that are to be
}

// digest names a statement with its signatures: the same statement with more of them is news again.
type digest [sha256.Size]byte

// item is one restriction on its way.
type item struct {
	digest digest
	signed []byte
	since  time.Time
	// done are peers that have it, or that it was tried to tell.
	done map[authority.Node]bool
}

func newSpread(o MeshOptions) *spread {
	s := &spread{o: o, bounds: newRation(0.2, 64), coming: map[digest]map[authority.Node]int{}, turns: map[authority.Node]time.Time{}}
	s.visits = newRounds(s.visit)
	return s
}

// tell begins to pass on a statement that is in force here.
func (s *spread) tell(signed []byte) {
	now := s.o.Clock()
	st, err := directory.ParseStatement(signed)
	if err != nil {
		return // never: it is in force
	}
	if !s.bounds.allow(source(st), now) {
		s.o.Log.Warn("a restriction is left for the next greetings: there are too many", zap.Stringer("subject", st.Subject()))
		return
	}
	if !s.add(signed, now) {
		return
	}
	peers := s.peers(now)
	s.draw(peers)
	for _, node := range peers {
		s.visits.ask(node)
	}
}

// peers are the others in good standing, in random order.
func (s *spread) peers(now time.Time) []authority.Node {
	var all []authority.Node
	for _, e := range s.o.Current.Load().At(now).Nodes() {
		if e.Node != s.o.Self && e.Status == directory.Active {
			all = append(all, e.Node)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// draw gives each of the peers its turn to be dialled. A turn that was drawn before stands if it is earlier.
func (s *spread) draw(peers []authority.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now() // for waiting alone
	for i, node := range peers {
		after := rand.N(promptWithin)
		if i >= promptPeers {
			after = promptWithin + rand.N(min(turnsWithin-promptWithin, time.Duration(len(peers))*turnPace))
		}
		if had, drawn := s.turns[node]; !drawn || now.Add(after).Before(had) {
			s.turns[node] = now.Add(after)
		}
	}
}

// turn is how long a peer's turn is away; it is drawn anew for the next restriction.
func (s *spread) turn(node authority.Node) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.turns[node]
	delete(s.turns, node)
	return time.Until(at)
}

// source is whose restrictions are counted together.
func source(st directory.Statement) string {
	by := "state "
	if slices.ContainsFunc(st.Signatures(), func(g directory.Signature) bool { return g.Role == directory.RoleSteward }) {
		by = "stewards "
	}
	return by + st.Subject().State().String()
}

// add reports whether the statement is news here.
func (s *spread) add(signed []byte, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := digest(sha256.Sum256(signed))
	if s.find(d) != nil {
		return false
	}
	it := &item{digest: d, signed: signed, since: now, done: map[authority.Node]bool{}}
	for node := range s.coming[d] {
		it.done[node] = true
	}
	if len(s.news) >= maxNews {
		s.news = slices.Delete(s.news, 0, 1)
	}
	s.news = append(s.news, it)
	return true
}

// find must be called with mu held.
func (s *spread) find(d digest) *item {
	for _, it := range slices.Backward(s.news) {
		if it.digest == d {
			return it
		}
	}
	return nil
}

// knows reports whether a statement brought by a peer was just found good, and notes that this peer has it.
func (s *spread) knows(d digest, from authority.Node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.find(d)
	if it == nil {
		return false
	}
	it.done[from] = true
	return s.o.Clock().Sub(it.since) < knownFor
}

// bringing notes that a peer brings a statement, until the function returned is called. What is not found good
// meanwhile leaves no trace.
func (s *spread) bringing(d digest, from authority.Node) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.coming[d] == nil {
		s.coming[d] = map[authority.Node]int{}
	}
	s.coming[d][from]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.coming[d][from]--; s.coming[d][from] <= 0 {
			delete(s.coming[d], from)
		}
		if len(s.coming[d]) == 0 {
			delete(s.coming, d)
		}
	}
}

// watching notes of restrictions that are fetched from a peer that the peer has them.
func (s *spread) watching(from authority.Node, entries iter.Seq2[Entry, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range entries {
			if err == nil && e.Position == 0 {
				defer s.bringing(digest(sha256.Sum256(e.Statement)), from)()
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// visit tells one peer all that it may lack, over one connection.
func (s *spread) visit(ctx context.Context, node authority.Node) {
	if !s.o.Courier.isLive(node) && !s.pause(ctx, node) {
		return
	}
	to, ok := dialable(s.o, node)
	it := s.next(node)
	if !ok || it == nil {
		return
	}
	err := s.o.Courier.reach(ctx, to, func(p peerv1.PeerServiceClient) error {
		for ; it != nil; it = s.next(node) {
			if err := s.push(ctx, node, p, it); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		s.o.Log.Debug("a peer was not told of a restriction", zap.Stringer("peer", node), zap.String("code", fault.CodeOf(err)), zap.Error(err))
		s.giveUp(node)
	}
}

// push hands one statement to one peer. That the peer refuses it is no reason not to tell it the next one.
func (s *spread) push(ctx context.Context, node authority.Node, p peerv1.PeerServiceClient, it *item) error {
	ctx, cancel := context.WithTimeout(ctx, pushWithin)
	defer cancel()
	_, err := p.HandIn(ctx, &peerv1.HandInRequest{Statement: it.signed})
	if err != nil && (fault.Is(err, fault.Retry) || ctx.Err() != nil) {
		return err
	}
	if err != nil {
		s.o.Log.Info("a peer refused a restriction", zap.Stringer("peer", node), zap.String("code", fault.CodeOf(err)))
	}
	return nil
}

// pause waits for the peer's turn to be dialled.
func (s *spread) pause(ctx context.Context, node authority.Node) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(s.turn(node)):
		return true
	}
}

// next is the oldest restriction that a peer was not told yet, counted as told.
func (s *spread) next(node authority.Node) *item {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.news {
		if !it.done[node] {
			it.done[node] = true
			return it
		}
	}
	return nil
}

// giveUp leaves what a peer that does not answer was not told to its next greeting.
func (s *spread) giveUp(node authority.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.news {
		it.done[node] = true
	}
}
