package directory

import (
	"bytes"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
)

// Snapshot is what the statements up to a position say, with the restrictions seen but not yet logged beside it.
// Immutable. A nil Snapshot is a network without genesis; only Apply and Fold take it.
type Snapshot struct {
	network  *networkRecord
	position uint64

	states      index[authority.State, *stateRecord]
	authorities index[authority.Name, *authorityRecord]
	nodes       index[authority.Node, *nodeRecord]
	keys        index[authority.Fingerprint, *keyRecord]

	// changed is the position of the newest log entry that can change an audience.
	changed uint64
	// limited are the subjects whose restrictions ever changed.
	limited index[Subject, struct{}]
	roll    *roll
}

// record is what states, authorities and nodes have in common.
type record struct {
	// last is the hash of the last enabling statement.
	last Hash
	// declared is the position of the first.
	declared uint64
	// keys are all it ever declared, in that order.
	keys   []authority.Fingerprint
	limits restrictions
	// affirmed is the time, by their signers, of the newest statement that declared, amended or, of a state, confirmed.
	affirmed int64
}

type stateRecord struct {
	record
	admission   Admission // without keys
	threshold   int
	authorities []authority.Name // in order of name
	nodes       []authority.Node
	// designated: it has said once who is its point of contact, and says it no other way any more. PROTOCOL 4.19.
	designated bool
	// instruments are those it says bind it; nil = it said nothing.
	instruments []string
	// recovery runs; nil = none. recovered are the statements of those that are over, the last since recoveredAt.
	recovery    *recovery
	recovered   []Hash
	recoveredAt uint64
}

type authorityRecord struct {
	record
	said *AuthorityDeclaration // without keys; never written to
	// notice is the last; nil = none. Never written to.
	notice *Notice
}

type nodeRecord struct {
	record
	said NodeDeclaration // without keys
}

// keyRecord is one key and its life. A key once declared is never declared again. PROTOCOL 4.14.
type keyRecord struct {
	Key
	owner   Subject
	rotated mark
	revoked mark
	// declared is the position of the statement that declared it; held: that one was signed with it too.
	declared uint64
	held     bool
	// recovering: it signs nothing until a recovery takes effect.
	recovering bool
}

// mark is when something happened to a key or an entry; the zero value is: it did not.
type mark struct {
	kind     Kind
	hash     Hash
	position uint64 // in the log; 0 = only seen
	at       int64
}

func (m mark) happened() bool { return m.kind != "" }

// basis is what a question may rest on.
type basis uint8

const (
	// logged: what the log says, and nothing else. Apply decides on this alone, so that all nodes agree.
	logged basis = iota
	// seen: the log and what was seen before it was logged.
	seen
)

// on reports whether it happened, on this basis.
func (m mark) on(b basis) bool { return m.happened() && (b == seen || m.position > 0) }

// NetworkID is the hexadecimal SHA-256 of the genesis payload. PROTOCOL 2.6.
func (s *Snapshot) NetworkID() string { return s.network.id }

// NetworkName is the name that TLS identities carry.
func (s *Snapshot) NetworkName() string { return s.network.name }

// Genesis is a copy of the signed genesis statement.
func (s *Snapshot) Genesis() []byte { return bytes.Clone(s.network.genesis) }

// Position is the number of log entries read so far, skipped ones included; the genesis is 1.
func (s *Snapshot) Position() uint64 { return s.position }

// Last is the hash that the next enabling statement about the subject must name; false if there was none yet.
func (s *Snapshot) Last(subject Subject) (Hash, bool) {
	if subject.IsNetwork() {
		return s.network.last, true
	}
	r, ok := s.record(subject)
	return r.last, ok
}

// Skip is the snapshot after a log entry that Apply refused: one position further and nothing else. After "newer-rules"
// nobody skips.
func (s *Snapshot) Skip() *Snapshot {
	next := *s
	next.position++
	return &next
}

// At is the snapshot as it answers at a time.
func (s *Snapshot) At(t time.Time) View { return View{s, t.Unix()} }

// record finds what a member of the network has in common with every other.
func (s *Snapshot) record(subject Subject) (record, bool) {
	switch {
	case isAuthority(subject):
		if r, ok := s.authorities.get(subject.name); ok {
			return r.record, true
		}
	case isNode(subject):
		if r, ok := s.nodes.get(subject.node); ok {
			return r.record, true
		}
	default:
		if r, ok := s.states.get(subject.state); ok {
			return r.record, true
		}
	}
	return record{}, false
}

// statePanel is the keys of a state that sign for it, and how many must.
func (s *Snapshot) statePanel(state authority.State, b basis) (panel, int) {
	r, ok := s.states.get(state)
	if !ok {
		return nil, 1
	}
	p := panel{}
	for _, f := range r.keys {
		if k, ok := s.keys.get(f); ok && !k.rotated.on(b) && !k.revoked.on(b) {
			p[f] = k.Public
		}
	}
	return p, r.threshold
}

func (s *Snapshot) byState(state authority.State, b basis) demand {
	p, threshold := s.statePanel(state, b)
	return demand{RoleState, p, threshold}
}

// byStewards demands some of the stewards in a role.
func (s *Snapshot) byStewards(role Role, least int) demand {
	return demand{role, s.network.panel, least}
}

// byQuorum demands k of n stewards.
func (s *Snapshot) byQuorum() demand { return s.byStewards(RoleSteward, s.network.stewards.Threshold) }
