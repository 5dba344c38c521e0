package directory

import (
	"fmt"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// Terms of suspensions, and how far a signer's clock may be ahead. PROTOCOL 4.6, 4.7.
const (
	// MaxSuspension is the longest suspension by k of n stewards.
	MaxSuspension = 30 * 24 * time.Hour
	// MaxLoneSuspension is the longest suspension by fewer.
	MaxLoneSuspension = 72 * time.Hour
	// LoneInterval is the least time between the starts of two suspensions of one subject by fewer than k stewards.
	LoneInterval = 30 * 24 * time.Hour
	// Skew is how far ahead a clock may be.
	Skew = 5 * time.Minute
)

// maxUnlogged bounds the suspensions of one subject, on one kind of word, that only were seen. Kinds are counted apart:
// a state that piles up suspensions of its own must not keep out those of the stewards.
const maxUnlogged = 32

// suspender is on whose word a suspension stands.
type suspender uint8

const (
	bySelf     suspender = iota // the state
	byStewards                  // k of n
	byFewer                     // fewer than k
)

// maxOwn bounds the suspensions in the log that are kept of one subject on its state's word, which alone says them
// without end: each costs every reader a look at all the others.
const maxOwn = 128

// restrictions are what bars one subject.
type restrictions struct {
	// ended is its retirement or revocation.
	ended       mark
	suspensions []suspension
	// Suspensions made at or before these positions are over, whether or not they were known: an old one
	// cannot be replayed.
	overStewards, overSelf uint64
	// lone is the last logged suspension by fewer than k stewards, reinstated or not.
	lone lone
}

type suspension struct {
	hash       Hash
	by         suspender
	start, end int64
	// position is the one it was made at.
	position uint64
	logged   bool
}

type lone struct {
	start, end int64 // 0 = there was none
	confirmed  bool  // by k of n
}

// Restrict applies a restricting statement on sight: before it is logged, whatever its chain. It is marked
// unconfirmed until Apply takes the same statement from the log. It returns s itself when the statement adds nothing
// (known, or the subject has ended anyway), so the caller passes on what is new and nothing else. Run CheckOnSight first.
//
// Errors: Invalid ("not-restricting", "bad-signature"), Denied and Retry as Apply, Retry "too-many". PROTOCOL 4.6.
func Restrict(s *Snapshot, st Statement) (*Snapshot, error) { return RestrictAt(s, st, 0) }

// RestrictAt is Restrict for a reader whose own log has reached a position that may be beyond the snapshot's, which is
// of the confirmed log: a restriction made at a position that no head confirms yet is in force all the same.
// PROTOCOL 4.6, 11.8.
func RestrictAt(s *Snapshot, st Statement, reached uint64) (*Snapshot, error) {
	if s == nil || !st.Restricting() {
		return nil, wrong("not-restricting", "only a restricting statement takes effect before it is logged")
	}
	read := *s
	read.position = max(read.position, reached)
	if err := read.expects(st); err != nil {
		return nil, err
	}
	c := s.change(st, seen)
	err := c.restrict()
	if fault.CodeOf(err) == codeNothing {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	return c.next, nil
}

// CheckOnSight holds a statement that came from outside the log against the clock: its start lies in the future, as far
// as this clock can tell (Retry "future"), or it has lapsed (Conflict "lapsed"). PROTOCOL 4.6.
func CheckOnSight(st Statement, now time.Time) error {
	if st.Created().After(now.Add(Skew)) {
		return fault.New(fault.Retry, "future", opApply, "the statement was made in the future, by this clock").
			WithHint("compare the clocks of both machines")
	}
	if s, ok := st.body.(Suspension); ok && !s.End.After(now) {
		return conflict("lapsed", "the suspension is over")
	}
	return nil
}

// codeNothing is a restriction that adds nothing to what is known; for the log it is a duplicate.
const codeNothing = "duplicate"

func nothingNew() error { return conflict(codeNothing, "the restriction is known already") }

// restrict applies a restricting statement, on sight or from the log.
func (c *change) restrict() error {
	r, ok := c.next.record(c.st.subject)
	if !ok {
		return unknownSubject()
	}
	switch body := c.st.body.(type) {
	case Retirement:
		return c.end(r)
	case Revocation:
		if body.Key != (authority.Fingerprint{}) {
			return c.revokeKey(body.Key)
		}
		return c.end(r)
	case Suspension:
		return c.suspend(r, body)
	case Veto:
		return c.veto(body)
	}
	return wrong("unknown-kind", "this version cannot apply a statement of that kind")
}

// end retires an authority or revokes a node, for good. PROTOCOL 4.5, 4.6.
func (c *change) end(r record) error {
	if err := c.st.signedBy(c.next.byState(c.st.subject.state, c.basis)); err != nil {
		return err
	}
	if r.limits.ended.on(c.basis) {
		return nothingNew()
	}
	r.limits.ended = c.mark()
	c.put(r)
	return nil
}

// revokeKey ends one key of the subject, rotated or not. PROTOCOL 4.14.
func (c *change) revokeKey(f authority.Fingerprint) error {
	if err := c.st.signedBy(c.next.byState(c.st.subject.state, c.basis)); err != nil {
		return err
	}
	old, ok := c.next.keys.get(f)
	// The keys of a recovery are no business of the old ones until it takes effect. PROTOCOL 4.20.
	if !ok || old.owner != c.st.subject || old.recovering {
		return denied("unknown-key", "the key is not one of the subject's")
	}
	if old.revoked.on(c.basis) {
		return nothingNew()
	}
	c.changeKey(f, func(k *keyRecord) { k.revoked = c.mark() })
	return nil
}

// suspend bars the subject for a time. PROTOCOL 4.7.
func (c *change) suspend(r record, body Suspension) error {
	by, err := c.suspender()
	if err != nil {
		return err
	}
	one := suspension{c.st.hash, by, body.Start.Unix(), body.End.Unix(), c.st.position, c.basis == logged}
	if err := c.checkTerm(one); err != nil {
		return err
	}
	if r.limits.ended.on(c.basis) {
		return nothingNew()
	}
	limits, err := r.limits.with(one)
	if err != nil {
		return err
	}
	r.limits = limits
	c.put(r)
	return nil
}

// suspender finds on whose word the suspension stands. Who signs as a state speaks for the state alone.
func (c *change) suspender() (suspender, error) {
	if c.st.count(RoleState) > 0 {
		return bySelf, c.st.signedBy(c.next.byState(c.st.subject.state, c.basis))
	}
	if err := c.st.signedBy(c.next.byStewards(RoleSteward, 1)); err != nil {
		return 0, err
	}
	if c.st.count(RoleSteward) < c.next.network.stewards.Threshold {
		return byFewer, nil
	}
	return byStewards, nil
}

// checkTerm holds a suspension against the longest it may last. PROTOCOL 4.7.
func (c *change) checkTerm(s suspension) error {
	// In seconds: a Duration holds 292 years and a term may name the year 9999, so a term of centuries would come out short.
	length := s.end - s.start
	switch {
	case s.start > c.st.created:
		return denied("term", "a suspension does not start after it was signed")
	case s.by == byFewer && length > int64(MaxLoneSuspension/time.Second):
		return denied("term", "fewer stewards than decide together suspend for at most 72 hours")
	case s.by == byStewards && length > int64(MaxSuspension/time.Second):
		return denied("term", "stewards suspend for at most 30 days, which they may renew")
	}
	return nil
}

// with adds a suspension. What it decides on is the log alone if s is from the log.
func (l restrictions) with(s suspension) (restrictions, error) {
	if s.position <= l.over(s.by) {
		return l, denied("reinstated", "a reinstatement ended all suspensions made at that position or before")
	}
	at := slices.IndexFunc(l.suspensions, func(o suspension) bool { return o.is(s.hash, s.by == bySelf) })
	if at >= 0 && !s.betters(l.suspensions[at]) {
		return l, nothingNew()
	}
	if s.by == byFewer && l.tooSoon(s) {
		return l, denied("too-soon", "fewer stewards than decide together suspend a subject once in 30 days unless the others confirm")
	}
	if !s.logged && l.unlogged(s.by) >= maxUnlogged {
		return l, fault.New(fault.Retry, "too-many", opApply, fmt.Sprintf("%d suspensions of that subject wait to be logged", maxUnlogged))
	}
	l.suspensions = slices.Clone(l.suspensions)
	if at >= 0 {
		// Seen as signed by k of n and logged with fewer, it stands as logged: the log decides, and gives the order.
		l.suspensions = slices.Delete(l.suspensions, at, at+1)
	}
	l.suspensions = append(l.suspensions, s)
	l.forget()
	l.recount(s)
	return l, nil
}

// forget drops the state's own suspension that ends first once they are too many. Whoever wants to be rid of one that way
// has to say so many that last longer. PROTOCOL 4.7.
func (l *restrictions) forget() {
	own, first := 0, 0
	for i, s := range l.suspensions {
		if !s.logged || s.by != bySelf {
			continue
		}
		if own == 0 || s.end < l.suspensions[first].end {
			first = i
		}
		own++
	}
	if own > maxOwn {
		l.suspensions = slices.Delete(l.suspensions, first, first+1)
	}
}

// is reports whether it is that statement on that word. Stewards and state may sign the same payload, each alone: who gets
// theirs logged first must not take the place of the other's word, which other signers end. PROTOCOL 4.7.
func (s suspension) is(hash Hash, own bool) bool {
	return s.hash == hash && (s.by == bySelf) == own
}

// betters reports whether s adds to the same statement known before: it is in the log now, or k of n have signed now.
func (s suspension) betters(known suspension) bool {
	if s.logged != known.logged {
		return s.logged
	}
	return known.by == byFewer && s.by == byStewards
}

// tooSoon reports whether fewer than k stewards suspended this subject less than 30 days before and nobody confirmed.
func (l restrictions) tooSoon(s suspension) bool {
	interval := int64(LoneInterval / time.Second)
	if l.lone.start > 0 && !l.lone.confirmed && s.start < l.lone.start+interval {
		return true
	}
	if s.logged {
		return false
	}
	return slices.ContainsFunc(l.suspensions, func(o suspension) bool {
		return o.by == byFewer && !o.logged && s.start < o.start+interval && o.hash != s.hash
	})
}

// recount keeps what the once-in-30-days rule needs, from logged suspensions alone.
func (l *restrictions) recount(s suspension) {
	switch {
	case !s.logged:
	case s.by == byFewer:
		l.lone = lone{start: s.start, end: s.end}
	case s.by == byStewards && s.start < l.lone.end && s.end > l.lone.start:
		l.lone.confirmed = true
	}
}

func (l restrictions) unlogged(by suspender) int {
	n := 0
	for _, s := range l.suspensions {
		if !s.logged && s.by == by {
			n++
		}
	}
	return n
}

// over is the position up to which suspensions on such a word are ended.
func (l restrictions) over(by suspender) uint64 {
	if by == bySelf {
		return l.overSelf
	}
	return l.overStewards
}

// reinstate ends suspensions: those by stewards on the word of k of n, the state's own if the state signs too.
// PROTOCOL 4.7.
func (c *change) reinstate(body Reinstatement) error {
	// Signers end what they had seen, never what is yet to come.
	if body.Position > c.st.position {
		return wrong("malformed", "a reinstatement names no position beyond the one it was made at")
	}
	demands := []demand{c.next.byQuorum()}
	own := c.st.count(RoleState) > 0
	if own {
		demands = append(demands, c.next.byState(c.st.subject.state, logged))
	}
	if err := c.st.signedBy(demands...); err != nil {
		return err
	}
	r, _ := c.next.record(c.st.subject)
	r.limits.overStewards = max(r.limits.overStewards, body.Position)
	if own {
		r.limits.overSelf = max(r.limits.overSelf, body.Position)
	}
	left := slices.Clone(r.limits.suspensions)
	r.limits.suspensions = slices.DeleteFunc(left, func(s suspension) bool { return s.position <= r.limits.over(s.by) })
	r.last = c.st.hash
	c.put(r)
	return nil
}

// put stores the common part of the subject's record.
func (c *change) put(r record) {
	subject := c.st.subject
	if _, known := c.next.limited.get(subject); !known {
		c.next.limited = c.next.limited.with(subject, struct{}{})
	}
	c.store(subject, r)
}

// store is put for what bars nobody.
func (c *change) store(subject Subject, r record) {
	switch {
	case isAuthority(subject):
		old, _ := c.next.authorities.get(subject.name)
		c.next.authorities = c.next.authorities.with(subject.name, &authorityRecord{r, old.said, old.notice})
	case isNode(subject):
		old, _ := c.next.nodes.get(subject.node)
		c.next.nodes = c.next.nodes.with(subject.node, &nodeRecord{r, old.said})
	default:
		old, _ := c.next.states.get(subject.state)
		next := *old
		next.record = r
		c.next.states = c.next.states.with(subject.state, &next)
	}
}

// Standing is where a restricting statement stands in a snapshot.
type Standing uint8

const (
	// Unknown: it has no effect here, because it was not handed in, was refused, or was reinstated and is over.
	Unknown Standing = iota
	// Unconfirmed: applied on sight, not in the log.
	Unconfirmed
	// Logged: in the log.
	Logged
)

// Standing tells whether a restriction still has to be brought to the log.
func (s *Snapshot) Standing(st Statement) Standing {
	r, ok := s.record(st.subject)
	if !ok {
		return Unknown
	}
	m := r.limits.ended
	switch body := st.body.(type) {
	case Revocation:
		if k, known := s.keys.get(body.Key); known {
			m = k.revoked
		}
	case Veto:
		m = s.vetoOf(st.subject.state)
	}
	for _, one := range r.limits.suspensions {
		if one.is(st.hash, st.count(RoleState) > 0) {
			m = mark{kind: KindSuspend, hash: one.hash}
			if one.logged {
				m.position = 1
			}
		}
	}
	switch {
	case !m.happened() || m.hash != st.hash:
		return Unknown
	case m.position == 0:
		return Unconfirmed
	}
	return Logged
}
