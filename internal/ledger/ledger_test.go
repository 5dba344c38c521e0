package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// signer signs with a fixed key until it is locked.
type signer struct{ locked bool }

func (*signer) private() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
}

func (s *signer) PublicKey() authority.PublicKey {
	key, err := authority.ParsePublicKey(authority.Ed25519, s.private().Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return key
}

func (s *signer) Sign(msg []byte) ([]byte, error) {
	if s.locked {
		return nil, errors.New("locked")
	}
	return ed25519.Sign(s.private(), msg), nil
}

const origin = "network.example/mx/node/primary/evidence/1-0011223344556677"

// nothing is an empty log.
type nothing struct{}

func (nothing) Events(uint64, int) ([]StoredEvent, error)     { return nil, nil }
func (nothing) EventCount() (uint64, error)                   { return 0, nil }
func (nothing) Checkpoints(uint64, int) ([]Checkpoint, error) { return nil, nil }
func (nothing) NewestCheckpoint() (Checkpoint, error)         { return Checkpoint{}, Absent("checkpoint") }

func newLog(t *testing.T, s *signer) *Log {
	t.Helper()
	random := bytes.NewReader(bytes.Repeat([]byte{0xa5}, 1<<14))
	l, err := OpenLog(origin, Keys{Signer: s, Secret: [32]byte{7}}, random, nothing{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func sampleEvent() Event {
	return Event{Time: time.UnixMilli(1773489600123).UTC(), Kind: "received", Actor: "node", Detail: []byte("detail")}
}

// appended commits one event.
func appended(t *testing.T, l *Log) StoredEvent {
	t.Helper()
	l.Begin()
	e, err := l.Append(sampleEvent())
	if err != nil {
		t.Fatal(err)
	}
	l.Commit()
	return e
}

// TestLeafBytes pins the leaf. PROTOCOL 9.1.
func TestLeafBytes(t *testing.T) {
	e := appended(t, newLog(t, new(signer)))
	const want = "10fbecdee1ce331a08726563656976656422046e6f6465422075fee5a711a68bf3872c594f9f6fd6b87e6b5d28166de66ded378e95823e3e77"
	if got := hex.EncodeToString(e.Leaf); got != want {
		t.Errorf("leaf = %s, want %s", got, want)
	}
	back, err := ParseLeaf(e.Leaf)
	if err != nil || back.Kind != "received" || back.Actor != "node" || !back.Time.Equal(e.Time) {
		t.Errorf("leaf reads as %+v, %v", back, err)
	}
}

// TestCommitment: each checkpoint's commitment names the digest of the one before, and nothing else of the tree than
// the salted hash. PROTOCOL 9.4.
func TestCommitment(t *testing.T) {
	l := newLog(t, new(signer))
	var previous []byte
	for sequence := uint64(1); sequence <= 3; sequence++ {
		appended(t, l)
		l.Begin()
		c, err := l.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		l.Commit()
		var m formatv1.CheckpointCommitment
		if err := canonical.Unmarshal(c.Commitment, &m, 4<<10); err != nil {
			t.Fatal(err)
		}
		if m.GetOrigin() != origin || m.GetSequence() != sequence || !bytes.Equal(m.GetSaltedHash(), c.Salted[:]) || !bytes.Equal(m.GetPrevious(), previous) {
			t.Errorf("commitment %d = %v", sequence, &m)
		}
		previous = message.DigestOf(c.Commitment).Bytes()
	}
}

// TestSalted pins the derivation of a checkpoint's salt. PROTOCOL 9.4.
func TestSalted(t *testing.T) {
	l := newLog(t, new(signer))
	got, err := l.salted(5, merkle.Checkpoint{Origin: origin, Size: 3, Root: tlog.Hash{9}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "2425ae59f323f01a1562e4835b519cace8e60add865e345dcd0ade01d30745ce"
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("salted hash = %s, want %s", hex.EncodeToString(got[:]), want)
	}
}

// TestRepeatedCheckpoint: what was signed for a group that failed is signed again in the same bytes: one commitment per
// number, whatever the disk does.
func TestRepeatedCheckpoint(t *testing.T) {
	l := newLog(t, new(signer))
	appended(t, l)
	var notes [][]byte
	for range 2 {
		l.Begin()
		if _, err := l.Append(sampleEvent()); err != nil {
			t.Fatal(err)
		}
		c, err := l.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, append(c.Note, c.Commitment...))
		l.Rollback()
	}
	if !bytes.Equal(notes[0], notes[1]) {
		t.Errorf("signed %q, then %q", notes[0], notes[1])
	}
}

// TestLockedKey: a key that is away stops what needs its signature and nothing else.
func TestLockedKey(t *testing.T) {
	s := new(signer)
	l := newLog(t, s)
	s.locked = true
	for range citeAfter + 1 {
		appended(t, l)
	}
	l.Begin()
	if c := l.Pending(); c != nil {
		t.Errorf("pending = %v, want none", c)
	}
	if _, err := l.Checkpoint(); !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "keyring-away" {
		t.Errorf("checkpoint = %v, want keyring-away", err)
	}
	s.locked = false
	if c := l.Pending(); c == nil || c.Size != citeAfter+1 {
		t.Errorf("pending = %v, want a checkpoint over %d events", c, citeAfter+1)
	}
}

func FuzzParseLeaf(f *testing.F) {
	f.Add(canonical.Marshal(&formatv1.EventLeaf{Sequence: 1, Time: 2, Kind: "sent", Actor: "ana", Sender: "mx/fgr",
		MessageId: []byte{5: 1, 6: 0x70, 8: 0x80, 15: 0}, Digest: make([]byte, 32), Detail: make([]byte, 32)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseLeaf(b)
		if err == nil && !bytes.Equal(e.Leaf, b) {
			t.Errorf("%x reads as the leaf %x", b, e.Leaf)
		}
	})
}
