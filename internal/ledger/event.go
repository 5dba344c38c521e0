package ledger

import (
	"crypto/sha256"
	"io"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

const (
	maxEventWord   = 128      // bytes of an event's kind and of its actor
	maxEventDetail = 64 << 10 // bytes of an event's detail
	maxLeaf        = 4 << 10  // bytes of an event leaf
	saltSize       = 32
)

// Event is one thing that was done. Kind, actor, message and digest are in the log for ever; the detail is in it only
// as a salted hash and can be purged, so personal data belongs there.
type Event struct {
	Time time.Time
	// Kind is a slug such as "submitted", "received", "read".
	Kind string
	// Actor is an account of this node, "node", or empty where nobody is known (a failed login).
	Actor string
	// Message is what it is about; zero when it is about none.
	Message message.Key
	// Digest identifies the bytes it is about: an envelope, a receipt, a policy; may be zero.
	Digest message.Digest
	// Detail may be empty; at most 64 KiB.
	Detail []byte
}

// StoredEvent is an event with all that its place in the log rests on.
type StoredEvent struct {
	Event
	// Sequence is the event's number, from 0: its index in the tree.
	Sequence uint64
	// Leaf is the canonical EventLeaf. PROTOCOL 9.1.
	Leaf []byte
	// Salt hides the detail; empty where there is no detail or it was purged.
	Salt []byte
	// Hashes are the tree hashes stored with this event, 32 bytes each: its own, then each subtree it completes.
	Hashes []byte
}

// leafOf writes the leaf of an event and the salt it has drawn for the detail. PROTOCOL 9.1.
func leafOf(e Event, sequence uint64, random io.Reader) ([]byte, []byte, error) {
	if err := checkEvent(e); err != nil {
		return nil, nil, err
	}
	m := &formatv1.EventLeaf{
		Sequence: sequence, Time: e.Time.UnixMilli(), Kind: e.Kind, Actor: e.Actor,
		Sender: e.Message.Sender.String(), MessageId: e.Message.ID.Bytes(),
	}
	if e.Digest != (message.Digest{}) {
		m.Digest = e.Digest[:]
	}
	var salt []byte
	if len(e.Detail) > 0 {
		salt = make([]byte, saltSize)
		if _, err := io.ReadFull(random, salt); err != nil {
			return nil, nil, fault.Wrap(err, fault.Internal, "", "append event", "no randomness")
		}
		m.Detail = detailHash(salt, e.Detail)
	}
	return canonical.Marshal(m), salt, nil
}

func detailHash(salt, detail []byte) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write(detail)
	return h.Sum(nil)
}

func checkEvent(e Event) error {
	word := func(s string) bool { return len(s) <= maxEventWord && utf8.ValidString(s) }
	if e.Kind == "" || !word(e.Kind) || !word(e.Actor) || len(e.Detail) > maxEventDetail || e.Time.IsZero() {
		return fault.New(fault.Invalid, "malformed", "append event", "an event has a time, a kind of at most 128 bytes, an actor of as many and at most 64 KiB of detail")
	}
	return nil
}

// ParseLeaf reads a leaf back into its event, without the detail. PROTOCOL 9.1.
func ParseLeaf(leaf []byte) (StoredEvent, error) {
	var m formatv1.EventLeaf
	if err := canonical.Unmarshal(leaf, &m, maxLeaf); err != nil {
		return StoredEvent{}, err
	}
	e := StoredEvent{Sequence: m.GetSequence(), Leaf: leaf}
	e.Time, e.Kind, e.Actor = time.UnixMilli(m.GetTime()).UTC(), m.GetKind(), m.GetActor()
	var err error
	if m.GetSender() != "" {
		if e.Message.Sender, err = authority.ParseName(m.GetSender()); err != nil {
			return StoredEvent{}, err
		}
	}
	if len(m.GetMessageId()) > 0 {
		if e.Message.ID, err = message.IDFromBytes(m.GetMessageId()); err != nil {
			return StoredEvent{}, err
		}
	}
	if len(m.GetDigest()) > 0 {
		if e.Digest, err = message.DigestFromBytes(m.GetDigest()); err != nil {
			return StoredEvent{}, err
		}
	}
	return e, nil
}

// HashReader reads the tree from the hashes stored with each event: hash (level, n) was stored with the event that
// completed its subtree.
func HashReader(hashesOf func(sequence uint64) ([]byte, error)) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, 0, len(indexes))
		for _, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			hashes, err := hashesOf(uint64((n+1)<<level - 1))
			if err != nil {
				return nil, err
			}
			if len(hashes) < (level+1)*tlog.HashSize {
				return nil, broken("a stored hash of the log is missing", nil)
			}
			out = append(out, tlog.Hash(hashes[level*tlog.HashSize:]))
		}
		return out, nil
	})
}
