package witness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

// TestMain runs this program as the witness that a test kills.
func TestMain(m *testing.M) {
	if path := os.Getenv("ENLACE_TEST_WITNESS"); path != "" {
		killed(path)
	}
	os.Exit(m.Run())
}

func key(k seed) func() (merkle.Signer, error) {
	return func() (merkle.Signer, error) { return k, nil }
}

func open(t *testing.T, path string) *Cosigner {
	t.Helper()
	c, err := OpenCosigner(path, name, key(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func shut(t *testing.T, c *Cosigner) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

var now = time.Unix(1_800_000_000, 0)

// TestCosign holds that a witness cosigns what grows, and that standard tools verify it. PROTOCOL 11.6, 11.8.
func TestCosign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness")
	c := open(t, path)
	if cp, ok := c.Last(); ok {
		t.Errorf("new witness has cosigned %v", cp)
	}
	own := history{fork: 100, size: 100}
	for _, size := range []int64{1, 1, 5, 99} {
		line, err := c.Cosign(own.at(size), own.root, now)
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := merkle.NewCosignatureVerifier(name, seed(2).PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.Open(append(sign(t, own.at(size), logKey), line...), note.VerifierList(verifier)); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		if last, ok := c.Last(); !ok || last != own.at(size) {
			t.Errorf("last = %v, %v; want %v", last, ok, own.at(size))
		}
	}
	shut(t, c)
	if last, ok := open(t, path).Last(); !ok || last != own.at(99) {
		t.Errorf("after a restart last = %v, %v; want %v", last, ok, own.at(99))
	}
}

// TestCosignRefuses has a witness that cosigned 50 entries refuse what does not go on from them. PROTOCOL 11.8.
func TestCosignRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness")
	c := open(t, path)
	own := history{fork: 100, size: 100}
	if _, err := c.Cosign(own.at(50), own.root, now); err != nil {
		t.Fatal(err)
	}
	other := history{fork: 30, size: 100}
	elsewhere := own.at(60)
	elsewhere.Origin = "other.example/log"
	for _, test := range []struct {
		name string
		cp   merkle.Checkpoint
		copy history
		kind fault.Kind
		code string
	}{
		{"smaller", own.at(49), own, fault.Conflict, "rollback"},
		{"smaller, of another history", other.at(40), other, fault.Conflict, "rollback"},
		{"same size, other root", other.at(50), own, fault.Conflict, "not-consistent"},
		{"same size, other root, as in the copy", other.at(50), other, fault.Conflict, "not-consistent"},
		{"same again, the copy differs", own.at(50), other, fault.Conflict, "not-consistent"},
		{"growth that the copy has not", other.at(60), own, fault.Conflict, "not-consistent"},
		{"growth of a copy that was not cosigned", other.at(60), other, fault.Conflict, "not-consistent"},
		{"longer than the copy", own.at(90), history{fork: 100, size: 80}, fault.Internal, ""},
		{"another log", elsewhere, own, fault.Invalid, "wrong-origin"},
		{"empty", merkle.Checkpoint{Origin: origin}, own, fault.Invalid, "malformed"},
	} {
		line, err := c.Cosign(test.cp, test.copy.root, now)
		if err == nil || line != nil || fault.KindOf(err) != test.kind || fault.CodeOf(err) != test.code {
			t.Errorf("%s: %q, %v; want %v %s", test.name, line, err, test.kind, test.code)
		}
		if last, _ := c.Last(); last != own.at(50) {
			t.Errorf("%s: last = %v", test.name, last)
		}
	}
	if _, err := c.Cosign(own.at(51), own.root, now); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestStoredFirst looks into the file while the key is used: what is cosigned is there already. PROTOCOL 11.8.
func TestStoredFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness")
	own := history{fork: 100, size: 100}
	c, err := OpenCosigner(path, name, key(2))
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, c)
	looks := looker{seed: 2, look: func() {
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), own.at(7).Text()) {
			t.Errorf("while it signs the memory is %q, %v", text, err)
		}
	}}
	c.signer = func() (merkle.Signer, error) { return looks, nil }
	if _, err := c.Cosign(own.at(7), own.root, now); err != nil {
		t.Fatal(err)
	}
	// What cannot be stored is not signed.
	looks.look = func() { t.Error("signed what was not stored") }
	c.signer = func() (merkle.Signer, error) { return looks, nil }
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if line, err := c.Cosign(own.at(8), own.root, now); fault.CodeOf(err) != "disk" || line != nil {
			t.Errorf("disk that does not store: %q, %v", line, err)
		}
	}
}

type looker struct {
	seed
	look func()
}

func (l looker) Sign(msg []byte) ([]byte, error) {
	l.look()
	return l.seed.Sign(msg)
}

func TestKeyAway(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "witness"))
	own := history{fork: 9, size: 9}
	c.signer = func() (merkle.Signer, error) { return nil, fault.New(fault.Retry, "keyring-away", "", "") }
	if _, err := c.Cosign(own.at(3), own.root, now); fault.CodeOf(err) != "keyring-away" {
		t.Errorf("no key: %v", err)
	}
	c.signer = key(0)
	if _, err := c.Cosign(own.at(3), own.root, now); fault.CodeOf(err) != "keyring-away" {
		t.Errorf("locked key: %v", err)
	}
	c.signer = key(2)
	if _, err := c.Cosign(own.at(3), own.root, now); err != nil {
		t.Errorf("key back: %v", err)
	}
}

// killed cosigns and dies while the key is used: the signature never leaves.
func killed(path string) {
	own := history{fork: 100, size: 100}
	c, err := OpenCosigner(path, name, func() (merkle.Signer, error) {
		return looker{2, func() { _ = os.Stdout.Sync(); os.Exit(137) }}, nil
	})
	if err == nil {
		_, err = c.Cosign(own.at(42), own.root, now)
	}
	_, _ = os.Stderr.WriteString(err.Error())
	os.Exit(1)
}

// TestKilled stops a witness between storing and signing. It comes back with what it stored, cosigns that again, and
// nothing else of that size. PROTOCOL 11.8.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness")
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "ENLACE_TEST_WITNESS="+path)
	var exit *exec.ExitError
	if out, err := command.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 137 {
		t.Fatalf("%v\n%s", err, out)
	}
	c := open(t, path)
	own, other := history{fork: 100, size: 100}, history{fork: 10, size: 100}
	if last, ok := c.Last(); !ok || last != own.at(42) {
		t.Fatalf("last = %v, %v; want what was stored", last, ok)
	}
	if _, err := c.Cosign(other.at(42), other.root, now); fault.CodeOf(err) != "not-consistent" {
		t.Errorf("another root: %v, want not-consistent", err)
	}
	if _, err := c.Cosign(own.at(42), own.root, now); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

// TestMemory holds that a memory that is not what was written is refused, and one that never was is begun.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	own := history{fork: 100, size: 100}
	made := filepath.Join(dir, "made")
	c := open(t, made)
	if _, err := c.Cosign(own.at(5), own.root, now); err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	text, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		text string
		code string
	}{
		"as written":      {string(text), ""},
		"empty":           {"", "damaged-witness"},
		"cut":             {string(text[:len(text)-9]), "damaged-witness"},
		"longer":          {string(text) + "\n", "damaged-witness"},
		"smaller size":    {strings.Replace(string(text), "\n5\n", "\n4\n", 1), "damaged-witness"},
		"another witness": {memory{name: "spiffe://x/y"}.text(nil), "other-witness"},
		"no checkpoint":   {magic + name + "\nx\n" + checksum(magic+name+"\nx\n") + "\n", "damaged-witness"},
	}
	for what, test := range tests {
		path := filepath.Join(t.TempDir(), "witness")
		shut(t, open(t, path))
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCosigner(path, name, key(2))
		if fault.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
			t.Errorf("%s: %v, want %q", what, err, test.code)
		}
		if err == nil {
			shut(t, c)
		} else if fault.As(err).Hint == "" {
			t.Errorf("%s: no hint", what)
		}
	}
	for i := range text {
		changed := append([]byte(nil), text...)
		changed[i] ^= 1
		if cp, any, err := (memory{name: name}).parse(string(changed)); err == nil {
			t.Fatalf("byte %d changed: %v, %v", i, cp, any)
		}
	}
}

// TestLost tells a memory that is gone from one that never was, also where the first start stopped in between.
func TestLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness")
	shut(t, open(t, path))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := OpenCosigner(path, name, key(2)); fault.CodeOf(err) != "lost-witness" || fault.As(err).Hint == "" {
			t.Errorf("memory gone: %v, want lost-witness", err)
		}
	}
	// The first start stopped before the memory was written, and, next, before it was marked.
	if err := os.Truncate(path+lockSuffix, 0); err != nil {
		t.Fatal(err)
	}
	shut(t, open(t, path))
	if err := os.Truncate(path+lockSuffix, 0); err != nil {
		t.Fatal(err)
	}
	shut(t, open(t, path))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCosigner(path, name, key(2)); fault.CodeOf(err) != "lost-witness" {
		t.Errorf("marked late: %v, want lost-witness", err)
	}
}

func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness")
	c := open(t, path)
	if _, err := OpenCosigner(path, name, key(2)); fault.CodeOf(err) != "data-in-use" {
		t.Errorf("opened twice: %v, want data-in-use", err)
	}
	shut(t, c)
	own := history{fork: 9, size: 9}
	if _, err := c.Cosign(own.at(3), own.root, now); fault.CodeOf(err) != "closed" {
		t.Errorf("after Close: %v, want closed", err)
	}
	shut(t, open(t, path))
}

func FuzzMemory(f *testing.F) {
	cp := history{fork: 9, size: 9}.at(3)
	m := memory{name: name}
	f.Add(m.text(nil))
	f.Add(m.text(&cp))
	f.Fuzz(func(t *testing.T, text string) {
		cp, any, err := m.parse(text)
		if err != nil {
			return
		}
		again := m.text(nil)
		if any {
			again = m.text(&cp)
		}
		if again != text {
			t.Errorf("%q reads as %v, which is %q", text, cp, again)
		}
	})
}
