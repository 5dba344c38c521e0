package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
)

// TestInspect reads a ledger that nobody uses: all that was acknowledged is verified, and no byte is changed, what lies in a
// -wal included.
func TestInspect(t *testing.T) {
	closed := filled(t)
	cut := testConfig(t, t.TempDir())
	l := openAt(t, closed)
	if _, err := fact(l, facts, envelope(facts)); err != nil {
		t.Fatal(err)
	}
	// As a kill leaves it: the last commit is in the -wal alone.
	if err := os.CopyFS(cut.Dir, os.DirFS(closed.Dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(t.Context(), closed); fault.CodeOf(err) != "in-use" {
		t.Errorf("a ledger that is open: %v, want in-use", err)
	}
	if err := l.Check(t.Context()); err != nil {
		t.Errorf("the open ledger is not sound: %v", err)
	}
	want, err := l.VerifyEvidence(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(cut.Dir, "ledger.db-shm")); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{"closed": closed, "killed": cut} {
		before := files(t, cfg.Dir)
		i, err := Inspect(t.Context(), cfg)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := i.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if e, err := i.VerifyEvidence(t.Context()); err != nil || e.Events != want.Events {
			t.Errorf("%s: %d events, want %d, %v", name, e.Events, want.Events, err)
		}
		if _, err := Open(t.Context(), cfg); fault.CodeOf(err) != "in-use" {
			t.Errorf("%s: opened while it is inspected: %v", name, err)
		}
		if err := i.Close(); err != nil {
			t.Fatal(name, err)
		}
		for path, b := range files(t, cfg.Dir) {
			if _, had := before[path]; !had {
				t.Errorf("%s: %s is new", name, path)
			} else if path != "ledger.db-shm" && !bytes.Equal(before[path], b) {
				t.Errorf("%s: %s was changed", name, path)
			}
		}
	}
	if err := openAt(t, cut).Close(); err != nil {
		t.Error(err)
	}
}

// TestInspectTellsDamage: what the next start would refuse is refused here, and what it would put right is called so.
func TestInspectTellsDamage(t *testing.T) {
	cfg := filled(t)
	if err := os.WriteFile(filepath.Join(cfg.Dir, "ledger.db-wal"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(t.Context(), cfg); fault.CodeOf(err) != "torn" {
		t.Errorf("a torn -wal: %v", err)
	}
	if err := os.Remove(filepath.Join(cfg.Dir, "ledger.db-wal")); err != nil {
		t.Fatal(err)
	}
	wrong := cfg
	wrong.Key[0]++
	if _, err := Inspect(t.Context(), wrong); fault.CodeOf(err) != "wrong-key" {
		t.Errorf("a wrong key: %v", err)
	}
	other := cfg
	other.Network = "another.example"
	if _, err := Inspect(t.Context(), other); fault.CodeOf(err) != "other-node" {
		t.Errorf("another network: %v", err)
	}
	if _, err := Inspect(t.Context(), testConfig(t, t.TempDir())); !fault.Is(err, fault.NotFound) {
		t.Errorf("no ledger: %v", err)
	}

	path := filepath.Join(cfg.Dir, "ledger.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	unseen := 0
	for at := 5*pageSize + 100; at < len(b); at += 7 * pageSize {
		spoilt := bytes.Clone(b)
		spoilt[at] ^= 1
		if err := os.WriteFile(path, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		i, err := Inspect(t.Context(), cfg)
		if err == nil {
			if err = i.Check(t.Context()); err == nil {
				unseen++
			}
			_ = i.Close()
		}
		if err != nil && fault.CodeOf(err) != "damaged" && fault.CodeOf(err) != "wrong-key" {
			t.Errorf("byte %d: %v, want damaged", at, err)
		}
	}
	if unseen > 0 {
		t.Errorf("%d spoilt pages were not seen", unseen)
	}
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = b
	}
	return out
}
