package seal

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// EpochPackage says which key an epoch of an audience has, without the key. There is one for each epoch, the same bytes
// for all members, so that two of them prove that a publisher told two stories. PROTOCOL 7.3.
type EpochPackage struct {
	Network     string
	Publisher   authority.Node
	Incarnation message.Incarnation
	// Epoch counts from 1.
	Epoch    uint64
	Category authority.Category
	// Audience is rule, states and the position that the members were computed at.
	Audience message.Audience
	Time     time.Time
	// Restrictions are statements that were applied on sight, their bytes.
	Restrictions [][]byte
	// Members is the member digest. PROTOCOL 7.2.
	Members        message.Digest
	KeyFingerprint message.Digest
	// Previous is the digest of the package before; zero at epoch 1.
	Previous message.Digest
}

// AudienceID names the audience.
func (p EpochPackage) AudienceID() message.Digest { return p.Audience.ID(p.Category) }

// Digest is what the next epoch's package names as Previous.
func (p EpochPackage) Digest() message.Digest { return message.DigestOf(p.Marshal()) }

// Marshal writes the bytes that the publisher signs.
func (p EpochPackage) Marshal() []byte {
	m := &formatv1.EpochPackage{
		Network: p.Network, Publisher: p.Publisher.String(), Incarnation: incarnation(p.Incarnation), Epoch: p.Epoch,
		Category: p.Category.String(), Rule: string(p.Audience.Rule), States: message.StateNames(p.Audience.States),
		Position: p.Audience.Position, Time: p.Time.UnixMilli(), Restrictions: p.Restrictions,
		Members: p.Members[:], KeyFingerprint: p.KeyFingerprint[:],
	}
	if p.Epoch > 1 {
		m.Previous = p.Previous[:]
	}
	return canonical.Marshal(m)
}

func (p EpochPackage) maker() authority.Node { return p.Publisher }

func packageForm() form[EpochPackage] {
	return form[EpochPackage]{authority.ForEpochPackage, message.MaxEpochPackage, parseEpochPackage}
}

// SignEpochPackage refuses a package that no reader would take.
func SignEpochPackage(ctx context.Context, signer Signer, key authority.Fingerprint, p EpochPackage) ([]byte, error) {
	return packageForm().sign(ctx, signer, key, p)
}

// VerifyEpochPackage checks that the publisher it names signed it, and reads it. The caller recomputes audience and
// members. PROTOCOL 3.4, 7.3.
func VerifyEpochPackage(signed []byte, find NodeKey) (EpochPackage, error) {
	return packageForm().verify(signed, find)
}

// StoredEpochPackage reads a package that was verified before it was stored.
func StoredEpochPackage(signed []byte) (EpochPackage, error) { return packageForm().stored(signed) }

func parseEpochPackage(b []byte) (EpochPackage, error) {
	var m formatv1.EpochPackage
	err := canonical.Unmarshal(b, &m, message.MaxEpochPackage)
	if err != nil {
		return EpochPackage{}, err
	}
	p := EpochPackage{
		Network: m.GetNetwork(), Epoch: m.GetEpoch(), Time: time.UnixMilli(m.GetTime()).UTC(), Restrictions: m.GetRestrictions(),
	}
	if p.Epoch == 0 || (p.Epoch == 1) != (len(m.GetPrevious()) == 0) || len(p.Restrictions) > message.MaxRestrictions {
		return EpochPackage{}, malformedSigned("epochs count from 1, all but the first name the one before, and at most 64 statements are attached")
	}
	if p.Publisher, err = authority.ParseNode(m.GetPublisher()); err != nil {
		return EpochPackage{}, err
	}
	if p.Incarnation, err = message.ParseIncarnation(m.GetIncarnation()); err != nil {
		return EpochPackage{}, err
	}
	if p.Category, err = authority.ParseCategory(m.GetCategory()); err != nil {
		return EpochPackage{}, err
	}
	if p.Audience, err = message.ParseAudience(p.Category, m.GetRule(), m.GetStates(), m.GetPosition()); err != nil {
		return EpochPackage{}, err
	}
	return p, p.digests(&m)
}

func (p *EpochPackage) digests(m *formatv1.EpochPackage) error {
	var err error
	if p.Members, err = message.DigestFromBytes(m.GetMembers()); err != nil {
		return err
	}
	if p.KeyFingerprint, err = message.DigestFromBytes(m.GetKeyFingerprint()); err != nil {
		return err
	}
	if p.Epoch > 1 {
		p.Previous, err = message.DigestFromBytes(m.GetPrevious())
	}
	return err
}

// Grant hands an epoch key to one member, as the body of a control envelope. PROTOCOL 7.3.
type Grant struct {
	// Package is the Signed EpochPackage, the publisher's bytes.
	Package []byte
	Key     EpochKey
}

// Marshal writes the body. It holds the key: it is sealed before it goes anywhere.
func (g Grant) Marshal() []byte {
	return canonical.Marshal(&formatv1.EpochGrant{Package: g.Package, Key: g.Key.Bytes()})
}

// ParseGrant reads a body and nothing of the package in it.
func ParseGrant(b []byte) (Grant, error) {
	var m formatv1.EpochGrant
	if err := canonical.Unmarshal(b, &m, message.MaxSealedBody); err != nil {
		return Grant{}, err
	}
	key, err := ParseEpochKey(m.GetKey())
	return Grant{m.GetPackage(), key}, err
}

// Verify checks the package as [VerifyEpochPackage] does, and that the key is the one it names (code "wrong-key").
func (g Grant) Verify(find NodeKey) (EpochPackage, error) {
	p, err := VerifyEpochPackage(g.Package, find)
	if err != nil {
		return EpochPackage{}, err
	}
	return p, g.fits(p)
}

// Stored reads the package of a grant that was verified before it was stored.
func (g Grant) Stored() (EpochPackage, error) {
	p, err := StoredEpochPackage(g.Package)
	if err != nil {
		return EpochPackage{}, err
	}
	return p, g.fits(p)
}

func (g Grant) fits(p EpochPackage) error {
	if g.Key.Fingerprint() != p.KeyFingerprint {
		return wrongKey("the key is not the one that the package names")
	}
	return nil
}

// KeyRequest asks a publisher for an epoch key, as the body of a control envelope. PROTOCOL 7.3.
type KeyRequest struct {
	Publisher   authority.Node
	Incarnation message.Incarnation
	Audience    message.Digest
	// Epoch is 0 for the newest.
	Epoch uint64
}

// Marshal writes the body.
func (r KeyRequest) Marshal() []byte {
	return canonical.Marshal(&formatv1.KeyRequest{
		Publisher: r.Publisher.String(), Incarnation: incarnation(r.Incarnation), Audience: r.Audience[:], Epoch: r.Epoch,
	})
}

// ParseKeyRequest reads a body.
func ParseKeyRequest(b []byte) (KeyRequest, error) {
	var m formatv1.KeyRequest
	err := canonical.Unmarshal(b, &m, message.MaxReceipt)
	if err != nil {
		return KeyRequest{}, err
	}
	r := KeyRequest{Epoch: m.GetEpoch()}
	if r.Publisher, err = authority.ParseNode(m.GetPublisher()); err != nil {
		return KeyRequest{}, err
	}
	if r.Incarnation, err = message.ParseIncarnation(m.GetIncarnation()); err != nil {
		return KeyRequest{}, err
	}
	r.Audience, err = message.DigestFromBytes(m.GetAudience())
	return r, err
}
