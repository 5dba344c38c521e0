package sqlite

import (
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
