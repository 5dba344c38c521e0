package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/enlace-network/enlace/internal/message"
)

// TestTornEnd: the power is cut while the -wal grows, and its last block is there in part. What was acknowledged before
// is there, and the ledger goes on. P1.
func TestTornEnd(t *testing.T) {
	dir := t.TempDir()
	l := openAt(t, testConfig(t, dir))
	defer l.Close()
	key, err := fact(l, 1, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for torn := 512; torn < 2*block; torn += 512 {
		cfg := testConfig(t, t.TempDir())
		for _, name := range []string{"ledger.db", "ledger.db-wal"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if name == "ledger.db-wal" {
				b = append(b, make([]byte, torn)...)
			}
			if err := os.WriteFile(filepath.Join(cfg.Dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again := openAt(t, cfg)
		if lost := missing(t, again, []message.Key{key}); len(lost) > 0 {
			t.Errorf("torn at %d: what was acknowledged is not there", torn)
		}
		if _, err := fact(again, 2, []byte("y")); err != nil {
			t.Error(err)
		}
		verify(t, again)
		again.Close()
	}
}

// TestTwoCuts: the first power cut takes what follows the last sync of the -wal, the second tears the first blocks that
// are written after it. What was acknowledged before the first is there after both. P1.
func TestTwoCuts(t *testing.T) {
	d, cfg, synced := newDisk(), testConfig(t, t.TempDir()), t.TempDir()
	cfg.VFS = d
	d.synced = func(name string) { copyFile(t, name, synced) }
	l := openAt(t, cfg)
	defer l.Close()
	for n := range 12 {
		key, err := fact(l, n, make([]byte, n*100))
		if err != nil {
			t.Fatal(err)
		}
		first := testConfig(t, t.TempDir())
		for _, name := range []string{"ledger.db", "ledger.db-wal"} {
			copyFile(t, filepath.Join(synced, name), first.Dir)
		}
		secondCut(t, first, key)
	}
}

// secondCut opens what the first cut has left, records a fact, and tears each block that this has changed.
func secondCut(t *testing.T, cfg Config, key message.Key) {
	t.Helper()
	l := openAt(t, cfg)
	defer l.Close()
	files := func() map[string][]byte {
		m := map[string][]byte{}
		for _, name := range []string{"ledger.db", "ledger.db-wal"} {
			b, err := os.ReadFile(filepath.Join(cfg.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			m[name] = b
		}
		return m
	}
	before := files()
	if _, err := fact(l, 50, []byte("y")); err != nil {
		t.Fatal(err)
	}
	after := files()
	for name, old := range before {
		for at := 0; at+block <= min(len(old), len(after[name])); at += block {
			if bytes.Equal(old[at:at+block], after[name][at:at+block]) {
				continue
			}
			cut := testConfig(t, t.TempDir())
			for other, b := range before {
				if other == name {
					b = bytes.Clone(b)
					copy(b[at:], after[name][at:at+block/2])
				}
				if err := os.WriteFile(filepath.Join(cut.Dir, other), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			again := openAt(t, cut)
			if lost := missing(t, again, []message.Key{key}); len(lost) > 0 {
				t.Errorf("block %d of %s torn: what was acknowledged is not there", at/block, name)
			}
			again.Close()
		}
	}
}

// TestTornCopy: the power is cut while the -wal is copied into the database, and one page is there in part, the first
// and the last of the file among them. The -wal still has them all. P1.
func TestTornCopy(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	l := openAt(t, cfg)
	defer l.Close()
	for n := range facts {
		if _, err := fact(l, n, envelope(n)); err != nil {
			t.Fatal(err)
		}
	}
	before, whole := killed(t, cfg), filepath.Join(cfg.Dir, "ledger.db")
	l.copyWAL(t, sqlite3.CHECKPOINT_FULL)
	copied, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, block, len(copied) - block} {
		for torn := 512; torn < block; torn += 3 * 512 {
			cut := killed(t, before)
			b, err := os.ReadFile(filepath.Join(cut.Dir, "ledger.db"))
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, make([]byte, max(0, at+torn-len(b)))...)
			copy(b[at:], copied[at:at+torn])
			if err := os.WriteFile(filepath.Join(cut.Dir, "ledger.db"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := soundness(t, cut); err != nil {
				t.Errorf("page %d torn at %d: %v", at/block+1, torn, err)
			}
		}
	}
}
