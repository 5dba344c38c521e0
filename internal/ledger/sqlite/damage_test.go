package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/records"
	"github.com/enlace-network/enlace/internal/message"
)

const marker = "PLANTED-MARKER-0123456789"

const facts = 24

// envelope is that of fact n. Some go over whole pages, where nothing but a checksum tells what is right.
func envelope(n int) []byte { return bytes.Repeat([]byte(marker), 1+n%4/3*400) }

// filled makes a closed ledger with some facts.
func filled(t *testing.T) Config {
	t.Helper()
	cfg := testConfig(t, t.TempDir())
	l := openAt(t, cfg)
	for n := range facts {
		if _, err := fact(l, n, envelope(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// soundness opens a ledger and reads all of it.
func soundness(t *testing.T, cfg Config) error {
	l, err := Open(t.Context(), cfg)
	if err != nil {
		return err
	}
	_, err = l.VerifyEvidence(t.Context())
	checked := l.pool.view(t.Context(), func(c *conn) error {
		var found error
		err := c.Each(func(row records.Columns) bool {
			if text := row.Text(0); text != "ok" {
				found = fault.New(fault.Internal, "damaged", "read ledger", text)
			}
			return found == nil
		}, "PRAGMA integrity_check")
		return errors.Join(found, err)
	})
	return errors.Join(err, checked, envelopes(t, l), l.Close())
}

// envelopes reads all messages: each comes back as it was, or with an error.
func envelopes(t *testing.T, l *Ledger) error {
	return l.View(t.Context(), func(r ledger.Reader) error {
		var errs []error
		for n := range facts {
			sender, err := authority.ParseName("mx/fgr")
			if err != nil {
				return err
			}
			m, err := r.Message(message.Key{Sender: sender, ID: factID(n)})
			if err == nil && !bytes.Equal(m.Envelope, envelope(n)) {
				t.Errorf("message %d came back changed", n)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// TestFlippedByte changes one byte in each page of the file: none goes unseen.
func TestFlippedByte(t *testing.T) {
	cfg := filled(t)
	file := filepath.Join(cfg.Dir, "ledger.db")
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := soundness(t, cfg); err != nil {
		t.Fatal(err)
	}
	for at := 77; at < len(sound); at += pageSize {
		changed := bytes.Clone(sound)
		changed[at] ^= 0x10
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		err := soundness(t, cfg)
		if code := fault.CodeOf(err); code != "damaged" && code != "wrong-key" {
			t.Errorf("byte %d changed: %v, want damaged", at, err)
		}
	}
}

// TestFilesShowNothing greps all files for what was recorded, the -wal of a running ledger included.
func TestFilesShowNothing(t *testing.T) {
	cfg := filled(t)
	l := openAt(t, cfg)
	defer l.Close()
	if _, err := fact(l, 99, []byte(marker)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("files = %v, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{marker, "mx/fgr", "SQLite format", "received"} {
			if bytes.Contains(b, []byte(text)) {
				t.Errorf("%s shows %q", filepath.Base(file), text)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	cfg := filled(t)
	other, err := authority.ParseNode("mx/node/second")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		spoil func(*Config)
		kind  fault.Kind
		code  string
	}{
		"another node":         {func(c *Config) { c.Node = other }, fault.Conflict, "other-node"},
		"another network":      {func(c *Config) { c.Network = "other.example" }, fault.Conflict, "other-node"},
		"a wrong key":          {func(c *Config) { c.Key[31]++ }, fault.Denied, "wrong-key"},
		"another evidence key": {func(c *Config) { c.Keys.Signer = evidenceKey(2) }, fault.Conflict, "other-log"},
		"another salt secret":  {func(c *Config) { c.Keys.Secret[0]++ }, fault.Conflict, "evidence-broken"},
		"no directory":         {func(c *Config) { c.Dir = "/dev/null/ledger" }, fault.Usage, ""},
	} {
		changed := cfg
		test.spoil(&changed)
		if _, err := Open(t.Context(), changed); !fault.Is(err, test.kind) || fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %v %q", name, err, test.kind, test.code)
		}
	}
	l := openAt(t, cfg)
	if _, err := Open(t.Context(), cfg); fault.CodeOf(err) != "in-use" {
		t.Errorf("a second time: %v, want in-use", err)
	}
	verify(t, l)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestTampered changes rows with the right key in hand, as the operator of the node could: the evidence shows it.
func TestTampered(t *testing.T) {
	for name, test := range map[string]struct {
		statement string
		// opens says that only the full verification finds it.
		opens bool
	}{
		"newest events cut off":     {"DELETE FROM event WHERE sequence > 15", false},
		"an event removed":          {"DELETE FROM event WHERE sequence = 5", true},
		"a detail changed":          {"UPDATE event SET detail = x'79' WHERE sequence = 5", true},
		"a leaf changed":            {"UPDATE event SET leaf = (SELECT leaf FROM event WHERE sequence = 6) WHERE sequence = 5", true},
		"a hash changed":            {"UPDATE event SET hashes = (SELECT hashes FROM event WHERE sequence = 4) WHERE sequence = 8", true},
		"a checkpoint removed":      {"DELETE FROM checkpoint WHERE sequence = 3", true},
		"a checkpoint changed":      {"UPDATE checkpoint SET root = zeroblob(32) WHERE sequence = (SELECT max(sequence) FROM checkpoint)", false},
		"a commitment changed":      {"UPDATE checkpoint SET commitment = x'00' WHERE sequence = 2", true},
		"the newest forgotten":      {"UPDATE checkpoint SET note = x'78' WHERE sequence = (SELECT max(sequence) FROM checkpoint)", false},
		"a version from the future": {"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)", false},
	} {
		cfg := filled(t)
		l := openAt(t, cfg)
		if err := l.Update(t.Context(), func(ledger.Tx) error { return l.writing.exec(test.statement) }); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l, err := Open(t.Context(), cfg)
		if (err == nil) != test.opens {
			t.Errorf("%s: opened with %v, want it to open: %v", name, err, test.opens)
		}
		if err != nil {
			continue
		}
		if _, err := l.VerifyEvidence(t.Context()); fault.CodeOf(err) != "evidence-broken" {
			t.Errorf("%s: %v, want evidence-broken", name, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPurgedDetail: a detail that retention has deleted is no break.
func TestPurgedDetail(t *testing.T) {
	l := openAt(t, filled(t))
	defer l.Close()
	err := l.Update(t.Context(), func(ledger.Tx) error {
		return l.writing.exec("UPDATE event SET salt = x'', detail = x'' WHERE sequence = 7")
	})
	if err != nil {
		t.Fatal(err)
	}
	if found := verify(t, l); found.Purged != 1 {
		t.Errorf("purged = %d, want 1", found.Purged)
	}
}
