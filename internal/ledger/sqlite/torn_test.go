package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

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
