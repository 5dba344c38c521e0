package directory

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const opApply = "apply statement"

// Apply is the snapshot after the next log entry: one pure function, the same at hub and nodes, that looks at logged
// facts alone. A nil snapshot takes a genesis and nothing else. On error the entry is to be skipped (Skip).
//
// Errors: Denied ("wrong-network", "signers", "unknown-subject", "revoked", "retired", "reinstated", "term", "too-soon",
// "unknown-key", "unknown-node", "unknown-group", "unknown-instrument", "unknown-recovery", "wrong-head", "unconfirmed"),
// Conflict ("not-next", "already-admitted", "already-founded", "key-in-use", "duplicate", "held", "too-late", "vetoed",
// "not-vetoed", "not-as-confirmed", "wrong-rules"), Retry ("behind": it was made at a position this log has not reached),
// Invalid ("bad-signature", "too-many" and bodies that do not fit the moment). PROTOCOL 4.15. Retry
// "newer-rules" is no refusal of the entry: this program cannot tell what it says. The reader halts, with what it has,
// and never takes Skip; see Snapshot.Rules. PROTOCOL 4.21.
func Apply(s *Snapshot, st Statement) (*Snapshot, error) {
	if s == nil {
		return found(st)
	}
	if err := s.readable(); err != nil {
		return nil, err
	}
	if st.kind == KindGenesis {
		return nil, conflict("already-founded", "the network has a genesis")
	}
	if err := s.expects(st); err != nil {
		return nil, err
	}
	c := s.change(st, logged)
	act := c.enable
	if st.Restricting() {
		act = c.restrict
	}
	if err := act(); err != nil {
		return nil, err
	}
	return c.next, nil
}

// expects checks what holds for every statement after the genesis. PROTOCOL 4.4.
func (s *Snapshot) expects(st Statement) error {
	if st.network != s.network.id {
		return denied("wrong-network", "the statement was made for another network")
	}
	// A restriction from the future of the log could not be ended by a reinstatement of today.
	if st.position > s.position {
		return fault.New(fault.Retry, "behind", opApply, "the statement was made at a directory position not reached here").
			WithHint("fetch the directory entries up to that position, then hand it in again")
	}
	return nil
}

// change is a snapshot in the making; nobody else sees next until it is done.
type change struct {
	next  *Snapshot
	st    Statement
	basis basis
	// position is that of the log entry; 0 on sight.
	position uint64
}

func (s *Snapshot) change(st Statement, b basis) *change {
	next := *s
	c := &change{next: &next, st: st, basis: b}
	if b == logged {
		next.position++
		c.position = next.position
		if changesAudiences(st.kind) {
			next.changed = next.position
		}
	}
	if st.kind == KindGenesis || st.kind == KindDeclareAuthority || st.kind == KindDesignateContactPoint {
		next.roll = &roll{}
	}
	return c
}

func (c *change) mark() mark {
	return mark{kind: c.st.kind, hash: c.st.hash, position: c.position, at: c.st.created}
}

// found makes the first snapshot. Every steward named signs: a genesis with a key that nobody holds is refused.
// PROTOCOL 4.10.
func found(st Statement) (*Snapshot, error) {
	f, ok := st.body.(Founding)
	if !ok {
		return nil, denied("no-genesis", "a network begins with its genesis")
	}
	stewards := panelOf(f.Stewards)
	if err := st.signedBy(demand{RoleSteward, stewards, len(stewards)}); err != nil {
		return nil, err
	}
	id := sha256.Sum256(st.payload)
	n := &networkRecord{id: hex.EncodeToString(id[:]), name: f.Name, genesis: st.signed, last: st.hash, stewards: f.Stewards, panel: stewards, hub: f.Hub,
		logKeys: []logKey{{0, f.Hub.LogKey.Public}}, rules: rulesInForce{version: RulesVersion}}
	s := &Snapshot{network: n, states: newIndex[authority.State, *stateRecord](), authorities: newIndex[authority.Name, *authorityRecord](),
		nodes: newIndex[authority.Node, *nodeRecord](), keys: newIndex[authority.Fingerprint, *keyRecord](),
		limited: newIndex[Subject, struct{}]()}
	c := s.change(st, logged)
	var err error
	if n.keys, err = c.addKeys(nil, append(slices.Clone(f.Stewards.Keys), f.Hub.LogKey)); err != nil {
		return nil, err
	}
	return c.next, nil
}

// enable applies an enabling statement: first its place in the chain, then what it says.
func (c *change) enable() error {
	if err := c.chained(); err != nil {
		return err
	}
	switch body := c.st.body.(type) {
	case Admission:
		return c.admit(body)
	case StateRotation:
		return c.rotateState(body)
	case AuthorityDeclaration:
		return c.declareAuthority(body)
	case NodeDeclaration:
		return c.declareNode(body)
	case AuthorityRotation:
		return c.rotateAuthority(body)
	case NodeRotation:
		return c.rotateNode(body)
	case Reinstatement:
		return c.reinstate(body)
	}
	if c.st.subject.IsNetwork() {
		return c.amend(c.st.body)
	}
	return c.keepUp(c.st.body)
}

// keepUp applies what a state says of its entries beside declaring them, and what becomes of its keys. PROTOCOL 4.9, 4.18 to 4.20.
func (c *change) keepUp(body Body) error {
	switch body := body.(type) {
	case InstrumentDeclaration:
		return c.declareInstruments(body)
	case Designation:
		return c.designate(body)
	case Confirmation:
		return c.confirm(body)
	case Notice:
		return c.notice(body)
	case NewKeys:
		return c.recover(body)
	case Completion:
		return c.completeRecovery(body)
	case Settlement:
		return c.settle(body)
	}
	return wrong("unknown-kind", "this version cannot apply a statement of that kind")
}

// chained checks that the statement follows the subject's last one. PROTOCOL 4.4.
func (c *change) chained() error {
	if c.st.subject.IsNetwork() {
		return follows(c.next.network.last, c.st)
	}
	r, known := c.next.record(c.st.subject)
	first := c.st.kind == KindDeclareAuthority || c.st.kind == KindDeclareNode || c.st.kind == KindAdmitState
	switch {
	case known && c.st.kind == KindAdmitState:
		return conflict("already-admitted", "a state that was ever admitted is not admitted again")
	case !known && !first:
		return unknownSubject()
	case r.limits.ended.on(logged):
		return ended(r.limits.ended)
	}
	if err := c.checkHeld(); err != nil {
		return err
	}
	if c.st.kind == KindRecover {
		return c.sinceRecovery()
	}
	return follows(r.last, c.st)
}

func follows(last Hash, st Statement) error {
	if last != st.previous {
		return notNext()
	}
	return nil
}

func notNext() error {
	return conflict("not-next", "the statement does not follow the last one about this subject")
}

// admit takes a state in, on the word of the stewards and with proof that the state holds its keys. PROTOCOL 4.11.
func (c *change) admit(a Admission) error {
	keys := panelOf(a.Keys)
	if err := c.st.signedBy(c.next.byQuorum(), demand{RoleState, keys, a.Keys.Threshold}); err != nil {
		return err
	}
	r := &stateRecord{threshold: a.Keys.Threshold}
	var err error
	if r.keys, err = c.addKeys(nil, a.Keys.Keys); err != nil {
		return err
	}
	a.Keys = KeySet{}
	r.admission, r.last, r.declared, r.affirmed = a, c.st.hash, c.position, c.st.created
	c.next.states = c.next.states.with(c.st.subject.state, r)
	return nil
}

// rotateState replaces a state's keys: the old set decides, the new one proves that it is held. PROTOCOL 4.11.
func (c *change) rotateState(n StateRotation) error {
	state := c.st.subject.state
	if err := c.st.signedBy(c.next.byState(state, logged), demand{RoleNew, panelOf(n.Keys), n.Keys.Threshold}); err != nil {
		return err
	}
	old, _ := c.next.states.get(state)
	r := *old
	kept := map[authority.Fingerprint]bool{}
	var fresh []Key
	for _, k := range n.Keys.Keys {
		f := k.Public.Fingerprint()
		if c.current(f, logged) {
			kept[f] = true
			continue
		}
		fresh = append(fresh, k)
	}
	for _, f := range old.keys {
		if !kept[f] && c.current(f, logged) {
			c.rotateOut(f)
		}
	}
	var err error
	if r.keys, err = c.addKeys(old.keys, fresh); err != nil {
		return err
	}
	if len(n.Certificates) > 0 {
		r.admission.Certificates = n.Certificates
	}
	r.threshold, r.last = n.Keys.Threshold, c.st.hash
	c.next.states = c.next.states.with(state, &r)
	return nil
}

// current reports whether the key is the subject's and neither rotated nor revoked.
func (c *change) current(f authority.Fingerprint, b basis) bool {
	k, ok := c.next.keys.get(f)
	return ok && k.owner == c.st.subject && !k.recovering && !k.rotated.on(b) && !k.revoked.on(b)
}

// designated demands the state, one steward who verified and another who counter-signed. PROTOCOL 4.5.
func (c *change) designated() error {
	state := c.st.subject.state
	if _, ok := c.next.states.get(state); !ok {
		return unknownSubject()
	}
	err := c.st.signedBy(c.next.byState(state, logged), c.next.byStewards(RoleVerify, 1), c.next.byStewards(RoleCountersign, 1))
	if err != nil {
		return err
	}
	return c.st.twoPersons()
}

// declareAuthority declares or amends an authority. PROTOCOL 4.12.
func (c *change) declareAuthority(d AuthorityDeclaration) error {
	if err := c.designated(); err != nil {
		return err
	}
	node, ok := c.next.nodes.get(d.Node)
	if !ok || node.limits.ended.on(logged) {
		return denied("unknown-node", "the node that shall serve the authority is not in the directory")
	}
	r, point := &authorityRecord{}, false
	if old, known := c.next.authorities.get(c.st.subject.name); known {
		r.record, r.notice, point = old.record, old.notice, old.said.NationalPointOfContact
	}
	// A declaration drafted before the designation says what was so then. PROTOCOL 4.19.
	if home, _ := c.next.states.get(c.st.subject.state); home.designated {
		d.NationalPointOfContact = point
	}
	var err error
	if r.record, err = c.declare(r.record, d.Keys, authorityPurposes); err != nil {
		return err
	}
	d.Keys = nil
	r.said = &d
	c.next.authorities = c.next.authorities.with(c.st.subject.name, r)
	return nil
}

// declareNode declares or amends a node. PROTOCOL 4.13.
func (c *change) declareNode(d NodeDeclaration) error {
	if err := c.designated(); err != nil {
		return err
	}
	r := &nodeRecord{}
	if old, known := c.next.nodes.get(c.st.subject.node); known {
		r.record = old.record
	}
	var err error
	// A node without sealing key could receive no control envelope, one without signing key give no receipt.
	if r.record, err = c.declare(r.record, d.Keys, []KeyPurpose{PurposeSign, PurposeSeal}); err != nil {
		return err
	}
	d.Keys = nil
	r.said = d
	c.next.nodes = c.next.nodes.with(c.st.subject.node, r)
	return nil
}

// declare gives a record its place in the chain and, the first time, its keys and its line in the state's list.
func (c *change) declare(r record, keys []Key, needed []KeyPurpose) (record, error) {
	if r.declared > 0 && len(keys) > 0 {
		return r, wrong("keys-in-amendment", "an amendment carries no keys; the state rotates them alone")
	}
	if r.declared == 0 {
		var err error
		if r.keys, err = c.addKeys(nil, keys); err != nil {
			return r, err
		}
		if err := c.complete(r.keys, needed); err != nil {
			return r, err
		}
		r.declared = c.position
		c.enlist()
	}
	r.last, r.affirmed = c.st.hash, max(r.affirmed, c.st.created)
	return r, nil
}

// enlist adds the subject to its state's list.
func (c *change) enlist() {
	subject := c.st.subject
	old, _ := c.next.states.get(subject.state)
	r := *old
	if isNode(subject) {
		r.nodes = inserted(old.nodes, subject.node)
	} else {
		r.authorities = inserted(old.authorities, subject.name)
	}
	c.next.states = c.next.states.with(subject.state, &r)
}

// inserted is a new list with one more, in order of name; the old one stays as it is.
func inserted[T interface{ String() string }](list []T, one T) []T {
	at, _ := slices.BinarySearchFunc(list, one.String(), func(a T, name string) int {
		switch s := a.String(); {
		case s < name:
			return -1
		case s > name:
			return 1
		}
		return 0
	})
	longer := make([]T, 0, len(list)+1)
	longer = append(longer, list[:at]...)
	longer = append(longer, one)
	return append(longer, list[at:]...)
}

// rotateAuthority changes an authority's keys on the state's word alone. PROTOCOL 4.14.
func (c *change) rotateAuthority(n AuthorityRotation) error {
	if err := c.st.signedBy(c.next.byState(c.st.subject.state, logged)); err != nil {
		return err
	}
	old, _ := c.next.authorities.get(c.st.subject.name)
	r := *old
	var err error
	if r.record, err = c.rotate(old.record, n.Add, n.Retire, authorityPurposes); err != nil {
		return err
	}
	c.next.authorities = c.next.authorities.with(c.st.subject.name, &r)
	return nil
}

// rotateNode changes a node's endpoints and keys on the state's word alone. PROTOCOL 4.14.
func (c *change) rotateNode(n NodeRotation) error {
	if err := c.st.signedBy(c.next.byState(c.st.subject.state, logged)); err != nil {
		return err
	}
	old, _ := c.next.nodes.get(c.st.subject.node)
	r := *old
	if len(n.Endpoints) > 0 {
		r.said.Endpoints = n.Endpoints
	}
	var err error
	if r.record, err = c.rotate(old.record, n.Add, n.Retire, []KeyPurpose{PurposeSign, PurposeSeal}); err != nil {
		return err
	}
	c.next.nodes = c.next.nodes.with(c.st.subject.node, &r)
	return nil
}

func (c *change) rotate(r record, add []Key, retire []authority.Fingerprint, needed []KeyPurpose) (record, error) {
	for _, f := range retire {
		if !c.current(f, logged) {
			return r, denied("unknown-key", "a key to be rotated out is not a current key of the subject")
		}
		c.rotateOut(f)
	}
	var err error
	if r.keys, err = c.addKeys(r.keys, add); err != nil {
		return r, err
	}
	r.last = c.st.hash
	if len(add)+len(retire) == 0 {
		return r, nil
	}
	return r, c.complete(r.keys, needed)
}

func (c *change) rotateOut(f authority.Fingerprint) {
	c.changeKey(f, func(k *keyRecord) {
		k.rotated = c.mark()
		if k.Purpose == PurposeSeal {
			// Nothing is sealed with it any more, and its 2 kB would be most of what a large directory holds.
			k.Public = authority.PublicKey{}
		}
	})
}

// addKeys declares keys of the subject and returns them after the ones it had. A key known to the network, whoever
// had it and whatever became of it, is refused: a signature never has two possible makers. PROTOCOL 4.14.
func (c *change) addKeys(had []authority.Fingerprint, keys []Key) ([]authority.Fingerprint, error) {
	all := slices.Clip(had)
	for _, k := range keys {
		f := k.Public.Fingerprint()
		if _, ok := c.next.keys.get(f); ok {
			return nil, keyInUse()
		}
		c.next.keys = c.next.keys.with(f, &keyRecord{Key: k, owner: c.st.subject, declared: c.position, held: c.st.by(f)})
		all = append(all, f)
	}
	return all, nil
}

// complete checks that there is a current key for each purpose, and that they are not too many: a state adds keys alone,
// and every reader holds each head against all witness keys. PROTOCOL 4.14.
func (c *change) complete(keys []authority.Fingerprint, needed []KeyPurpose) error {
	have, current := map[KeyPurpose]bool{}, 0
	for _, f := range keys {
		if k, ok := c.next.keys.get(f); ok && c.current(f, logged) {
			have[k.Purpose] = true
			current++
		}
	}
	if current > maxKeys {
		return wrong("too-many", "more current keys would be left than one may have; retire some")
	}
	for _, p := range needed {
		if !have[p] {
			return wrong("key-missing", "no current key to "+string(p)+" would be left")
		}
	}
	return nil
}

func denied(code, say string) error   { return fault.New(fault.Denied, code, opApply, say) }
func conflict(code, say string) error { return fault.New(fault.Conflict, code, opApply, say) }

func keyInUse() error { return conflict("key-in-use", "a key is, or was, declared already") }

func unknownSubject() error {
	return denied("unknown-subject", "the directory does not know the subject of the statement")
}

func ended(m mark) error {
	if m.kind == KindRetire {
		return denied("retired", "the authority was retired, which is never undone; declare another")
	}
	return denied("revoked", "the node was revoked, which is never undone; declare another")
}
