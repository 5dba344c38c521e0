package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/enlace-network/enlace/internal/ledger"
)

// killed copies the files of a ledger that nobody closes, as a killed process leaves them.
func killed(t *testing.T, cfg Config) Config {
	t.Helper()
	after := testConfig(t, t.TempDir())
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		copyFile(t, filepath.Join(cfg.Dir, name), after.Dir)
	}
	return after
}

func (l *Ledger) copyWAL(t *testing.T, mode sqlite3.CheckpointMode) {
	t.Helper()
	if _, _, err := l.writing.db.WALCheckpoint("main", mode); err != nil {
		t.Fatal(err)
	}
}

// TestChecksumsAfterKill: a killed ledger has its first page in the -wal. Opened again, it copies pages into the database
// while a reader keeps the first page from being among them, and all of them carry checksums. P1.
func TestChecksumsAfterKill(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	l := openAt(t, cfg)
	defer l.Close()
	for n := range facts {
		if _, err := fact(l, n, envelope(n)); err != nil {
			t.Fatal(err)
		}
	}
	again := killed(t, cfg)
	after := openAt(t, again)
	if _, err := fact(after, 99, envelope(0)); err != nil {
		t.Fatal(err)
	}
	err := after.View(t.Context(), func(r ledger.Reader) error {
		if _, err := r.EventCount(); err != nil {
			return err
		}
		if _, err := fact(after, 100, make([]byte, 10*pageSize)); err != nil {
			return err
		}
		after.copyWAL(t, sqlite3.CHECKPOINT_PASSIVE)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := after.Close(); err != nil {
		t.Fatal(err)
	}
	if err := soundness(t, again); err != nil {
		t.Error(err)
	}
}
