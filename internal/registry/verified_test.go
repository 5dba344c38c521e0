package registry_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/registry"
)

// written is the log of a network with so many entries.
func written(t *testing.T, n int) [][]byte {
	t.Helper()
	net := newNetwork(t)
	log := [][]byte{net.genesis}
	net.propose = func(statement []byte, _ ...[]byte) { log = append(log, statement) }
	m := net.admit("mx")
	for i := 0; len(log) < n; i++ {
		net.move(m, fmt.Sprintf("127.0.0.1:%d", 1000+i))
	}
	return log
}

// own is a node's memory of what it verified, in a folder of its own, with real keys.
func own(t *testing.T, path string) registry.Verified {
	t.Helper()
	ring := newRing(t, "mx")
	must(t, ring.GenerateNode(time.Now()))
	key, err := ring.Public(keyring.NodeSign)
	must(t, err)
	return registry.Verified{Path: path, Key: key, Signer: ring, Log: zap.NewNop()}
}

// start folds entries from a real file, and tells the codes of what was skipped and how far it came.
func start(t *testing.T, v registry.Verified, log [][]byte) (skipped string, position uint64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "directory.log")
	l := openLog(t, path)
	defer func() { must(t, l.Close()) }()
	must(t, l.Append(log...))
	var h directory.History
	var codes []string
	leaves, err := v.Fold(&h, l.Entries(1), func(position uint64, err error) {
		codes = append(codes, fmt.Sprint(position, " ", fault.CodeOf(err)))
	})
	must(t, err)
	if len(leaves) != len(log) || leaves[len(log)-1] != directory.LeafHash(log[len(log)-1]) {
		t.Errorf("%d leaves of %d entries, or others", len(leaves), len(log))
	}
	return fmt.Sprint(codes), h.Newest().Position()
}

func spoilt(entry []byte) []byte {
	entry = bytes.Clone(entry)
	entry[len(entry)-1] ^= 1 // in the value of the last signature
	return entry
}

func rootOf(log [][]byte) tlog.Hash {
	var edge merkle.Frontier
	for _, entry := range log {
		edge.Append(directory.LeafHash(entry))
	}
	return edge.Root()
}

// note is the file's bytes, up to the signature.
func note(log [][]byte, doubted ...uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte("enlace-verified 1\n"), uint64(len(log)))
	root := rootOf(log)
	b = append(b, root[:]...)
	for _, position := range doubted {
		b = binary.BigEndian.AppendUint64(b, position)
	}
	return b
}

func sealed(t *testing.T, v registry.Verified, purpose authority.Purpose, payload []byte) []byte {
	t.Helper()
	signature, err := v.Signer.Sign(context.Background(), v.Key.Fingerprint(), purpose, payload)
	must(t, err)
	return append(bytes.Clone(payload), signature...)
}

// A node takes its own word for what it verified, and writes it down as it comes further. PROTOCOL 3.3.
func TestVerified(t *testing.T) {
	log := written(t, 20)
	v := own(t, filepath.Join(t.TempDir(), "directory.verified"))
	log[7] = spoilt(log[7])
	// Each move follows the one before it, so those after the spoilt one do not hold either.
	first, position := start(t, v, log[:8])
	if first != "[8 bad-signature]" || position != 8 {
		t.Fatalf("skipped %s at %d", first, position)
	}
	want := note(log[:8], 8)
	b, err := os.ReadFile(v.Path)
	must(t, err)
	if !bytes.HasPrefix(b, want) || len(b) != len(want)+64 || v.Key.Verify(authority.ForVerifiedDirectory, want, b[len(want):]) != nil {
		t.Errorf("the note is not as the contract has it: %x", b)
	}
	again, _ := start(t, v, log[:8])
	further, position := start(t, v, log)
	if again != first || position != 20 || further == first {
		t.Errorf("again %s, further %s at %d", again, further, position)
	}
	if b, err = os.ReadFile(v.Path); err != nil || !bytes.HasPrefix(b, note(log, 8, 9, 10)) {
		t.Errorf("it came further and did not note that: %v", err)
	}
	// Only this node could write this, and only so does the test see that the note is used.
	must(t, os.WriteFile(v.Path, sealed(t, v, authority.ForVerifiedDirectory, note(log)), 0o600))
	if skipped, _ := start(t, v, log); skipped != "[]" {
		t.Errorf("with its own word for it, skipped %s, want none", skipped)
	}
	must(t, os.Remove(v.Path))
	v.Signer = nil
	if skipped, _ := start(t, v, log); skipped != further {
		t.Errorf("without keys: skipped %s, want %s", skipped, further)
	}
	if _, err := os.Stat(v.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without keys there is a note: %v", err)
	}
}

// Who can write to the disk and does not have the keys changes nothing of what the node accepts.
func TestVerifiedForged(t *testing.T) {
	log := written(t, 12)
	last := len(log) - 1
	altered := slices.Clone(log)
	altered[last] = spoilt(altered[last])
	path := filepath.Join(t.TempDir(), "directory.verified")
	v, other := own(t, path), own(t, path)
	with := func(b []byte, change func([]byte)) []byte {
		b = bytes.Clone(b)
		change(b)
		return b
	}
	honest := sealed(t, v, authority.ForVerifiedDirectory, note(log))
	doubting := sealed(t, v, authority.ForVerifiedDirectory, note(altered, uint64(len(log))))
	forged := note(altered)
	for name, file := range map[string][]byte{
		"the note of the true log":       honest,
		"with the root of the other log": with(honest, func(b []byte) { copy(b, forged) }),
		"signed by another node":         sealed(t, other, authority.ForVerifiedDirectory, forged),
		"signed for something else":      sealed(t, v, authority.ForHello, forged),
		"signature over nothing":         append(bytes.Clone(forged), make([]byte, 64)...),
		"less doubted":                   append(bytes.Clone(forged), doubting[len(doubting)-64:]...),
		"other positions doubted":        with(doubting, func(b []byte) { b[len(b)-65] ^= 1 }),
		"moved back in time":             sealed(t, v, authority.ForVerifiedDirectory, note(log[:5])),
		"of a longer log":                sealed(t, v, authority.ForVerifiedDirectory, note(append(slices.Clone(log), log[3]))),
		"torn":                           honest[:len(honest)-1],
		"empty":                          {},
		"too long":                       make([]byte, 2<<20),
		"of another version":             sealed(t, v, authority.ForVerifiedDirectory, bytes.Replace(forged, []byte(" 1\n"), []byte(" 2\n"), 1)),
		"of half a position":             sealed(t, v, authority.ForVerifiedDirectory, append(bytes.Clone(forged), 0)),
	} {
		must(t, os.WriteFile(path, file, 0o600))
		want := fmt.Sprintf("[%d bad-signature]", len(log))
		if skipped, position := start(t, v, altered); skipped != want || position != uint64(len(log)) {
			t.Errorf("%s: skipped %s at %d, want %s", name, skipped, position, want)
		}
		// It is replaced by a true one, which the next start goes by.
		if b, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(b, note(altered, uint64(len(log)))) {
			t.Errorf("%s: not replaced: %v", name, err)
		}
		must(t, os.WriteFile(path, file, 0o600))
		if skipped, _ := start(t, v, log); skipped != "[]" {
			t.Errorf("%s, the true log: skipped %s", name, skipped)
		}
	}
}

// failing has no key to sign with.
type failing struct{}

func (failing) Sign(context.Context, authority.Fingerprint, authority.Purpose, []byte) ([]byte, error) {
	return nil, errors.New("locked")
}

// What cannot be noted is verified again, and nothing else.
func TestVerifiedNotWritten(t *testing.T) {
	log := written(t, 5)
	v := own(t, filepath.Join(t.TempDir(), "no", "folder"))
	if skipped, position := start(t, v, log); skipped != "[]" || position != 5 {
		t.Errorf("no folder: skipped %s at %d", skipped, position)
	}
	v.Path, v.Signer = filepath.Join(t.TempDir(), "directory.verified"), failing{}
	if skipped, position := start(t, v, log); skipped != "[]" || position != 5 {
		t.Errorf("no key: skipped %s at %d", skipped, position)
	}
	var h directory.History
	broken := errors.New("broken")
	if _, err := v.Fold(&h, func(yield func([]byte, error) bool) { yield(nil, broken) }, nil); !errors.Is(err, broken) {
		t.Errorf("storage that fails: %v", err)
	}
}

// A node that starts again goes by what it verified at the start before, and its tree is that of the log all the same;
// a log that was changed on its disk meanwhile is not believed.
func TestFollowerGoesByItsNote(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	n.move(mx, "example.org:443")
	n.move(mx, "example.org:444")
	size := n.current.Load().Position()
	data := t.TempDir()
	o := n.options(mx, data, h.addr)
	v := own(t, filepath.Join(data, "directory.verified"))
	o.Key, o.Signer = v.Key, v.Signer
	f := n.run(o)
	f.reach(t, size)
	f.stop()
	h.stop()
	var root tlog.Hash
	for range 2 {
		f = n.run(o)
		head := f.Status().Head
		if got := f.Current().Load().Position(); got != size || uint64(head.Size) != size {
			t.Fatalf("position %d with a head of %d, want %d", got, head.Size, size)
		}
		root = head.Root
		f.stop()
	}
	b, err := os.ReadFile(v.Path)
	must(t, err)
	if got := binary.BigEndian.Uint64(b[len("enlace-verified 1\n"):]); got != size || !bytes.Contains(b, root[:]) {
		t.Errorf("%d entries noted, or another root; want %d", got, size)
	}
	other := filepath.Join(t.TempDir(), "directory.log")
	l := openLog(t, other)
	mine := openLog(t, filepath.Join(data, "directory.log"))
	for p := uint64(1); p <= size; p++ {
		entry, err := mine.Read(p)
		must(t, err)
		if p == size {
			entry = spoilt(entry)
		}
		must(t, l.Append(entry))
	}
	must(t, mine.Close())
	must(t, l.Close())
	b, err = os.ReadFile(other)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(data, "directory.log"), b, 0o600))
	if f, err := registry.OpenFollower(o); fault.CodeOf(err) != "damaged-head" {
		if err == nil {
			must(t, f.Close())
		}
		t.Errorf("a log that was changed: %v, want damaged-head", err)
	}
}
