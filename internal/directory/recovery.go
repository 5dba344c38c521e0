package directory

import (
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// RecoveryTime is how long the holders of the old keys have to veto a recovery, in cosigned time. PROTOCOL 4.20.
const RecoveryTime = 14 * 24 * time.Hour

// The outcomes of a settlement. PROTOCOL 4.20.
const (
	SettleConfirm = "confirm"
	SettleCancel  = "cancel"
)

// NewKeys is the body of a recovery: what takes the place of a state's keys that are lost or stolen. PROTOCOL 4.20.
type NewKeys struct {
	Keys KeySet
	// Certificates replace the CA bundle where there are any.
	Certificates [][]byte
	Reason       string
}

// Veto stops a recovery until it is settled. PROTOCOL 4.20.
type Veto struct{ Recovery Hash }

// Completion proves that nobody vetoed a recovery in time. PROTOCOL 4.20.
type Completion struct {
	Recovery       Hash
	Earlier, Later Head
}

// Settlement decides on a recovery in place of its state. PROTOCOL 4.20.
type Settlement struct {
	Recovery Hash
	// Outcome is "confirm" or "cancel".
	Outcome string
}

func (NewKeys) isBody()    {}
func (Veto) isBody()       {}
func (Completion) isBody() {}
func (Settlement) isBody() {}

// Recovery is a recovery of a state's keys that has neither taken effect nor been cancelled. PROTOCOL 4.20.
type Recovery struct {
	// Statement is the payload hash of the statement that began it: what a veto names.
	Statement Hash
	// Position is that of the statement.
	Position uint64
	// Vetoed: only a settlement decides now.
	Vetoed bool
	// Unconfirmed: the veto is not in the log yet.
	Unconfirmed bool
}

// recovery is one that runs. Immutable: a change makes another.
type recovery struct {
	hash     Hash
	position uint64
	new      NewKeys
	// old is who may veto: the set in force, by the log, when the recovery was logged.
	old    panel
	vetoed mark
}

func readNewKeys(r *reading, m *formatv1.Recover) NewKeys {
	return NewKeys{
		Keys:         r.keySet(m.GetKeys(), m.GetThreshold(), PurposeState),
		Certificates: r.certificates(m.GetCaCertificates(), 0),
		Reason:       r.text("reason", m.GetReason(), maxText),
	}
}

func readVeto(r *reading, m *formatv1.Veto) Veto { return Veto{r.hash(m.GetRecovery())} }

func readCompletion(r *reading, m *formatv1.CompleteRecovery) Completion {
	return Completion{r.hash(m.GetRecovery()), r.headOf(m.GetEarlier()), r.headOf(m.GetLater())}
}

func (r *reading) headOf(note []byte) Head {
	h, err := ParseHead(note)
	r.note(err)
	return h
}

func readSettlement(r *reading, m *formatv1.Settle) Settlement {
	r.check(m.GetOutcome() == SettleConfirm || m.GetOutcome() == SettleCancel, "malformed", "a recovery is settled by confirm or cancel")
	return Settlement{r.hash(m.GetRecovery()), m.GetOutcome()}
}

// checkHeld refuses what has to wait for a recovery to be over. PROTOCOL 4.20.
func (c *change) checkHeld() error {
	if c.st.kind == KindCompleteRecovery || c.st.kind == KindSettle {
		return nil
	}
	if home, ok := c.next.states.get(c.st.subject.state); ok && home.recovery != nil {
		return conflict("held", "the state's keys are being recovered, and its entries rest until that is over")
	}
	return nil
}

// sinceRecovery stands in the chain's place for a recovery. The thief who has the keys can always say one more thing of
// the state, while stewards and states take days to sign, so what was said last does not matter; a recovery is logged
// once all the same, for its keys are declared once. But one signed before another was over is void. PROTOCOL 4.4, 4.20.
func (c *change) sinceRecovery() error {
	if home, ok := c.next.states.get(c.st.subject.state); ok && c.st.position < home.recoveredAt {
		return notNext()
	}
	return nil
}

// recover begins a recovery. Its keys are the state's from here on and nobody else's, so that nobody can declare them
// first; but they sign nothing yet. PROTOCOL 4.20.
func (c *change) recover(body NewKeys) error {
	state := c.st.subject.state
	demands := []demand{c.next.byQuorum(), {RoleNew, panelOf(body.Keys), body.Keys.Threshold}}
	if err := c.consented(func(others int) int { return (others + 2) / 3 }, demands...); err != nil {
		return err
	}
	for _, k := range body.Keys.Keys {
		if err := c.claim(k); err != nil {
			return err
		}
	}
	old, _ := c.next.statePanel(state, logged)
	return c.putState(func(r *stateRecord) {
		r.recovery = &recovery{hash: c.st.hash, position: c.position, new: body, old: old}
		r.last = c.st.hash
	})
}

// claim declares a key of a recovery. Whoever saw it while stewards and states signed, the thief or one of those asked, could
// declare it first, at every attempt again, for to declare a key of an authority takes no proof that it is held. Such a
// declaration gives way. PROTOCOL 4.14, 4.20.
func (c *change) claim(k Key) error {
	f := k.Public.Fingerprint()
	if known, ok := c.next.keys.get(f); ok {
		if !c.squatted(f, known) {
			return keyInUse()
		}
		c.disown(known.owner, f)
	}
	c.next.keys = c.next.keys.with(f, &keyRecord{Key: k, owner: c.st.subject, declared: c.position, held: c.st.by(f), recovering: true})
	return nil
}

// squatted reports whether a key was declared after this statement was drafted, by somebody who did not prove to hold it,
// while this statement does.
func (c *change) squatted(f authority.Fingerprint, known *keyRecord) bool {
	return known.declared > c.st.position && !known.held && !known.recovering && !known.owner.IsNetwork() && c.st.by(f)
}

// disown takes a key from the keys of who declared it.
func (c *change) disown(owner Subject, f authority.Fingerprint) {
	r, _ := c.next.record(owner)
	r.keys = slices.DeleteFunc(slices.Clone(r.keys), func(o authority.Fingerprint) bool { return o == f })
	c.store(owner, r)
}

// consented demands, beside the others, a key each of some of the other states that were ever admitted. Suspension
// changes no number. PROTOCOL 4.5.
func (c *change) consented(least func(others int) int, demands ...demand) error {
	from, others := panel{}, 0
	for state := range c.next.states.all() {
		if state == c.st.subject.state {
			continue
		}
		others++
		keys, _ := c.next.statePanel(state, logged)
		for f, key := range keys {
			from[f] = key
		}
	}
	if err := c.st.signedBy(append(demands, demand{RoleConsent, from, least(others)})...); err != nil {
		return err
	}
	// Several keys of one state are one consent.
	agree := map[authority.State]bool{}
	for _, s := range c.st.signatures {
		if k, ok := c.next.keys.get(s.Key); ok && s.Role == RoleConsent {
			agree[k.owner.state] = true
		}
	}
	if len(agree) < least(others) {
		return unsigned("too few other states consent")
	}
	return nil
}

// mostOf is more than half; of none, none.
func mostOf(others int) int {
	if others == 0 {
		return 0
	}
	return others/2 + 1
}

// running finds the recovery that a statement names.
func (c *change) running(named Hash) (*recovery, error) {
	r, ok := c.next.states.get(c.st.subject.state)
	switch {
	case !ok:
		return nil, unknownSubject()
	case r.recovery != nil && r.recovery.hash == named:
		return r.recovery, nil
	case slices.Contains(r.recovered, named):
		return nil, conflict("too-late", "that recovery is over")
	}
	return nil, denied("unknown-recovery", "no such recovery of the state's keys runs")
}

// veto stops a recovery, on sight or from the log. Who held a key when the recovery was logged may veto it whatever
// became of the key since, or a thief would revoke it first. PROTOCOL 4.20.
func (c *change) veto(body Veto) error {
	running, err := c.running(body.Recovery)
	if err != nil {
		return err
	}
	if err := c.st.signedBy(demand{RoleState, running.old, 1}); err != nil {
		return err
	}
	if running.vetoed.on(c.basis) {
		return nothingNew()
	}
	next := *running
	next.vetoed = c.mark()
	return c.putState(func(r *stateRecord) { r.recovery = &next })
}

// vetoOf is what became of the recovery that runs.
func (s *Snapshot) vetoOf(state authority.State) mark {
	if home, ok := s.states.get(state); ok && home.recovery != nil {
		return home.recovery.vetoed
	}
	return mark{}
}

// completeRecovery lets a recovery take effect that nobody vetoed, by the log, in 14 days of cosigned time. PROTOCOL 4.20.
func (c *change) completeRecovery(body Completion) error {
	running, err := c.running(body.Recovery)
	if err != nil {
		return err
	}
	if err := c.st.signedBy(demand{RoleNew, panelOf(running.new.Keys), running.new.Keys.Threshold}); err != nil {
		return err
	}
	// A veto that was only seen decides nothing here: it keeps the witnesses from the head. PROTOCOL 4.15, 4.20.
	if running.vetoed.on(logged) {
		return conflict("vetoed", "the recovery was vetoed, and a settlement decides")
	}
	if err := c.waited(running, body.Earlier, body.Later); err != nil {
		return err
	}
	return c.takeEffect(running)
}

// waited holds the two heads against the log before this entry. A minority of witnesses can shift neither end: the
// earlier counts from its newest vote, which one that is honest does not come before; the later by its quorum-th newest, which
// those ahead of time are too few to reach. PROTOCOL 4.20.
func (c *change) waited(running *recovery, earlier, later Head) error {
	if earlier.Position() < running.position || later.Position() < earlier.Position() || later.Position() >= c.position {
		return denied("wrong-head", "the heads are not, in their order, of the log between the recovery and this entry")
	}
	from, err := c.judged(earlier)
	if err != nil {
		return err
	}
	to, err := c.judged(later)
	if err != nil {
		return err
	}
	// Where nobody witnesses there is no cosigned time, and a settlement is the only way.
	if from.Newest.IsZero() || to.Quorum.IsZero() || to.Quorum.Sub(from.Newest) < RecoveryTime {
		return conflict("too-soon", "14 days of cosigned time have not passed between the two heads")
	}
	return nil
}

// judged is the witnesses' word on a head, by those of the log before this entry, with no clock.
func (c *change) judged(h Head) (Judgement, error) {
	if err := c.next.CheckLog(h); err != nil {
		return Judgement{}, err
	}
	j := c.next.Judge(h, nil, time.Time{})
	if !j.Confirmed {
		return Judgement{}, denied("unconfirmed", "a head does not have the cosignatures of a quorum")
	}
	return j, nil
}

// settle decides on a recovery on the word of stewards and most other states. To confirm takes a veto: without, the
// holders of the old keys have their 14 days. To cancel takes none, or a recovery that nobody can complete would hold
// the state for ever. PROTOCOL 4.20.
func (c *change) settle(body Settlement) error {
	running, err := c.running(body.Recovery)
	if err != nil {
		return err
	}
	if err := c.consented(mostOf, c.next.byQuorum()); err != nil {
		return err
	}
	if body.Outcome == SettleCancel {
		return c.cancel(running)
	}
	if !running.vetoed.on(logged) {
		return conflict("not-vetoed", "no veto is in the log, so there is nothing to settle: the recovery waits for its 14 days")
	}
	return c.takeEffect(running)
}

// takeEffect revokes the old keys and puts the new set in force. PROTOCOL 4.20.
func (c *change) takeEffect(running *recovery) error {
	home, _ := c.next.states.get(c.st.subject.state)
	for _, f := range home.keys {
		if c.current(f, logged) {
			c.changeKey(f, func(k *keyRecord) { k.revoked = c.mark() })
		}
	}
	keys := slices.Clip(home.keys)
	for _, k := range running.new.Keys.Keys {
		f := k.Public.Fingerprint()
		c.changeKey(f, func(k *keyRecord) { k.recovering = false })
		keys = append(keys, f)
	}
	return c.over(running, func(r *stateRecord) {
		r.keys, r.threshold = keys, running.new.Keys.Threshold
		if len(running.new.Certificates) > 0 {
			r.admission.Certificates = running.new.Certificates
		}
	})
}

// cancel leaves everything as it was. The keys that did not take over are nobody's for good. PROTOCOL 4.20.
func (c *change) cancel(running *recovery) error {
	for _, k := range running.new.Keys.Keys {
		c.changeKey(k.Public.Fingerprint(), func(k *keyRecord) { k.recovering, k.revoked = false, c.mark() })
	}
	return c.over(running, func(*stateRecord) {})
}

func (c *change) over(running *recovery, change func(*stateRecord)) error {
	return c.putState(func(r *stateRecord) {
		change(r)
		r.recovery, r.recovered = nil, append(slices.Clip(r.recovered), running.hash)
		r.recoveredAt, r.last = c.position, c.st.hash
	})
}

func (c *change) changeKey(f authority.Fingerprint, change func(*keyRecord)) {
	old, _ := c.next.keys.get(f)
	k := *old
	change(&k)
	c.next.keys = c.next.keys.with(f, &k)
}

// view is what is shown of a recovery; nil of none.
func (r *recovery) view() *Recovery {
	if r == nil {
		return nil
	}
	return &Recovery{Statement: r.hash, Position: r.position, Vetoed: r.vetoed.happened(), Unconfirmed: r.vetoed.happened() && !r.vetoed.on(logged)}
}

// BlockedBySight reports whether a statement, applied from the log to this snapshot, would let a recovery take effect of
// which the snapshot holds a veto that the log has not. A witness cosigns no head that covers such an entry: it asks on
// the snapshot just before the entry, with what it has seen. Apply knows nothing of this: what was only seen never
// decides whether an entry is valid. PROTOCOL 4.20.
func (s *Snapshot) BlockedBySight(st Statement) bool {
	body, is := st.body.(Completion)
	home, ok := s.states.get(st.subject.state)
	if !is || !ok || home.recovery == nil || home.recovery.hash != body.Recovery {
		return false
	}
	if v := home.recovery.vetoed; !v.happened() || v.on(logged) {
		return false
	}
	_, err := Apply(s, st)
	return err == nil
}

// Recover begins the recovery of a state. Signers: stewards, the new keys (RoleNew), one key each of a third of the
// other states (RoleConsent).
func (d Draft) Recover(state authority.State, body *formatv1.Recover) ([]byte, error) {
	return d.enabling(KindRecover, OfState(state), body)
}

// Veto stops the recovery that runs. Signers: one key of the set in force when it was logged (RoleState). Denied
// "unknown-recovery" if none runs.
func (d Draft) Veto(state authority.State) ([]byte, error) {
	named, err := d.running(state)
	if err != nil {
		return nil, err
	}
	return d.restricting(KindVeto, OfState(state), &formatv1.Veto{Recovery: named})
}

// CompleteRecovery lets the recovery that runs take effect. The heads are to be chosen well: of the earlier as few and as
// old cosignatures as make a quorum, of the later the newest. Signers: the recovering keys (RoleNew). Denied
// "unknown-recovery" if none runs.
func (d Draft) CompleteRecovery(state authority.State, earlier, later Head) ([]byte, error) {
	named, err := d.running(state)
	if err != nil {
		return nil, err
	}
	body := &formatv1.CompleteRecovery{Recovery: named, Earlier: earlier.Note(), Later: later.Note()}
	return d.enabling(KindCompleteRecovery, OfState(state), body)
}

// Settle decides on the recovery that runs: SettleConfirm, once a veto is logged, or SettleCancel. Signers: stewards, one
// key each of most other states (RoleConsent). Denied "unknown-recovery" if none runs.
func (d Draft) Settle(state authority.State, outcome string) ([]byte, error) {
	named, err := d.running(state)
	if err != nil {
		return nil, err
	}
	return d.enabling(KindSettle, OfState(state), &formatv1.Settle{Recovery: named, Outcome: outcome})
}

// running is the hash of the recovery that runs.
func (d Draft) running(state authority.State) ([]byte, error) {
	home, ok := d.Snapshot.states.get(state)
	if !ok || home.recovery == nil {
		return nil, denied("unknown-recovery", "no recovery of the state's keys runs")
	}
	return home.recovery.hash[:], nil
}
