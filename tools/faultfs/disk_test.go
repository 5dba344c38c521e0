package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// folder is a disk that is mounted; without FUSE there is nothing to test.
func folder(t *testing.T) *session {
	t.Helper()
	s := &session{disk: newDisk(), folder: t.TempDir()}
	if err := s.mount(); err != nil {
		t.Skipf("this machine mounts no FUSE file systems: %v", err)
	}
	t.Cleanup(func() {
		if err := s.server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *session) command(t *testing.T, line string) {
	t.Helper()
	if err := s.do(line); err != nil {
		t.Fatal(line, err)
	}
}

// put writes a file; sync says whether its bytes, and the name in its folder, are made durable.
func (s *session) put(t *testing.T, name string, b []byte, sync, syncName bool) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.folder, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if syncName {
		s.syncFolder(t)
	}
}

func (s *session) syncFolder(t *testing.T) {
	t.Helper()
	d, err := os.Open(s.folder)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *session) get(name string) ([]byte, error) { return os.ReadFile(filepath.Join(s.folder, name)) }

// What an fsync covers is there after every cut; what none covers is lost in some.
func TestOnlyWhatIsSyncedIsSafe(t *testing.T) {
	s := folder(t)
	lost := map[string]int{}
	const cuts = 30
	for seed := range cuts {
		kept := fmt.Sprintf("kept-%d", seed)
		s.put(t, kept, []byte("first "), true, true)
		s.put(t, kept, []byte("second"), false, false)
		s.put(t, fmt.Sprintf("bytes-%d", seed), []byte("bytes"), true, false)
		s.command(t, fmt.Sprint("cut ", seed))
		b, err := s.get(kept)
		if err != nil || !bytes.HasPrefix(b, []byte("first ")) {
			t.Fatalf("seed %d: what was synced is %q, %v", seed, b, err)
		}
		if string(b) == "first " {
			lost["bytes"]++
		}
		if _, err := s.get(fmt.Sprintf("bytes-%d", seed)); errors.Is(err, os.ErrNotExist) {
			lost["name"]++
		}
	}
	for _, what := range []string{"bytes", "name"} {
		if n := lost[what]; n == 0 || n == cuts {
			t.Errorf("in %d of %d cuts the %s were lost: want some, not all", n, cuts, what)
		}
	}
}

// A file that takes another's name is either of them, whole.
func TestRenameIsWhole(t *testing.T) {
	s := folder(t)
	seen := map[string]bool{}
	s.put(t, "settings", []byte("old"), true, true)
	for seed := range 20 {
		s.put(t, "new", []byte("old"), true, false)
		if err := os.Rename(filepath.Join(s.folder, "new"), filepath.Join(s.folder, "settings")); err != nil {
			t.Fatal(err)
		}
		s.syncFolder(t)
		s.put(t, "new", []byte("new"), true, false)
		if err := os.Rename(filepath.Join(s.folder, "new"), filepath.Join(s.folder, "settings")); err != nil {
			t.Fatal(err)
		}
		s.command(t, fmt.Sprint("cut ", seed))
		b, err := s.get("settings")
		if err != nil || (string(b) != "old" && string(b) != "new") {
			t.Fatalf("seed %d: %q, %v", seed, b, err)
		}
		seen[string(b)] = true
		_ = os.Remove(filepath.Join(s.folder, "new"))
		s.syncFolder(t)
	}
	if len(seen) != 2 {
		t.Errorf("only %v was seen", seen)
	}
}

// Between two syncs writes are reordered and torn, at the borders of sectors.
func TestReorderedAndTorn(t *testing.T) {
	first, second := bytes.Repeat([]byte("a"), 4*sector), bytes.Repeat([]byte("b"), 4*sector)
	var reordered, torn bool
	for seed := range uint64(200) {
		d := newDisk()
		f, err := d.create(d.root, "f", syscall.S_IFREG|0o600)
		if err != nil {
			t.Fatal(err)
		}
		d.sync(d.root)
		_, _ = d.write(f, first, 0), d.write(f, second, int64(len(first)))
		d.cut(rand.New(rand.NewPCG(seed, 0)))
		if len(f.data)%sector != 0 {
			t.Fatalf("seed %d: %d bytes are no sectors", seed, len(f.data))
		}
		a, b := bytes.Count(f.data, []byte("a")), bytes.Count(f.data, []byte("b"))
		reordered = reordered || (a == 0 && b > 0)
		torn = torn || (b > 0 && b < len(second)) || (b == 0 && a > 0 && a < len(first))
	}
	if !reordered || !torn {
		t.Errorf("reordered: %v, torn: %v", reordered, torn)
	}
}

// One seed gives one outcome.
func TestSameSeed(t *testing.T) {
	outcome := func(seed uint64) string {
		d := newDisk()
		for n := range 10 {
			f, err := d.create(d.root, fmt.Sprint(n), syscall.S_IFREG|0o600)
			if err != nil {
				t.Fatal(err)
			}
			for at := range 5 {
				_ = d.write(f, []byte{byte(at)}, int64(at))
			}
		}
		d.cut(rand.New(rand.NewPCG(seed, 0)))
		var b strings.Builder
		for n := range 10 {
			if f := d.root.entries[fmt.Sprint(n)]; f != nil {
				fmt.Fprintf(&b, "%d=%x ", n, f.data)
			}
		}
		return b.String()
	}
	different := map[string]bool{}
	for seed := range uint64(20) {
		if outcome(seed) != outcome(seed) {
			t.Fatalf("seed %d gives two outcomes", seed)
		}
		different[outcome(seed)] = true
	}
	if len(different) < 10 {
		t.Errorf("20 seeds give %d outcomes", len(different))
	}
}

// A program that is killed loses nothing: only the power can.
func TestKilledProgramLosesNothing(t *testing.T) {
	s := folder(t)
	c := exec.Command("sh", "-c", `printf hello > "$0/f"; kill -9 $$`, s.folder)
	if err := c.Run(); err == nil {
		t.Fatal("the program was not killed")
	}
	if b, err := s.get("f"); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

// A full disk refuses what grows, takes what does not, and takes all again afterwards.
func TestFull(t *testing.T) {
	s := folder(t)
	s.put(t, "f", []byte("12345678"), true, true)
	s.command(t, "full on")
	if err := os.WriteFile(filepath.Join(s.folder, "g"), []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a new file: %v", err)
	}
	f, err := os.OpenFile(filepath.Join(s.folder, "f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt([]byte("abc"), 2); err != nil {
		t.Errorf("within the file: %v", err)
	}
	if _, err := f.WriteAt([]byte("abc"), 7); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("beyond its end: %v", err)
	}
	s.command(t, "full off")
	if _, err := f.WriteAt([]byte("abc"), 7); err != nil {
		t.Error(err)
	}
	if b, err := s.get("f"); err != nil || string(b) != "12abc67abc" {
		t.Errorf("%q, %v", b, err)
	}
}

// A bit that rots is read back as it is, and nothing else is changed.
func TestFlip(t *testing.T) {
	s := folder(t)
	if err := os.Mkdir(filepath.Join(s.folder, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.put(t, "in/f", []byte("abc"), true, true)
	s.command(t, "flip 1 in/f")
	if b, err := s.get("in/f"); err != nil || string(b) != "acc" {
		t.Errorf("%q, %v", b, err)
	}
	for _, line := range []string{"flip 3 in/f", "flip 0 in/g", "flip x in/f", "cut", "melt"} {
		if err := s.do(line); err == nil {
			t.Errorf("%q was done", line)
		}
	}
}

// A truncated file has its old bytes no more, and zeros where it grows again.
func TestTruncate(t *testing.T) {
	s := folder(t)
	s.put(t, "f", []byte("abcdef"), true, true)
	path := filepath.Join(s.folder, "f")
	for _, size := range []int64{2, 4} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := s.get("f"); err != nil || string(b) != "ab\x00\x00" {
		t.Errorf("%q, %v", b, err)
	}
}
