package directory

import (
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// DraftGenesis is the payload of a genesis. The body's nonce is 16 random bytes. PROTOCOL 4.10.
func DraftGenesis(created time.Time, body *formatv1.Genesis) ([]byte, error) {
	return finish(&formatv1.Statement{Rules: RulesVersion, Kind: string(KindGenesis), Subject: networkSubject, Created: created.Unix()}, body)
}

// Draft makes payloads for signers: it fills in the network, the place in the chain and the position from a snapshot.
// Each method returns the bytes to sign, authority.Message(SigningPurpose(role), payload), after checking that every
// reader will take them; who has to sign is checked by Apply. A draft goes stale when its subject changes.
type Draft struct {
	Snapshot *Snapshot
	Created  time.Time
	// Random gives the identifiers of restricting statements.
	Random io.Reader
}

// AdmitState takes a state in. Signers: stewards (RoleSteward), the state's new keys (RoleState).
func (d Draft) AdmitState(state authority.State, body *formatv1.AdmitState) ([]byte, error) {
	return d.enabling(KindAdmitState, OfState(state), body)
}

// RotateState replaces a state's keys. Signers: its old keys (RoleState), its new ones (RoleNew).
func (d Draft) RotateState(state authority.State, body *formatv1.RotateState) ([]byte, error) {
	return d.enabling(KindRotateState, OfState(state), body)
}

// DeclareAuthority declares or, without keys, amends an authority. Signers: the state (RoleState), one steward
// (RoleVerify), another (RoleCountersign).
func (d Draft) DeclareAuthority(name authority.Name, body *formatv1.DeclareAuthority) ([]byte, error) {
	return d.enabling(KindDeclareAuthority, OfAuthority(name), body)
}

// DeclareNode declares or, without keys, amends a node. Signers as DeclareAuthority.
func (d Draft) DeclareNode(node authority.Node, body *formatv1.DeclareNode) ([]byte, error) {
	return d.enabling(KindDeclareNode, OfNode(node), body)
}

// RotateAuthorityKeys changes an authority's keys. Signers: the state.
func (d Draft) RotateAuthorityKeys(name authority.Name, body *formatv1.RotateAuthorityKeys) ([]byte, error) {
	return d.enabling(KindRotateAuthorityKeys, OfAuthority(name), body)
}

// RotateNode changes a node's endpoints and keys. Signers: the state.
func (d Draft) RotateNode(node authority.Node, body *formatv1.RotateNode) ([]byte, error) {
	return d.enabling(KindRotateNode, OfNode(node), body)
}

// Reinstate ends suspensions made up to the draft's position. Signers: stewards; for self-suspensions the state too.
func (d Draft) Reinstate(subject Subject, reason string) ([]byte, error) {
	return d.enabling(KindReinstate, subject, &formatv1.Reinstate{Position: d.Snapshot.Position(), Reason: reason})
}

// Retire ends an authority for good. Signers: the state.
func (d Draft) Retire(name authority.Name, reason string) ([]byte, error) {
	return d.restricting(KindRetire, OfAuthority(name), &formatv1.Retire{Reason: reason})
}

// RevokeNode ends a node for good. Signers: the state.
func (d Draft) RevokeNode(node authority.Node, reason string) ([]byte, error) {
	return d.restricting(KindRevoke, OfNode(node), &formatv1.Revoke{Reason: reason})
}

// RevokeKey ends one key of a state, an authority or a node for good. Signers: the state.
func (d Draft) RevokeKey(owner Subject, key authority.Fingerprint, reason string) ([]byte, error) {
	return d.restricting(KindRevoke, owner, &formatv1.Revoke{Key: key[:], Reason: reason})
}

// Suspend bars a subject from the draft's time until end. Signers: the state, or stewards. PROTOCOL 4.7.
func (d Draft) Suspend(subject Subject, end time.Time, reason string) ([]byte, error) {
	return d.restricting(KindSuspend, subject, &formatv1.Suspend{Start: d.Created.Unix(), End: end.Unix(), Reason: reason})
}

func (d Draft) head(kind Kind, subject Subject) *formatv1.Statement {
	return &formatv1.Statement{Network: d.Snapshot.NetworkID(), Rules: RulesVersion, Kind: string(kind), Subject: subject.String(),
		Position: d.Snapshot.Position(), Created: d.Created.Unix()}
}

func (d Draft) enabling(kind Kind, subject Subject, body proto.Message) ([]byte, error) {
	m := d.head(kind, subject)
	if last, ok := d.Snapshot.Last(subject); ok {
		m.Previous = last[:]
	}
	return finish(m, body)
}

func (d Draft) restricting(kind Kind, subject Subject, body proto.Message) ([]byte, error) {
	m := d.head(kind, subject)
	m.Id = make([]byte, idBytes)
	if _, err := io.ReadFull(d.Random, m.Id); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "draft statement", "no random numbers")
	}
	return finish(m, body)
}

// finish reads its own work: nobody is asked to sign what nobody will accept.
func finish(m *formatv1.Statement, body proto.Message) ([]byte, error) {
	var err error
	if m.Body, err = encode(body); err != nil {
		return nil, err
	}
	payload := canonical.Marshal(m)
	if _, err := parsePayload(payload, canonical.Unmarshal); err != nil {
		return nil, err
	}
	return payload, nil
}

// encode is canonical.Marshal for words that no parser has seen: text that is not UTF-8 is an error there, not a defect.
func encode(m proto.Message) ([]byte, error) {
	if _, err := proto.Marshal(m); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "malformed-text", "draft statement", "a text is not valid UTF-8")
	}
	return canonical.Marshal(m), nil
}

// DeclareKey is a key as statements carry it, valid from a time on until it is rotated; zero = at once.
func DeclareKey(purpose KeyPurpose, key authority.PublicKey, notBefore time.Time) *formatv1.Key {
	m := &formatv1.Key{Algorithm: key.Algorithm(), Purpose: string(purpose), Public: key.Bytes()}
	if !notBefore.IsZero() {
		m.NotBefore = notBefore.Unix()
	}
	return m
}
