package testnet_test

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/testnet"
)

// A client that imports none of our packages reads the log of a whole network over HTTPS and verifies all of it: the
// hub's signature, the cosignatures of more than half of the nodes, every entry. It finds later that the log has grown
// and is the same. PROTOCOL 11.10, P6.
func TestStrangerVerifiesTheLog(t *testing.T) {
	n := start(t, testnet.Options{Tiles: "127.0.0.1:0"})
	dir := t.TempDir()
	program := filepath.Join(dir, "publiclog")
	if out, err := exec.Command("go", "build", "-o", program, "../../tools/publiclog").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s := n.Hub.Directory.Load()
	var authorities []byte
	for _, der := range s.Hub().Certificates {
		authorities = append(authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), authorities, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-log", must[string](t)(note.NewEd25519VerifierKey(s.Origin(), s.LogKey(s.Position()).Bytes())), "-need", "2",
		"-ca", filepath.Join(dir, "ca.pem"), "-seen", filepath.Join(dir, "seen")}
	for _, w := range s.Witnesses() {
		key := must[string](t)(note.NewEd25519VerifierKey(w.Node.String(), w.Key.Bytes()))
		args = append(args, "-witness", must[string](t)(formats.VKeyToCosignatureV1(key)))
	}
	args = append(args, "https://"+n.Hub.HTTPSAddr.String())
	run := func() (string, error) {
		out, err := exec.Command(program, args...).CombinedOutput()
		return string(out), err
	}
	first := verified(t, run)
	err := n.Restrict(t.Context(), nil, func(d directory.Draft) ([]byte, error) {
		return d.Suspend(directory.OfState(n.Members[2].State), time.Now().Add(time.Hour), "test")
	})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if later := verified(t, run); later != first {
			break
		}
		if time.Now().After(deadline) {
			out, _ := run()
			t.Fatalf("the log that is served does not grow: %s, %s", first, out)
		}
	}
	s = n.Hub.Directory.Load()
	args[1] = must[string](t)(note.NewEd25519VerifierKey(s.Origin(), s.Witnesses()[0].Key.Bytes()))
	if out, err := run(); err == nil {
		t.Errorf("under another log key it was verified all the same: %s", out)
	}
}

// verified runs the client until it finds what it wants, and returns the size that it found.
func verified(t *testing.T, run func() (string, error)) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := run()
		if err == nil {
			_, size, _ := strings.Cut(out, "size ")
			size, _, _ = strings.Cut(size, "\n")
			return size
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v: %s", err, out)
		}
	}
}
