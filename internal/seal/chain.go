package seal

import (
	"context"
	"encoding/binary"
	"iter"
	"math"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// ChainHash is C(number): it names the alert and, through previous, all before it. Previous counts for nothing at
// number 1. PROTOCOL 7.5.
func ChainHash(salt []byte, number uint64, previous, digest message.Digest) message.Digest {
	b := append([]byte("enlace/v1/chain\n"), salt...)
	b = binary.BigEndian.AppendUint64(b, number)
	if number > 1 {
		b = append(b, previous[:]...)
	}
	return message.DigestOf(append(b, digest[:]...))
}

// link checks the parts that give a number its place, and reads the chain hash before it. PROTOCOL 7.4, 7.5.
func link(number uint64, salt, previous []byte) (message.Digest, error) {
	if number == 0 || len(salt) != saltSize || (number == 1) != (len(previous) == 0) {
		return message.Digest{}, malformedSigned("an alert has a number from 1, a salt of 32 bytes and, but for the first, the chain hash before it")
	}
	if number == 1 {
		return message.Digest{}, nil
	}
	return message.DigestFromBytes(previous)
}

// ChainEntry is one line of a chain index.
type ChainEntry struct {
	Number uint64
	// Digest is the envelope digest of the alert.
	Digest  message.Digest
	Subject message.Subject
	Salt    []byte
	// Again is the number under which the same alert was issued before in this chain; 0 if it was not.
	Again uint64
}

// ChainIndex lists consecutive alerts of one chain, so that a node which passes over some can still follow it. It is the
// publisher's signed word on what stands under each number. PROTOCOL 7.5.
type ChainIndex struct {
	Network     string
	Publisher   authority.Node
	Incarnation message.Incarnation
	// Audience is its ID.
	Audience message.Digest
	// First is the number of the first entry; Previous the chain hash before it, zero at number 1.
	First    uint64
	Previous message.Digest
	// Entries are 1 to 1,024, consecutive.
	Entries []ChainEntry
}

// Walk gives every entry with its chain hash, computed here.
func (x ChainIndex) Walk() iter.Seq2[ChainEntry, message.Digest] {
	return func(yield func(ChainEntry, message.Digest) bool) {
		at := x.Previous
		for _, e := range x.Entries {
			at = ChainHash(e.Salt, e.Number, at, e.Digest)
			if !yield(e, at) {
				return
			}
		}
	}
}

// Last is the number of the last entry.
func (x ChainIndex) Last() uint64 { return x.First + uint64(len(x.Entries)) - 1 }

// Marshal writes the bytes that the publisher signs.
func (x ChainIndex) Marshal() []byte {
	m := &formatv1.ChainIndex{
		Network: x.Network, Publisher: x.Publisher.String(), Incarnation: incarnation(x.Incarnation), Audience: x.Audience[:], First: x.First,
	}
	if x.First > 1 {
		m.Previous = x.Previous[:]
	}
	for _, e := range x.Entries {
		m.Entries = append(m.Entries, &formatv1.ChainEntry{Number: e.Number, Digest: e.Digest.Bytes(), Subject: e.Subject.String(), Salt: e.Salt, Again: e.Again})
	}
	return canonical.Marshal(m)
}

func (x ChainIndex) maker() authority.Node { return x.Publisher }

func indexForm() form[ChainIndex] {
	return form[ChainIndex]{authority.ForChainIndex, message.MaxChainIndex, parseChainIndex}
}

// SignChainIndex refuses an index that no reader would take.
func SignChainIndex(ctx context.Context, signer Signer, key authority.Fingerprint, x ChainIndex) ([]byte, error) {
	return indexForm().sign(ctx, signer, key, x)
}

// VerifyChainIndex checks that the publisher it names signed it, and reads it. PROTOCOL 3.4, 7.5.
func VerifyChainIndex(signed []byte, find NodeKey) (ChainIndex, error) {
	return indexForm().verify(signed, find)
}

// StoredChainIndex reads an index that was verified before it was stored.
func StoredChainIndex(signed []byte) (ChainIndex, error) { return indexForm().stored(signed) }

func parseChainIndex(b []byte) (ChainIndex, error) {
	var m formatv1.ChainIndex
	err := canonical.Unmarshal(b, &m, message.MaxChainIndex)
	if err != nil {
		return ChainIndex{}, err
	}
	n := len(m.GetEntries())
	if n == 0 || n > message.MaxChainEntries || m.GetFirst() == 0 || m.GetFirst() > math.MaxUint64-message.MaxChainEntries {
		return ChainIndex{}, malformedSigned("a chain index has 1 to 1,024 entries, numbered from 1 on")
	}
	x := ChainIndex{Network: m.GetNetwork(), First: m.GetFirst()}
	if x.Publisher, err = authority.ParseNode(m.GetPublisher()); err != nil {
		return ChainIndex{}, err
	}
	if x.Incarnation, err = message.ParseIncarnation(m.GetIncarnation()); err != nil {
		return ChainIndex{}, err
	}
	if x.Audience, err = message.DigestFromBytes(m.GetAudience()); err != nil {
		return ChainIndex{}, err
	}
	for i, e := range m.GetEntries() {
		entry, err := parseEntry(e, x.First+uint64(i))
		if err != nil {
			return ChainIndex{}, err
		}
		x.Entries = append(x.Entries, entry)
	}
	x.Previous, err = link(x.First, x.Entries[0].Salt, m.GetPrevious())
	return x, err
}

// parseEntry refuses any number but the one that is next: an index has no gaps.
func parseEntry(m *formatv1.ChainEntry, number uint64) (ChainEntry, error) {
	if m.GetNumber() != number || len(m.GetSalt()) != saltSize {
		return ChainEntry{}, malformedSigned("the entries of a chain index are consecutive, each with a salt of 32 bytes")
	}
	if m.GetAgain() >= number {
		return ChainEntry{}, malformedSigned("an alert is issued again under a later number than before")
	}
	e := ChainEntry{Number: number, Salt: m.GetSalt(), Again: m.GetAgain()}
	var err error
	if e.Digest, err = message.DigestFromBytes(m.GetDigest()); err != nil {
		return ChainEntry{}, err
	}
	e.Subject, err = message.ParseSubject(m.GetSubject())
	return e, err
}
