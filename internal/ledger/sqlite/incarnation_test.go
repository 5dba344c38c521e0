package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

func note(t *testing.T, l *Ledger, kind string) {
	t.Helper()
	err := l.Update(t.Context(), func(tx ledger.Tx) error {
		if _, err := tx.Append(ledger.Event{Time: time.Now(), Kind: kind, Actor: "node", Detail: []byte(kind)}); err != nil {
			return err
		}
		_, err := tx.Checkpoint()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func kinds(t *testing.T, l *Ledger) []string {
	t.Helper()
	var out []string
	err := l.View(t.Context(), func(r ledger.Reader) error {
		all, err := r.Events(0, 100)
		for i, e := range all {
			if e.Sequence != uint64(i) {
				t.Errorf("event %d has number %d", i, e.Sequence)
			}
			out = append(out, e.Kind)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSnapshotAndIncarnation copies a ledger that is being written, opens the copy in a new incarnation, and finds a log of
// its own that cites the old one, which is kept and verified with it. PROTOCOL 9.7.
func TestSnapshotAndIncarnation(t *testing.T) {
	l := openAt(t, testConfig(t, t.TempDir()))
	defer l.Close()
	for range 300 {
		note(t, l, "before")
	}
	dir := t.TempDir()
	copied := filepath.Join(dir, "ledger.db")
	if err := l.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if err := l.Snapshot(t.Context(), copied); !fault.Is(err, fault.Conflict) {
		t.Errorf("a copy was written over another: %v", err)
	}
	note(t, l, "after")
	if b, err := os.ReadFile(copied); err != nil || strings.Contains(string(b), "SQLite format") || strings.Contains(string(b), "before") {
		t.Errorf("the copy is not encrypted, or %v", err)
	}

	cfg := testConfig(t, dir)
	cfg.Begin = &ledger.Begin{Random: [8]byte{7}, Taken: time.UnixMilli(1_000)}
	next := openAt(t, cfg)
	if i := next.Identity().Incarnation; i != (message.Incarnation{Counter: 2, Random: [8]byte{7}}) || !strings.HasSuffix(next.Identity().Origin, "/2-0700000000000000") {
		t.Errorf("the new incarnation is %v, %s", i, next.Identity().Origin)
	}
	if got := kinds(t, next); len(got) != 1 || got[0] != "incarnation-begun" {
		t.Errorf("the new log begins with %v", got)
	}
	note(t, next, "own")
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}

	// The same mark again begins nothing.
	next = openAt(t, cfg)
	if got := kinds(t, next); len(got) != 2 || next.Identity().Incarnation.Counter != 2 {
		t.Errorf("opened again it is %v with events %v", next.Identity().Incarnation, got)
	}
	found, err := next.VerifyEvidence(t.Context())
	if err != nil || found.Events != 2 || len(found.Earlier) != 1 || found.Earlier[0].Events != 301 {
		t.Fatalf("verified %+v, %v", found, err)
	}
	err = next.View(t.Context(), func(r ledger.Reader) error {
		rec, err := r.Recovery()
		if err != nil || rec.State != ledger.Recovering || !rec.Taken.Equal(time.UnixMilli(1_000)) {
			t.Errorf("the recovery is %+v, %v", rec, err)
		}
		all, err := r.Earlier()
		if len(all) != 1 || all[0].Incarnation.Counter != 1 || all[0].Origin != l.Identity().Origin {
			t.Errorf("earlier incarnations: %v", all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	begun := cited(t, next)
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if newest := newestOf(t, l, 300); begun != newest {
		t.Errorf("the first leaf cites %s, the newest checkpoint copied was %s", begun, newest)
	}

	// Who learns of a higher counter of its own begins above that.
	next = openAt(t, cfg)
	if err := next.Update(t.Context(), func(tx ledger.Tx) error {
		rec, err := tx.Recovery()
		if err != nil {
			return err
		}
		rec.Higher = 9
		return tx.PutRecovery(rec)
	}); err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Begin = &ledger.Begin{Random: [8]byte{8}}
	next = openAt(t, cfg)
	defer next.Close()
	if c := next.Identity().Incarnation.Counter; c != 10 {
		t.Errorf("the counter is %d, want 10", c)
	}
	if found, err := next.VerifyEvidence(t.Context()); err != nil || len(found.Earlier) != 2 {
		t.Errorf("verified %+v, %v", found, err)
	}
}

// cited is the digest in the first leaf.
func cited(t *testing.T, l *Ledger) message.Digest {
	t.Helper()
	var d message.Digest
	err := l.View(t.Context(), func(r ledger.Reader) error {
		all, err := r.Events(0, 1)
		if err == nil {
			d = all[0].Digest
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// newestOf is the digest of the newest commitment over at most so many events.
func newestOf(t *testing.T, l *Ledger, events int64) message.Digest {
	t.Helper()
	var d message.Digest
	err := l.View(t.Context(), func(r ledger.Reader) error {
		all, err := r.Checkpoints(1, 1000)
		for _, c := range all {
			if c.Size <= events {
				d = message.DigestOf(c.Commitment)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}
