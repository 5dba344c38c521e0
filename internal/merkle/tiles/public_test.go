package tiles

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/enlace-network/enlace/internal/merkle"
)

// stranger is the client of tools/publiclog, which imports nothing of ours, as a program of its own.
type stranger struct {
	program, log, ca, url, seen string
	witness                     string
}

func newStranger(t *testing.T, handler http.Handler) stranger {
	t.Helper()
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(http.StripPrefix("/log", handler))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	s := stranger{program: filepath.Join(dir, "publiclog"), ca: filepath.Join(dir, "ca.pem"), url: server.URL + "/log", seen: filepath.Join(dir, "seen")}
	build := exec.Command("go", "build", "-o", s.program, "../../../tools/publiclog")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build publiclog: %v\n%s", err, out)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(s.ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	vkey, err := note.NewEd25519VerifierKey(origin, seed(1).PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	s.log, s.witness = vkey, witnessKey("w.example/1", seed(7))
	return s
}

// witnessKey is a witness's vkey, made without our code.
func witnessKey(name string, key seed) string {
	b := append([]byte{4}, key.PublicKey().Bytes()...)
	sum := sha256.Sum256(append([]byte(name+"\n"), b...))
	return fmt.Sprintf("%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(b))
}

func (s stranger) read(args ...string) (string, error) {
	args = append([]string{"-log", s.log, "-ca", s.ca, "-seen", s.seen, "-witness", s.witness}, append(args, s.url)...)
	out, err := exec.Command(s.program, args...).CombinedOutput()
	return string(out), err
}

// TestStranger has the public log read and verified over HTTPS by a program that imports no package of ours, as it grows:
// the head it is given is the confirmed one, not the newest. PROTOCOL 11.10.
func TestStranger(t *testing.T) {
	log := open(t, t.TempDir())
	var head atomic.Pointer[[]byte]
	s := newStranger(t, log.Handler(func() []byte {
		if b := head.Load(); b != nil {
			return *b
		}
		return nil
	}))
	if out, err := s.read(); err == nil || !strings.Contains(out, "404") {
		t.Errorf("empty log: %v\n%s", err, out)
	}
	for _, step := range []struct{ size, ahead int }{{1, 2}, {4, 0}, {255, 0}, {256, 0}, {257, 5}, {300, 3}, {1500, 3}} {
		size := step.size
		signed := grow(t, log, size)
		cp, err := merkle.Open(signed, verifier(t))
		if err != nil {
			t.Fatal(err)
		}
		line, err := merkle.Cosign(cp, "w.example/1", seed(7), time.Unix(1_800_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		confirmed := append(signed[:len(signed):len(signed)], line...)
		head.Store(&confirmed)
		grow(t, log, size+step.ahead) // not confirmed yet
		out, err := s.read("-need", "1")
		if err != nil {
			t.Fatalf("size %d: %v\n%s", size, err, out)
		}
		for _, want := range []string{fmt.Sprintf("size %d\n", size), "root " + root(size).String(), fmt.Sprintf("entries %d\n", size), "witness w.example/1 2027-01-15T08:00:00Z"} {
			if !strings.Contains(out, want) {
				t.Errorf("size %d: %q is not in\n%s", size, want, out)
			}
		}
	}
	head.Store(nil)
	if out, err := s.read("-need", "1"); err == nil || !strings.Contains(out, "0 witnesses signed") {
		t.Errorf("no cosignature: %v\n%s", err, out)
	}
	if out, err := s.read(); err != nil || !strings.Contains(out, "size 1503\n") || !strings.Contains(out, "begins with 1500\n") {
		t.Errorf("no head: %v\n%s", err, out)
	}
}

// TestStrangerNotices shows the stranger a log that is not what it was, or not whole.
func TestStrangerNotices(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	grow(t, log, 300)
	other := open(t, t.TempDir())
	if _, err := other.Append(t.Context(), leaves(1000, 1400)...); err != nil {
		t.Fatal(err)
	}
	var served atomic.Pointer[Tiles]
	served.Store(log)
	s := newStranger(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.Load().Handler(nil).ServeHTTP(w, r) }))
	if out, err := s.read(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	served.Store(other)
	if out, err := s.read(); err == nil || !strings.Contains(out, "does not begin with") {
		t.Errorf("rewritten: %v\n%s", err, out)
	}
	served.Store(log)
	for _, file := range []string{"tile/entries/000", "tile/0/000"} {
		path := filepath.Join(dir, file)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := append([]byte(nil), whole...)
		changed[100] ^= 1
		for _, content := range [][]byte{changed, whole} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := s.read(); (err == nil) != (content[100] == whole[100]) {
				t.Errorf("%s changed %v: %v\n%s", file, content[100] != whole[100], err, out)
			}
		}
	}
}
