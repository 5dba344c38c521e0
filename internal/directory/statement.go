package directory

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Limits of one statement. PROTOCOL 4.1, 4.2.
const (
	// MaxStatement is the most bytes of a statement with its signatures.
	MaxStatement = 64 << 10
	// MaxSignatures is the most signatures on one statement.
	MaxSignatures = 64
	// RulesVersion is the only version of the rules so far.
	RulesVersion = 1
)

const (
	opRead  = "read statement"
	idBytes = 16
	// maxTime is the last second of year 9999: no sum of two times overflows.
	maxTime = 253402300799
)

// Hash is a SHA-256: of a statement's payload, or of a contact card with its salt.
type Hash [sha256.Size]byte

// String is 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether there is no hash.
func (h Hash) IsZero() bool { return h == Hash{} }

// Subject is what a statement is about: the network (the zero value), a state, an authority or a node. PROTOCOL 4.4.
type Subject struct {
	state authority.State
	name  authority.Name
	node  authority.Node
}

const networkSubject = "network"

// OfState is a state as a subject.
func OfState(s authority.State) Subject { return Subject{state: s} }

// OfAuthority is an authority as a subject.
func OfAuthority(n authority.Name) Subject { return Subject{state: n.State(), name: n} }

// OfNode is a node as a subject.
func OfNode(n authority.Node) Subject { return Subject{state: n.State(), node: n} }

// ParseSubject reads "network", a state, an authority or a node. PROTOCOL 4.4.
func ParseSubject(s string) (Subject, error) {
	if s == networkSubject {
		return Subject{}, nil
	}
	if state, err := authority.ParseState(s); err == nil {
		return OfState(state), nil
	}
	if node, err := authority.ParseNode(s); err == nil {
		return OfNode(node), nil
	}
	if name, err := authority.ParseName(s); err == nil {
		return OfAuthority(name), nil
	}
	return Subject{}, wrong("wrong-subject", "the subject is neither the network nor a state, an authority or a node")
}

// String is the subject as statements carry it.
func (s Subject) String() string {
	switch {
	case !s.node.IsZero():
		return s.node.String()
	case !s.name.IsZero():
		return s.name.String()
	case !s.state.IsZero():
		return s.state.String()
	}
	return networkSubject
}

// IsNetwork reports whether the subject is the network itself.
func (s Subject) IsNetwork() bool { return s.state.IsZero() }

// State is the state whose entry this is; zero for the network.
func (s Subject) State() authority.State { return s.state }

// Name is the authority; zero for other subjects.
func (s Subject) Name() authority.Name { return s.name }

// Node is the node; zero for other subjects.
func (s Subject) Node() authority.Node { return s.node }

// Statement is a well-formed statement. That it parses says nothing about its signatures: Apply and Restrict do.
type Statement struct {
	signed, payload []byte
	hash            Hash
	network         string
	kind            Kind
	subject         Subject
	previous        Hash
	position        uint64
	created         int64
	body            Body
	signatures      []Signature
	proven          *proofs // signatures verified ahead; nil: none
}

// ParseStatement reads a statement with its signatures, which may still be none. It copies what it keeps.
// Errors are Invalid ("unknown-kind", "unknown-rules", "wrong-subject", ...) or TooLarge. PROTOCOL 4.1.
func ParseStatement(signed []byte) (Statement, error) {
	st, err := readStatement(signed, canonical.Unmarshal)
	if err != nil {
		return Statement{}, err
	}
	st.signed = bytes.Clone(signed)
	return st, nil
}

// readStatement is ParseStatement of bytes that nobody writes to afterwards.
func readStatement(signed []byte, read unmarshal) (Statement, error) {
	var outer formatv1.Signed
	if err := read(signed, &outer, MaxStatement); err != nil {
		return Statement{}, err
	}
	signatures, err := parseSignatures(outer.GetSignatures())
	if err != nil {
		return Statement{}, err
	}
	st, err := parsePayload(outer.GetPayload(), read)
	if err != nil {
		return Statement{}, err
	}
	st.signed, st.signatures = signed, signatures
	return st, nil
}

func parsePayload(payload []byte, read unmarshal) (Statement, error) {
	var m formatv1.Statement
	if err := read(payload, &m, MaxStatement); err != nil {
		return Statement{}, err
	}
	form, ok := forms[Kind(m.GetKind())]
	if !ok {
		return Statement{}, wrong("unknown-kind", "this version knows no statement of that kind")
	}
	subject, err := ParseSubject(m.GetSubject())
	if err != nil {
		return Statement{}, err
	}
	if err := form.checkHead(&m, subject); err != nil {
		return Statement{}, err
	}
	body, err := form.parse(m.GetBody(), subject, read)
	if err != nil {
		return Statement{}, err
	}
	st := Statement{payload: payload, hash: sha256.Sum256(payload), network: m.GetNetwork(), kind: Kind(m.GetKind()),
		subject: subject, position: m.GetPosition(), created: m.GetCreated(), body: body}
	copy(st.previous[:], m.GetPrevious())
	return st, nil
}

// checkHead holds the fields before the body against the kind. PROTOCOL 4.1, 4.4, 4.6.
func (f form) checkHead(m *formatv1.Statement, subject Subject) error {
	previous, id := len(m.GetPrevious()), len(m.GetId())
	switch {
	case m.GetRules() != RulesVersion:
		return wrong("unknown-rules", "the statement follows a version of the rules that this version does not know")
	case !f.about(subject):
		return wrong("wrong-subject", "a statement of that kind cannot be about that subject")
	case m.GetCreated() <= 0 || m.GetCreated() > maxTime:
		return wrong("malformed-time", "the time of signing is missing or out of range")
	case f.founds && (m.GetNetwork() != "" || previous+id > 0 || m.GetPosition() != 0):
		return wrong("malformed", "a genesis follows nothing, so it names no network, previous statement or position")
	case !f.founds && (!isHash(m.GetNetwork()) || m.GetPosition() == 0):
		return wrong("malformed", "the statement names no network or no directory position")
	case f.restricts && (previous != 0 || id != idBytes):
		return wrong("malformed", "a restricting statement has an identifier of 16 bytes and follows no other")
	case !f.restricts && (id != 0 || (previous != 0 && previous != sha256.Size)):
		return wrong("malformed", "an enabling statement names the hash of the one before it and has no identifier")
	}
	return nil
}

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == s
}

// Signed is a copy of the bytes as they came.
func (st Statement) Signed() []byte { return bytes.Clone(st.signed) }

// Payload is a copy of the bytes that the signatures cover.
func (st Statement) Payload() []byte { return bytes.Clone(st.payload) }

// Hash is SHA-256 of the payload: the statement's identity whoever has signed so far.
func (st Statement) Hash() Hash { return st.hash }

// Kind says what is stated.
func (st Statement) Kind() Kind { return st.kind }

// Subject says about whom.
func (st Statement) Subject() Subject { return st.subject }

// Network is the network ID it was made for; empty in a genesis.
func (st Statement) Network() string { return st.network }

// Previous is the hash of the enabling statement it follows; zero for the first and for restricting ones.
func (st Statement) Previous() Hash { return st.previous }

// Position is the directory position that the signer had seen.
func (st Statement) Position() uint64 { return st.position }

// Created is the signer's clock when it was made: their word, never proof.
func (st Statement) Created() time.Time { return time.Unix(st.created, 0).UTC() }

// Restricting reports whether it takes effect on sight. PROTOCOL 4.6.
func (st Statement) Restricting() bool { return forms[st.kind].restricts }

// Body is what the kind says: one of the noun types of this package that implement Body.
func (st Statement) Body() Body { return st.body }

// Signatures are the signatures as they came, not yet verified.
func (st Statement) Signatures() []Signature {
	all := append([]Signature(nil), st.signatures...)
	for i := range all {
		all[i].Value = bytes.Clone(all[i].Value)
	}
	return all
}

// Cards are the hashes of the contact cards that go with it. PROTOCOL 4.8.
func (st Statement) Cards() []Hash {
	var cards []Hash
	if d, ok := st.body.(AuthorityDeclaration); ok {
		for _, desk := range d.Desks {
			if !desk.Card.IsZero() {
				cards = append(cards, desk.Card)
			}
		}
	}
	return cards
}

// wrong is input that can never be accepted as it stands.
func wrong(code, say string) error { return fault.New(fault.Invalid, code, opRead, say) }
