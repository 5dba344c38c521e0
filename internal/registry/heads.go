package registry

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	opCosign = "take cosignature"
	// maxRounds is how many heads may wait for cosignatures at once. Each change of the directory makes one, and the
	// answers to an earlier one are on their way.
	maxRounds   = 64
	settledFile = "head"
)

// heads collects cosignatures of the hub's heads until they are confirmed. PROTOCOL 11.6, 11.8. What it keeps is
// bounded by the directory: two lines at most of each state, verified before they are kept.
type heads struct {
	book *book
	now  func() time.Time
	// keep puts a confirmed head on stable storage.
	keep func(note []byte) error

	mu      sync.Mutex
	rounds  []*round      // guarded by mu; heads under way, ascending in size
	settled *round        // guarded by mu; the newest confirmed head; nil before the first
	number  uint64        // guarded by mu; of the newest question or answer
	news    chan struct{} // guarded by mu; closed at the next of either
	others  [][]byte      // guarded by mu; lines of third parties on settled's checkpoint
	// served is what newest made of all that, until something of it changes: strangers ask for it as often as they like.
	served directory.Head // guarded by mu
}

// round is one head on its way to be confirmed.
type round struct {
	head  directory.Head // as the log signed it
	votes map[voter][]byte
	// asked is the number of the question; of a settled round, that of the answer.
	asked uint64
	// lean is the head with as many lines as confirm it after before; both of a settled round alone.
	lean   directory.Head
	before *directory.Snapshot
}

// voter is a place for a line. A state has one among the witnesses at the head's size, and one among those before.
type voter struct {
	state authority.State
	past  bool
}

// ask begins a round: the head is put to all followers. One that needs nobody is confirmed at once. Asked again, an
// unconfirmed head keeps the lines that it has, and a confirmed one wants new ones.
func (h *heads) ask(head directory.Head) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.book.witnesses(head.Position())
	if j := at.Judge(head, h.before(), h.now()); j.Confirmed {
		if h.settled != nil && h.settled.head.Size == head.Size {
			return nil // and nobody could say so anew
		}
		return h.settle(&round{head: head, votes: map[voter][]byte{}}, j)
	}
	r := h.under(head.Size)
	if r == nil {
		r = &round{head: head, votes: map[voter][]byte{}}
		h.rounds = append(h.rounds, r)
	}
	if len(h.rounds) > maxRounds {
		h.rounds = slices.Clone(h.rounds[1:])
	}
	r.asked = h.tell()
	return nil
}

// tell must be called with mu held; it gives the next number.
func (h *heads) tell() uint64 {
	h.number++
	h.served = directory.Head{}
	if h.news != nil {
		close(h.news)
		h.news = nil
	}
	return h.number
}

// changed is closed at the next change. Take it before anything else.
func (h *heads) changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.news == nil {
		h.news = make(chan struct{})
	}
	return h.news
}

// under is the round of a size under way.
func (h *heads) under(size int64) *round {
	for _, r := range h.rounds {
		if r.head.Size == size {
			return r
		}
	}
	return nil
}

// before is the log as confirmed; nil where nothing is.
func (h *heads) before() *directory.Snapshot {
	if h.settled == nil {
		return nil
	}
	return h.book.witnesses(h.settled.head.Position())
}

// cosign takes a node's line on the head of a size. A line on a head that nobody asks about any more is passed over, and one
// of a node that does not witness that head.
// Errors: Denied "not-allowed" for the name of another, Invalid "bad-signature" where it does not count.
func (h *heads) cosign(node authority.Node, size int64, line []byte) error {
	s, err := merkle.ParseLine(line)
	if err != nil {
		return err
	}
	if s.Name != node.String() {
		return fault.New(fault.Denied, "not-allowed", opCosign, "a node cosigns in its own name")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.under(size)
	if r == nil && h.settled != nil && h.settled.head.Size == size {
		r = h.settled
	}
	if r == nil || !slices.ContainsFunc(h.judges(r), func(s *directory.Snapshot) bool { return witnesses(s, node) }) {
		return nil
	}
	past, err := h.counts(r, line)
	if err != nil {
		return err
	}
	of := voter{node.State(), past}
	_, had := r.votes[of]
	r.votes[of], h.served = bytes.Clone(line), directory.Head{}
	if r == h.settled {
		if !had { // one more vote, for who needs more than the others did; the same once more helps nobody
			h.tell()
		}
		return nil
	}
	return h.count(r)
}

// judges are the logs whose witnesses count on a head: that at its size, and that confirmed before if there is one.
func (h *heads) judges(r *round) []*directory.Snapshot {
	before := h.before()
	if r == h.settled {
		before = r.before
	}
	all := []*directory.Snapshot{h.book.witnesses(r.head.Position())}
	if before != nil {
		all = append(all, before)
	}
	return all
}

func witnesses(s *directory.Snapshot, node authority.Node) bool {
	return slices.ContainsFunc(s.Witnesses(), func(w directory.Witness) bool { return w.Node == node })
}

// counts verifies one line, and says whether it counts among those who witnessed before alone.
func (h *heads) counts(r *round, line []byte) (bool, error) {
	with, err := r.head.With(line)
	if err != nil {
		return false, err
	}
	for i, s := range h.judges(r) {
		// A settled head may bear other lines already.
		voted := s.Judge(with, nil, h.now()).Cosignatures
		if slices.ContainsFunc(voted, func(l []byte) bool { return bytes.Equal(l, line) }) {
			return i == 1, nil
		}
	}
	return false, fault.New(fault.Invalid, "bad-signature", opCosign, "the cosignature is none of that node's witness key on that head, or of another time").
		WithHint("compare the clocks of both machines")
}

// count looks whether a round is over.
func (h *heads) count(r *round) error {
	at := h.book.witnesses(r.head.Position())
	states := 0
	for v := range r.votes {
		if !v.past {
			states++
		}
	}
	// Cheap to tell; the rest verifies every line.
	if needed := at.Judge(r.head, nil, time.Time{}).Needed; states < needed {
		return nil
	}
	with, err := r.head.With(r.lines()...)
	if err != nil {
		return err
	}
	if j := at.Judge(with, h.before(), h.now()); j.Confirmed {
		return h.settle(r, j)
	}
	return nil
}

// lines are those of a round, one of a state: where it has one among the witnesses now, that counts before too. A head has
// room for 99. PROTOCOL 11.6.
func (r *round) lines() [][]byte {
	var all [][]byte
	for v, line := range r.votes {
		if _, now := r.votes[voter{state: v.state}]; !v.past || !now {
			all = append(all, line)
		}
	}
	slices.SortFunc(all, bytes.Compare)
	return all
}

// settle makes a round the newest confirmed head: decide, commit, tell.
func (h *heads) settle(r *round, j directory.Judgement) error {
	lean, err := r.head.With(j.Cosignatures...)
	if err != nil {
		return err
	}
	if err := h.keep(lean.Note()); err != nil { // commit
		return err
	}
	// If the machine stops here the head is served at the next start.
	r.before, r.lean = h.before(), lean
	h.rounds = slices.DeleteFunc(h.rounds, func(o *round) bool { return o.head.Size <= r.head.Size })
	h.settled, h.others = r, nil
	r.asked = h.tell()
	return nil
}

// resume takes a confirmed head from before, or from a node that gave it back.
func (h *heads) resume(head directory.Head) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rounds = slices.DeleteFunc(h.rounds, func(o *round) bool { return o.head.Size <= head.Size })
	h.settled = &round{head: head, lean: head, votes: map[voter][]byte{}, asked: h.tell()}
	h.others = nil
}

// newest is the newest confirmed head with all its lines, or else the newest; zero if there is none. PROTOCOL 11.10.
func (h *heads) newest() directory.Head {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.served.IsZero():
	case h.settled != nil:
		h.served = h.settled.full(h.others...)
	case len(h.rounds) > 0:
		h.served = h.rounds[len(h.rounds)-1].full()
	}
	return h.served
}

// full is the head with all lines that fit, the lean ones first of all.
func (r *round) full(others ...[]byte) directory.Head {
	base := r.head
	if !r.lean.IsZero() {
		base = r.lean
	}
	have := string(base.Note())
	for _, line := range append(r.lines(), others...) {
		if strings.Contains(have, string(line)) {
			continue
		}
		if more, err := base.With(line); err == nil {
			base = more
		}
	}
	return base
}

// told is what one follower was told of heads, and holds.
type told struct {
	asked, settled uint64
	// holds is the size up to which the follower has confirmed the log, as far as we know.
	holds uint64
	// note is the head it came with.
	note []byte
	// stuck: it got the newest confirmed head and cannot confirm it with the lines there are.
	stuck bool
}

// next are the heads that a follower has to be sent now, who has the log up to a position.
func (t *told) next(h *heads, position uint64) []directory.Head {
	h.mu.Lock()
	defer h.mu.Unlock()
	var send []directory.Head
	if s := h.settled; s != nil && s.head.Position() <= position && (s.asked > t.settled || t.stuck) {
		if head, news := t.fitting(h.book, s); news {
			send = append(send, head)
		}
		t.settled = s.asked
	}
	if len(h.rounds) == 0 {
		return send
	}
	if r := h.rounds[len(h.rounds)-1]; r.asked > t.asked && r.head.Position() <= position {
		t.asked = r.asked
		send = append(send, r.head)
	}
	return send
}

// fitting is the confirmed head with as many lines as this follower needs. Who was away while witnesses changed may need
// others than those who were there; where they have not come yet, it gets what there is, and more when that helps.
func (t *told) fitting(b *book, s *round) (directory.Head, bool) {
	if bytes.Equal(t.note, s.lean.Note()) {
		t.holds = s.head.Position()
		return s.lean, false
	}
	had, first := b.witnesses(t.holds), s.asked > t.settled
	at := b.witnesses(s.head.Position())
	if had == nil || had == s.before || had == at || at.Judge(s.lean, had, time.Time{}).Confirmed {
		t.holds, t.stuck = s.head.Position(), false
		return s.lean, true
	}
	full := s.full()
	if t.stuck = !at.Judge(full, had, time.Time{}).Confirmed; t.stuck {
		return s.lean, first
	}
	t.holds = s.head.Position()
	return full, true
}
