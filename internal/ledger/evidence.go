package ledger

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// citeAfter is how many events may pass before a checkpoint is stored though nobody cited one: a node that only sends
// issues no receipts.
const citeAfter = 256

// Checkpoint is a signed root of the evidence log as the ledger keeps it.
type Checkpoint struct {
	merkle.Checkpoint
	// Sequence counts the stored checkpoints of this log from 1.
	Sequence uint64
	// Note is the signed note. PROTOCOL 9.3.
	Note []byte
	// Salted is what receipts carry. PROTOCOL 9.4.
	Salted message.Digest
	// Commitment is the canonical CheckpointCommitment that peers cosign; it names the digest of the one before.
	Commitment []byte
}

// Keys are what the evidence log needs of the keyring.
type Keys struct {
	// Signer holds the evidence-log key, which signs nothing else.
	Signer merkle.Signer
	// Earlier are the keys that it took the place of: what they signed still opens.
	Earlier []authority.PublicKey
	// Secret is backed up with the ledger; the salts of checkpoints derive from it.
	Secret [32]byte
}

// Log is the evidence log as an engine's single writer keeps it in memory, between the records it has stored and those
// it is about to. Not safe for concurrent use.
//
// The engine calls Begin before a group, Savepoint before each transaction, Undo when that one fails, and after the
// group Commit or Rollback. Event numbers are thereby given under the commit lock and never burned (DESIGN 9).
type Log struct {
	origin    string
	keys      Keys
	verifiers []note.Verifier
	random    io.Reader

	head   merkle.Frontier // with the events of the open group
	base   merkle.Frontier // as of the last commit: what a checkpoint may be signed over now
	saved  *merkle.Frontier
	newest Checkpoint // newest stored; zero when there is none
	signed *Checkpoint
}

// OpenLog rebuilds the log from what an engine holds. It refuses with Conflict "evidence-broken" a log whose stored
// hashes do not begin with the tree of its newest checkpoint, and with Conflict "other-log" a checkpoint that this
// origin and key have not signed. newest is nil when nothing was cited yet.
func OpenLog(origin string, keys Keys, random io.Reader, stored EventReader) (*Log, error) {
	verifiers, err := keys.verifiers(origin)
	if err != nil {
		return nil, err
	}
	l := &Log{origin: origin, keys: keys, verifiers: verifiers, random: random}
	count, err := stored.EventCount()
	if err != nil {
		return nil, err
	}
	hashes := hashesIn(stored)
	if l.head, err = merkle.ReadFrontier(int64(count), hashes); err != nil {
		return nil, err
	}
	newest, err := stored.NewestCheckpoint()
	if fault.Is(err, fault.NotFound) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	l.newest = newest
	return l, l.checkNewest(hashes)
}

// verifiers are of the key that signs now, then of those before it.
func (k Keys) verifiers(origin string) ([]note.Verifier, error) {
	var all []note.Verifier
	for _, key := range append([]authority.PublicKey{k.Signer.PublicKey()}, k.Earlier...) {
		v, err := merkle.NewVerifier(origin, key)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// hashesIn reads tree hashes through the events that store them.
func hashesIn(stored EventReader) tlog.HashReader {
	return HashReader(func(sequence uint64) ([]byte, error) {
		events, err := stored.Events(sequence, 1)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 || events[0].Sequence != sequence {
			return nil, broken(fmt.Sprintf("event %d is missing", sequence), nil)
		}
		return events[0].Hashes, nil
	})
}

// checkNewest holds the tree against the newest checkpoint: same root at its size, and a continuation from there.
func (l *Log) checkNewest(hashes tlog.HashReader) error {
	if err := l.checkCheckpoint(l.newest); err != nil {
		return err
	}
	if l.newest.Size > l.head.Size() {
		return broken(fmt.Sprintf("the log has %d events, but %d were signed", l.head.Size(), l.newest.Size), nil)
	}
	if l.newest.Size == 0 {
		return nil
	}
	proof, err := merkle.ProveConsistency(l.head.Size(), l.newest.Size, hashes)
	if err != nil {
		return err
	}
	head := merkle.Checkpoint{Origin: l.origin, Size: l.head.Size(), Root: l.head.Root()}
	if err := merkle.CheckConsistency(proof, head, l.newest.Checkpoint); err != nil {
		return broken("the log does not begin with what its newest checkpoint signed", err)
	}
	return nil
}

// checkCheckpoint verifies signature, salted hash and commitment of a stored checkpoint.
func (l *Log) checkCheckpoint(c Checkpoint) error {
	opened, err := l.open(c.Note)
	if err != nil {
		return fault.Wrap(err, fault.Conflict, "other-log", "verify evidence",
			"the checkpoint was not signed by the evidence key of this node")
	}
	salted, err := l.salted(c.Sequence, opened)
	if err != nil {
		return err
	}
	if opened != c.Checkpoint || salted != c.Salted {
		return broken(fmt.Sprintf("checkpoint %d is not what was signed", c.Sequence), nil)
	}
	return nil
}

// Begin starts a group of transactions.
func (l *Log) Begin() { l.base, l.signed, l.saved = l.head.Clone(), nil, nil }

// Savepoint starts one transaction of the group.
func (l *Log) Savepoint() { l.saved = nil }

// Undo takes back the events appended since Savepoint.
func (l *Log) Undo() {
	if l.saved != nil {
		l.head, l.saved = *l.saved, nil
	}
}

// Commit says that the group is on stable storage.
func (l *Log) Commit() {
	if l.signed != nil {
		l.newest = *l.signed
	}
	l.signed = nil
}

// Rollback takes the whole group back.
func (l *Log) Rollback() { l.head, l.signed = l.base, nil }

// Append numbers an event and returns what the engine has to store for it.
func (l *Log) Append(e Event) (StoredEvent, error) {
	sequence := uint64(l.head.Size())
	leaf, salt, err := leafOf(e, sequence, l.random)
	if err != nil {
		return StoredEvent{}, err
	}
	if l.saved == nil {
		before := l.head.Clone()
		l.saved = &before
	}
	stored := StoredEvent{Event: e, Sequence: sequence, Leaf: leaf, Salt: salt}
	hashes := l.head.Append(tlog.RecordHash(leaf))
	stored.Hashes = make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		stored.Hashes = append(stored.Hashes, h[:]...)
	}
	return stored, nil
}

// open tries the current key and those before it.
func (l *Log) open(signed []byte) (merkle.Checkpoint, error) {
	var c merkle.Checkpoint
	var err error
	for _, v := range l.verifiers {
		if c, err = merkle.Open(signed, v); err == nil {
			return c, nil
		}
	}
	return c, err
}

// Checkpoint is the checkpoint over everything committed before this group. It is signed at the first call that needs
// it, so a commit that cites none costs no signature, and never twice over one tree: a repeat after a failed commit
// signs the same bytes again.
func (l *Log) Checkpoint() (Checkpoint, error) {
	if l.signed != nil {
		return *l.signed, nil
	}
	if l.newest.Sequence > 0 && l.newest.Size == l.base.Size() {
		return l.newest, nil
	}
	tree := merkle.Checkpoint{Origin: l.origin, Size: l.base.Size(), Root: l.base.Root()}
	signed, err := merkle.Sign(tree, l.keys.Signer)
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{Checkpoint: tree, Sequence: l.newest.Sequence + 1, Note: signed}
	if c.Salted, err = l.salted(c.Sequence, tree); err != nil {
		return Checkpoint{}, err
	}
	c.Commitment = l.commitment(c)
	l.signed = &c
	return c, nil
}

// Pending is the checkpoint that the engine must store with this group; nil when none was signed. It signs one by
// itself when the last is long ago. A key that is away is no reason to fail the group then.
func (l *Log) Pending() *Checkpoint {
	if l.signed == nil && l.base.Size()-l.newest.Size >= citeAfter {
		if _, err := l.Checkpoint(); err != nil {
			return nil
		}
	}
	return l.signed
}

// Uncited says whether events were committed that no stored checkpoint covers.
func (l *Log) Uncited() bool { return l.head.Size() > l.newest.Size }

// commitment names the one before by its digest, so that peers who hold one hold the whole row. PROTOCOL 9.4.
func (l *Log) commitment(c Checkpoint) []byte {
	m := &formatv1.CheckpointCommitment{Origin: l.origin, Sequence: c.Sequence, SaltedHash: c.Salted[:]}
	if l.newest.Sequence > 0 {
		previous := message.DigestOf(l.newest.Commitment)
		m.Previous = previous[:]
	}
	return canonical.Marshal(m)
}

// salted hides a checkpoint under the salt of its sequence number: HKDF-SHA256 of the backed-up secret with the info
// "enlace/v1/checkpoint-salt", origin and number, each after a zero byte. Whoever has the backup can show a checkpoint
// later; nobody else learns how much a node does. PROTOCOL 9.4.
func (l *Log) salted(sequence uint64, c merkle.Checkpoint) (message.Digest, error) {
	info := fmt.Sprintf("enlace/v1/checkpoint-salt\x00%s\x00%d", l.origin, sequence)
	salt, err := hkdf.Key(sha256.New, l.keys.Secret[:], nil, info, merkle.SaltSize)
	if err != nil {
		return message.Digest{}, fault.Wrap(err, fault.Internal, "", "sign checkpoint", "the salt cannot be derived")
	}
	return merkle.SaltedHash([merkle.SaltSize]byte(salt), c), nil
}

func broken(say string, cause error) error {
	return fault.Wrap(cause, fault.Conflict, "evidence-broken", "verify evidence", say).
		WithHint("keep these files as they are and restore the ledger from its backup")
}
