package tiles

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const origin = "enlace.5f0c5d0f3f9f0a0f/directory"

// A seed signs with a key made from a fixed seed; the zero one is locked.
type seed byte

func (s seed) private() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(s)}, ed25519.SeedSize))
}

func (s seed) PublicKey() authority.PublicKey {
	key, err := authority.ParsePublicKey(authority.Ed25519, s.private().Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return key
}

func (s seed) Sign(msg []byte) ([]byte, error) {
	if s == 0 {
		return nil, errors.New("locked")
	}
	return ed25519.Sign(s.private(), msg), nil
}

func leaf(n int) [32]byte { return sha256.Sum256(fmt.Appendf(nil, "entry %d", n)) }

func leaves(from, to int) [][32]byte {
	var out [][32]byte
	for n := from; n < to; n++ {
		out = append(out, leaf(n))
	}
	return out
}

// root is what the tree of the first n leaves must come to.
func root(n int) tlog.Hash {
	var f merkle.Frontier
	for _, one := range leaves(0, n) {
		f.Append(tlog.RecordHash(one[:]))
	}
	return f.Root()
}

func open(t *testing.T, dir string) *Tiles {
	t.Helper()
	log, err := Open(t.Context(), Options{Dir: dir, Origin: origin, Signer: seed(1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func grow(t *testing.T, log *Tiles, to int) []byte {
	t.Helper()
	signed, err := log.Append(t.Context(), leaves(int(log.Size()), to)...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func verifier(t *testing.T) note.Verifier {
	t.Helper()
	v, err := merkle.NewVerifier(origin, seed(1).PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAppend holds size, root and checkpoint against the leaves, over the borders of tiles. PROTOCOL 11.6.
func TestAppend(t *testing.T) {
	log := open(t, t.TempDir())
	if log.Size() != 0 || log.Checkpoint() != nil {
		t.Errorf("new log: size %d, checkpoint %q; want none", log.Size(), log.Checkpoint())
	}
	for _, size := range []int{1, 2, 3, 255, 256, 257, 300, 1024, 6000} {
		signed := grow(t, log, size)
		cp, err := merkle.Open(signed, verifier(t))
		want := merkle.Checkpoint{Origin: origin, Size: int64(size), Root: root(size)}
		if err != nil || cp != want {
			t.Fatalf("checkpoint = %v, %v; want %v", cp, err, want)
		}
		if got, err := log.Root(); err != nil || got != want.Root || log.Size() != want.Size || !bytes.Equal(log.Checkpoint(), signed) {
			t.Errorf("size %d, root %v, %v; want %v", log.Size(), got, err, want)
		}
	}
}

func TestProof(t *testing.T) {
	log := open(t, t.TempDir())
	grow(t, log, 600)
	grow(t, log, 700)
	for _, pair := range [][2]int64{{1, 1}, {1, 2}, {5, 257}, {256, 512}, {300, 700}, {699, 700}, {700, 700}, {513, 600}} {
		proof, err := log.Proof(t.Context(), pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(proof, pair[1], root(int(pair[1])), pair[0], root(int(pair[0]))); err != nil {
			t.Errorf("%v: %v", pair, err)
		}
	}
	for _, pair := range [][2]int64{{0, 5}, {6, 5}, {1, 701}, {-1, 3}} {
		if _, err := log.Proof(t.Context(), pair[0], pair[1]); fault.CodeOf(err) != "out-of-range" {
			t.Errorf("%v: %v, want out-of-range", pair, err)
		}
	}
}

// TestLatency reports how long a single append takes; the bound is far above what a slow disk needs.
func TestLatency(t *testing.T) {
	log := open(t, t.TempDir())
	var took []time.Duration
	for n := range 200 {
		begun := time.Now()
		if _, err := log.Append(t.Context(), leaf(n)); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("200 single appends: p50 %v, p99 %v, most %v", took[100], took[197], took[199])
	if took[100] > 300*time.Millisecond {
		t.Errorf("half of the appends took %v, want less than 300ms", took[100])
	}
}

// TestNothingRuns holds that Close leaves no goroutine behind, at once.
func TestNothingRuns(t *testing.T) {
	for n := range 20 {
		log := open(t, t.TempDir())
		grow(t, log, n)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 2); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(profile.String(), "transparency-dev/tessera") {
			t.Fatalf("after Close:\n%s", profile.String())
		}
	}
}
