package registry

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime/debug"
	"slices"

	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	// verifiedMagic begins the file, and with it what is signed. Its number is raised when what an earlier version of
	// the program verified is not good enough any more.
	verifiedMagic = "enlace-verified 1\n"
	verifiedFile  = "directory.verified"
	// maxVerified is the most bytes of the file: some 130,000 positions that are not vouched for.
	maxVerified   = 1 << 20
	positionBytes = 8
	sealBytes     = 64 // of the signature
)

// VerifiedSigner signs with the key of that fingerprint ([keyring.Ring]).
type VerifiedSigner interface {
	Sign(ctx context.Context, key authority.Fingerprint, purpose authority.Purpose, payload []byte) ([]byte, error)
}

// Verified is a node's memory of how far it has verified its own copy of the log, so that a start does not verify all of
// it again. It is a small file beside the log, signed by the node for itself under [authority.ForVerifiedDirectory] (PROTOCOL 3.3):
//
//	"enlace-verified 1\n", number of entries (8 bytes), root of the tree over them (32), positions of those that were
//	skipped (8 each, ascending), Ed25519 signature over all before it (64); big endian
//
// The file says that all signatures on those entries verify, but those of entries skipped, which are looked at again.
// It does not say what the entries do: the rules are applied anew at each start. Who can write to the disk and does not
// have the keyring gains nothing: a file that the key of Key did not sign, or that is not about the very bytes that are
// read, is ignored, and every entry is verified. An older file of this node is as true as the newest, and says less.
type Verified struct {
	Path string
	// Key is the node's own signing key, and Signer has it. A node without Signer verifies everything at each start.
	Key    authority.PublicKey
	Signer VerifiedSigner
	Log    *zap.Logger
}

// Fold reads the entries of the log into an empty history, as directory.History.Fold does, and verifies those that this
// node did not verify before; then it notes how far it has come. It gives LeafHash of each entry. A note that cannot be
// written is logged and nothing else: the next start takes longer. Errors and alarm: those of directory.History.Fold.
func (v Verified) Fold(h *directory.History, entries iter.Seq2[[]byte, error], alarm func(position uint64, err error)) ([]tlog.Hash, error) {
	defer hurry()()
	known := v.read()
	t := &toll{alarm: alarm}
	leaves, err := h.FoldVouched(entries, known, t.take)
	if fault.CodeOf(err) == "not-vouched" {
		v.Log.Warn("the note of what was verified is not about this log: all of it is verified again")
		known = directory.Vouched{}
		leaves, err = h.FoldVouched(entries, known, t.take)
	}
	if size := uint64(len(leaves)); size > known.Size {
		v.save(directory.Vouched{Size: size, Root: rootOf(leaves), Doubted: t.positions})
	}
	return leaves, err
}

// hurry lets the garbage wait until the start is over: of a large log a fifth of the time goes into collecting what is
// made to be thrown away. Whoever finds that somebody else hurries leaves the setting to them, so that it is always put
// back. A limit of memory (GOMEMLIMIT) holds all the same.
func hurry() (done func()) {
	const percent = 300
	before := debug.SetGCPercent(percent)
	if before >= 0 && before < percent {
		return func() { debug.SetGCPercent(before) }
	}
	debug.SetGCPercent(before)
	return func() {}
}

// toll is who was skipped.
type toll struct {
	alarm     func(position uint64, err error)
	positions []uint64
}

func (t *toll) take(position uint64, err error) {
	t.positions = append(t.positions, position)
	if t.alarm != nil {
		t.alarm(position, err)
	}
}

// read is what the file vouches for; nothing where it is missing, or is not this node's word.
func (v Verified) read() directory.Vouched {
	if v.Signer == nil {
		return directory.Vouched{}
	}
	b, err := readVerified(v.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return directory.Vouched{}
	}
	var known directory.Vouched
	if err == nil {
		known, err = parseVerified(b, v.Key)
	}
	if err != nil {
		v.Log.Warn("the note of what was verified is ignored: all of the log is verified again", zap.Error(err))
	}
	return known
}

func readVerified(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxVerified+1))
}

// parseVerified looks at nothing before the signature.
func parseVerified(b []byte, key authority.PublicKey) (directory.Vouched, error) {
	const head = len(verifiedMagic) + positionBytes + tlog.HashSize
	if len(b) > maxVerified || len(b) < head+sealBytes {
		return directory.Vouched{}, notVerified("the file is too long or too short")
	}
	payload, signature := b[:len(b)-sealBytes], b[len(b)-sealBytes:]
	if err := key.Verify(authority.ForVerifiedDirectory, payload, signature); err != nil {
		return directory.Vouched{}, err
	}
	rest, ok := bytes.CutPrefix(payload, []byte(verifiedMagic))
	if !ok || (len(payload)-head)%positionBytes != 0 {
		return directory.Vouched{}, notVerified("the file is of another version")
	}
	known := directory.Vouched{Size: binary.BigEndian.Uint64(rest), Root: tlog.Hash(rest[positionBytes:])}
	for at := range slices.Chunk(payload[head:], positionBytes) {
		known.Doubted = append(known.Doubted, binary.BigEndian.Uint64(at))
	}
	return known, nil
}

func notVerified(say string) error {
	return fault.New(fault.Invalid, "malformed", "read what was verified", say)
}

// save signs and writes; durable on return, unless it says otherwise in the log.
func (v Verified) save(known directory.Vouched) {
	if v.Signer == nil {
		return
	}
	b := binary.BigEndian.AppendUint64([]byte(verifiedMagic), known.Size)
	b = append(b, known.Root[:]...)
	for _, position := range known.Doubted {
		b = binary.BigEndian.AppendUint64(b, position)
	}
	if len(b)+sealBytes > maxVerified {
		return // no honest log skips so much; nothing is lost but time
	}
	signature, err := v.Signer.Sign(context.Background(), v.Key.Fingerprint(), authority.ForVerifiedDirectory, b)
	if err == nil {
		err = writeFile(v.Path, append(b, signature...))
		// If the machine stops before, the next start verifies again what this one did.
	}
	if err != nil {
		v.Log.Warn("how far the directory was verified could not be noted", zap.Error(err))
	}
}

func rootOf(leaves []tlog.Hash) tlog.Hash {
	var edge merkle.Frontier
	for _, leaf := range leaves {
		edge.Append(leaf)
	}
	return edge.Root()
}
