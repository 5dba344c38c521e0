package directory

import (
	"slices"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// View is a snapshot as it answers at one time; cheap to make and to copy.
type View struct {
	s   *Snapshot
	now int64
}

// Status is what an entry may do now.
type Status uint8

// The statuses. An entry that is suspended shows as such also when only its state is.
const (
	Active Status = iota
	Suspended
	Retired
	Revoked
)

// String is the slug.
func (s Status) String() string { return [...]string{"active", "suspended", "retired", "revoked"}[s] }

// Condition is the status of an entry at the time of the view.
type Condition struct {
	Status Status
	// Until is the end of the suspension that lasts longest.
	Until time.Time
	// Unconfirmed: no restriction behind the status is in the log yet. PROTOCOL 4.6.
	Unconfirmed bool
}

// StateEntry is a member state.
type StateEntry struct {
	State authority.State
	Condition
	// Threshold is how many of its keys sign for it.
	Threshold   int
	NoteVerbale string
	// Authorities and Nodes are all that were ever declared, in order of name.
	Authorities []authority.Name
	Nodes       []authority.Node
	// Last is what the next enabling statement follows.
	Last Hash
	// Position is that of its admission.
	Position uint64
	// Recovery of its keys runs; nil = none.
	Recovery *Recovery
}

// AuthorityEntry is an authority as last declared; its Keys are empty, they are asked of View.Keys.
type AuthorityEntry struct {
	Name authority.Name
	Condition
	AuthorityDeclaration
	Last     Hash
	Position uint64
}

// NodeEntry is a node as last declared; its Keys are empty, they are asked of View.Keys.
type NodeEntry struct {
	Node authority.Node
	Condition
	NodeDeclaration
	Last     Hash
	Position uint64
}

// KeyStatus is what a key is good for at the time of the view. PROTOCOL 4.14.
type KeyStatus uint8

const (
	// KeyActive keys are used.
	KeyActive KeyStatus = iota
	// KeyPending keys have a NotBefore in the future, or are those of a recovery that has not taken effect.
	KeyPending
	// KeyRotated keys, past their NotAfter or a retired authority's included, verify what was signed before; the
	// caller decides what that is by Since and Position.
	KeyRotated
	// KeyRevoked keys, a revoked node's included, are refused for anything new.
	KeyRevoked
)

// String is the slug.
func (s KeyStatus) String() string { return [...]string{"active", "pending", "rotated", "revoked"}[s] }

// Holder is a key with whose it is.
type Holder struct {
	// Owner is the network for steward and log keys.
	Owner Subject
	// Key has no Public where it is a sealing key that was rotated out: only Fingerprint is known of it then.
	Key
	Fingerprint authority.Fingerprint
	Status      KeyStatus
	// Since is when it was rotated or revoked, by the clock of who signed that: their word, which may be set to any time.
	// What a key signed before is told by Position, never by it; else a state could disown what it signed by a revocation
	// with an old time. Status does not look at it: a revoked key is revoked at whatever time is asked. PROTOCOL 4.1, 4.14.
	Since time.Time
	// Position is the log entry that rotated or revoked it; 0 if it ran out, or if that was only seen.
	Position uint64
}

// Snapshot is what the view looks at.
func (v View) Snapshot() *Snapshot { return v.s }

// Time is the time of the view, in whole seconds.
func (v View) Time() time.Time { return time.Unix(v.now, 0).UTC() }

// State is a member state, whatever its status.
func (v View) State(state authority.State) (StateEntry, bool) {
	r, ok := v.s.states.get(state)
	if !ok {
		return StateEntry{}, false
	}
	return StateEntry{State: state, Condition: v.condition(r.record), Threshold: r.threshold, NoteVerbale: r.admission.NoteVerbale,
		Authorities: r.authorities, Nodes: r.nodes, Last: r.last, Position: r.declared, Recovery: r.recovery.view()}, true
}

// Authority is an authority, whatever its status.
func (v View) Authority(name authority.Name) (AuthorityEntry, bool) {
	r, ok := v.s.authorities.get(name)
	if !ok {
		return AuthorityEntry{}, false
	}
	return AuthorityEntry{Name: name, Condition: v.member(name.State(), r.record), AuthorityDeclaration: *r.said,
		Last: r.last, Position: r.declared}, true
}

// Node is a node, whatever its status.
func (v View) Node(node authority.Node) (NodeEntry, bool) {
	r, ok := v.s.nodes.get(node)
	if !ok {
		return NodeEntry{}, false
	}
	return NodeEntry{Node: node, Condition: v.member(node.State(), r.record), NodeDeclaration: r.said,
		Last: r.last, Position: r.declared}, true
}

// NodeOf is the node that serves an authority, whatever the status of either.
func (v View) NodeOf(name authority.Name) (NodeEntry, bool) {
	r, ok := v.s.authorities.get(name)
	if !ok {
		return NodeEntry{}, false
	}
	return v.Node(r.said.Node)
}

// condition is the status of a record by itself.
func (v View) condition(r record) Condition {
	if e := r.limits.ended; e.happened() {
		status := Revoked
		if e.kind == KindRetire {
			status = Retired
		}
		return Condition{Status: status, Unconfirmed: e.position == 0}
	}
	c := Condition{}
	for _, s := range r.limits.suspensions {
		// From a little before the start: the suspender's clock may be ahead of ours. PROTOCOL 4.7.
		if v.now < s.start-int64(Skew/time.Second) || v.now >= s.end {
			continue
		}
		c.Unconfirmed = !s.logged && (c.Unconfirmed || c.Status == Active)
		c.Status = Suspended
		if end := time.Unix(s.end, 0).UTC(); end.After(c.Until) {
			c.Until = end
		}
	}
	return c
}

// member is the status of an authority or a node: its own, unless its state is suspended and it has not ended.
func (v View) member(state authority.State, r record) Condition {
	own := v.condition(r)
	home, ok := v.s.states.get(state)
	if !ok || own.Status == Retired || own.Status == Revoked {
		return own
	}
	of := v.condition(home.record)
	switch {
	case of.Status != Suspended:
		return own
	case own.Status != Suspended:
		return of
	}
	if own.Until.After(of.Until) {
		of.Until = own.Until
	}
	of.Unconfirmed = of.Unconfirmed && own.Unconfirmed
	return of
}

// CheckState refuses a state that is not admitted or is suspended. Denied: "unknown-state", "suspended".
func (v View) CheckState(state authority.State) error {
	e, ok := v.State(state)
	if !ok {
		return barred("unknown-state", "the state is not in the directory")
	}
	return e.check("state")
}

// CheckAuthority refuses an authority that is unknown or barred, or whose state is.
// Denied: "unknown-authority", "suspended", "retired".
func (v View) CheckAuthority(name authority.Name) error {
	e, ok := v.Authority(name)
	if !ok {
		return barred("unknown-authority", "the authority is not in the directory")
	}
	return e.check("authority")
}

// CheckNode refuses a node that is unknown or barred, or whose state is. Denied: "unknown-node", "suspended", "revoked".
func (v View) CheckNode(node authority.Node) error {
	e, ok := v.Node(node)
	if !ok {
		return barred("unknown-node", "the node is not in the directory")
	}
	return e.check("node")
}

func (c Condition) check(what string) error {
	switch c.Status {
	case Suspended:
		return barred("suspended", "the "+what+" is suspended until "+c.Until.Format(time.RFC3339))
	case Retired, Revoked:
		return barred(c.Status.String(), "the "+what+" was "+c.Status.String())
	}
	return nil
}

func barred(code, say string) error { return fault.New(fault.Denied, code, "check directory", say) }

// Holder finds whose a key is: a steward's, a state's, an authority's, a node's or the hub's. The status is the
// key's own; whether its owner may act now is CheckAuthority or CheckNode.
func (v View) Holder(f authority.Fingerprint) (Holder, bool) {
	k, ok := v.s.keys.get(f)
	if !ok {
		return Holder{}, false
	}
	h := Holder{Owner: k.owner, Key: k.Key, Fingerprint: f}
	owner, _ := v.s.record(k.owner)
	end := owner.limits.ended
	switch {
	case k.revoked.happened():
		return h.as(KeyRevoked, k.revoked), true
	case end.happened() && end.kind == KindRevoke:
		return h.as(KeyRevoked, end), true
	case k.recovering:
		h.Status = KeyPending
	case k.rotated.happened():
		return h.as(KeyRotated, k.rotated), true
	case end.happened():
		return h.as(KeyRotated, end), true
	case !k.NotAfter.IsZero() && v.now >= k.NotAfter.Unix():
		h.Status, h.Since = KeyRotated, k.NotAfter
	case !k.NotBefore.IsZero() && v.now < k.NotBefore.Unix():
		h.Status = KeyPending
	}
	return h, true
}

func (h Holder) as(status KeyStatus, m mark) Holder {
	h.Status, h.Position, h.Since = status, m.position, time.Unix(m.at, 0).UTC()
	return h
}

// SigningKey finds the authority or node whose signing key this is, in any status; no other key signs messages.
func (v View) SigningKey(f authority.Fingerprint) (Holder, bool) {
	h, ok := v.Holder(f)
	return h, ok && h.Purpose == PurposeSign
}

// Keys are all keys that a subject ever declared, in that order; the network's are the stewards' and the log's. Those of
// a recovery come when it has taken effect.
func (v View) Keys(subject Subject) []Holder {
	fingerprints := v.s.network.keys
	if !subject.IsNetwork() {
		r, _ := v.s.record(subject)
		fingerprints = r.keys
	}
	all := make([]Holder, 0, len(fingerprints))
	for _, f := range fingerprints {
		if h, ok := v.Holder(f); ok {
			all = append(all, h)
		}
	}
	return all
}

// Newest is the active key of a subject for a purpose: the one with the latest NotBefore, the last declared of those.
func (v View) Newest(subject Subject, purpose KeyPurpose) (Holder, bool) {
	var best Holder
	found := false
	for _, h := range v.Keys(subject) {
		if h.Purpose == purpose && h.Status == KeyActive && (!found || !h.NotBefore.Before(best.NotBefore)) {
			best, found = h, true
		}
	}
	return best, found
}

// SealingKey is the key to seal to an authority with; false if it has none now. It does not look at the authority's
// status: CheckAuthority does.
func (v View) SealingKey(name authority.Name) (authority.PublicKey, bool) {
	h, ok := v.Newest(OfAuthority(name), PurposeSeal)
	return h.Public, ok
}

// CertificatePool is the CA bundle of a state, DER; nil if the state is unknown. The hub's is in Snapshot.Hub.
func (v View) CertificatePool(state authority.State) [][]byte {
	r, ok := v.s.states.get(state)
	if !ok {
		return nil
	}
	return r.admission.Certificates
}

// States are all member states, in order of name, whatever their status.
func (v View) States() []StateEntry {
	var all []StateEntry
	for state := range v.s.states.all() {
		e, _ := v.State(state)
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b StateEntry) int { return strings.Compare(a.State.String(), b.State.String()) })
	return all
}

// Authorities are all authorities, state by state in order of name, whatever their status.
func (v View) Authorities() []AuthorityEntry {
	all := make([]AuthorityEntry, 0, v.s.authorities.size)
	for _, state := range v.States() {
		for _, name := range state.Authorities {
			e, _ := v.Authority(name)
			all = append(all, e)
		}
	}
	return all
}

// Nodes are all nodes, state by state in order of name, whatever their status.
func (v View) Nodes() []NodeEntry {
	all := make([]NodeEntry, 0, v.s.nodes.size)
	for _, state := range v.States() {
		for _, node := range state.Nodes {
			e, _ := v.Node(node)
			all = append(all, e)
		}
	}
	return all
}
