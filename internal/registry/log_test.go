package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/registry"
)

// newLog makes a closed log of three entries.
func newLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	l := openLog(t, path)
	must(t, l.Append([]byte("one"), []byte("two")))
	must(t, l.Append([]byte("three")))
	must(t, l.Close())
	return path
}

func openLog(t *testing.T, path string) *registry.Log {
	t.Helper()
	l, err := registry.OpenLog(path, nil)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func entries(t *testing.T, l *registry.Log) string {
	t.Helper()
	var all []string
	for e, err := range l.Entries(1) {
		must(t, err)
		all = append(all, string(e))
	}
	return fmt.Sprint(all)
}

func TestLogKeepsEntries(t *testing.T) {
	path := newLog(t)
	l := openLog(t, path)
	must(t, l.Append([]byte("four")))
	if got, want := entries(t, l), "[one two three four]"; got != want {
		t.Errorf("entries = %s, want %s", got, want)
	}
	if e, err := l.Read(2); err != nil || string(e) != "two" {
		t.Errorf("Read(2) = %q, %v", e, err)
	}
	for _, p := range []uint64{0, 5} {
		if _, err := l.Read(p); !fault.Is(err, fault.NotFound) {
			t.Errorf("Read(%d): %v, want not found", p, err)
		}
	}
	for _, e := range [][]byte{nil, make([]byte, directory.MaxStatement+1)} {
		if err := l.Append([]byte("with"), e); !fault.Is(err, fault.TooLarge) {
			t.Errorf("an entry of %d bytes: %v, want too large", len(e), err)
		}
	}
	if l.Size() != 4 {
		t.Errorf("size %d after refused entries, want 4", l.Size())
	}
}

// TestTornTail: what was written and never acknowledged may end anywhere.
func TestTornTail(t *testing.T) {
	path := newLog(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	more := filepath.Join(t.TempDir(), "more")
	must(t, os.WriteFile(more, whole, 0o600))
	l := openLog(t, more)
	must(t, l.Append([]byte("unacknowledged")))
	must(t, l.Close())
	longer, err := os.ReadFile(more)
	must(t, err)
	// The entry's bytes came to the disk in part or as zeros; the record of the end did not.
	tail := longer[len(whole):]
	for n := range len(tail) {
		for name, torn := range map[string][]byte{"short": tail[:n], "zeros": append(bytes.Clone(tail[:n]), make([]byte, len(tail)-n)...)} {
			must(t, os.WriteFile(path, append(bytes.Clone(whole), torn...), 0o600))
			l, err := registry.OpenLog(path, nil)
			if err != nil {
				t.Fatalf("%s after %d bytes: %v", name, n, err)
			}
			if got, want := entries(t, l), "[one two three]"; got != want {
				t.Errorf("%s after %d bytes: entries = %s, want %s", name, n, got, want)
			}
			must(t, l.Append([]byte("four")))
			must(t, l.Close())
			l = openLog(t, path)
			if got, want := entries(t, l), "[one two three four]"; got != want {
				t.Errorf("%s after %d bytes, appended: %s, want %s", name, n, got, want)
			}
			must(t, l.Close())
		}
	}
	must(t, os.WriteFile(path, append(bytes.Clone(whole), tail...), 0o600))
	if got, want := entries(t, openLog(t, path)), "[one two three unacknowledged]"; got != want {
		t.Errorf("a whole entry beyond the end: %s, want %s", got, want)
	}
}

// TestDamage: of an acknowledged log, each byte changed and each byte missing is noticed, or does not matter.
func TestDamage(t *testing.T) {
	path := newLog(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	const start = 1536
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0x40
		l, err := rewritten(t, path, b)
		if err == nil {
			if got := entries(t, l); at >= start || got != "[one two three]" {
				t.Errorf("byte %d changed: opened with %s", at, got)
			}
			must(t, l.Close())
		} else if fault.CodeOf(err) != "damaged-log" && fault.CodeOf(err) != "not-a-log" {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	for n := start; n < len(whole); n++ {
		if _, err := rewritten(t, path, whole[:n]); fault.CodeOf(err) != "damaged-log" {
			t.Errorf("cut to %d bytes: %v, want damaged-log", n, err)
		}
	}
}

func rewritten(t *testing.T, path string, b []byte) (*registry.Log, error) {
	t.Helper()
	must(t, os.WriteFile(path, b, 0o600))
	return registry.OpenLog(path, nil)
}

func TestOneProcessAtATime(t *testing.T) {
	path := newLog(t)
	l := openLog(t, path)
	if _, err := registry.OpenLog(path, nil); fault.CodeOf(err) != "data-in-use" {
		t.Errorf("opened twice: %v, want data-in-use", err)
	}
	must(t, l.Close())
	openLog(t, path)
}

// TestSyncBeforeAppendReturns is the commit point at the file layer: when Append returns, its bytes were in the file
// before a sync that has returned, and so was the record of the end. Promise P1.
func TestSyncBeforeAppendReturns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var synced atomic.Pointer[[]byte]
	l, err := registry.OpenLog(path, func(f *os.File) error {
		err := f.Sync()
		b, _ := os.ReadFile(f.Name())
		synced.Store(&b)
		return err
	})
	must(t, err)
	must(t, l.Append([]byte("an entry")))
	safe := *synced.Load()
	must(t, l.Close())
	if got := entries(t, must2(rewritten(t, path, safe))(t)); got != "[an entry]" {
		t.Errorf("the disk had %s when Append returned, want [an entry]", got)
	}
}

// TestFailedSync: after it nobody knows what the disk holds, so nothing is acknowledged any more.
func TestFailedSync(t *testing.T) {
	path := newLog(t)
	bad := false
	l, err := registry.OpenLog(path, func(f *os.File) error {
		if bad {
			bad = false
			return errors.New("input/output error")
		}
		return f.Sync()
	})
	must(t, err)
	defer func() { _ = l.Close() }()
	bad = true
	if err := l.Append([]byte("four")); !fault.Is(err, fault.Internal) {
		t.Errorf("Append over a failed sync: %v, want internal", err)
	}
	if err := l.Append([]byte("five")); err == nil {
		t.Error("appended after a failed sync")
	}
	select {
	case <-l.Failed():
	default:
		t.Error("Failed is open")
	}
	if l.Size() != 3 {
		t.Errorf("size %d, want 3", l.Size())
	}
}

// FuzzLog: no bytes make opening a log panic, and what opens can be read and appended to.
func FuzzLog(f *testing.F) {
	f.Add([]byte("enlace-log 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := newLog(t)
		whole, err := os.ReadFile(path)
		must(t, err)
		l, err := rewritten(t, path, append(whole, b...))
		if err != nil {
			t.Fatalf("garbage after the end: %v", err)
		}
		must(t, l.Append([]byte("next")))
		must(t, l.Close())
		if l, err := rewritten(t, path, b); err == nil {
			_ = entries(t, l)
			_ = l.Close()
		}
	})
}
