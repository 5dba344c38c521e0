package keyring_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

// TestRecoveryKey: what is sealed to the recipient opens with the key and its passphrase, whole or not at all.
func TestRecoveryKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mx.recovery-key")
	pass := keyring.NewPassphrase("four words of a test").WithWorkFactor(10)
	made, err := keyring.CreateRecovery(path, pass)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.CreateRecovery(path, pass); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second key took the place of the first: %v", err)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil || string(public) != made.Recipient()+"\n" {
		t.Fatalf("the public file holds %q, %v", public, err)
	}
	var sealed bytes.Buffer
	w, err := keyring.SealToRecovery(string(public), &sealed)
	if err != nil {
		t.Fatal(err)
	}
	plain := bytes.Repeat([]byte("backup "), 50_000)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.OpenRecovery(path, keyring.NewPassphrase("another passphrase")); fault.CodeOf(err) != "wrong-unlock" {
		t.Errorf("a wrong passphrase: %v", err)
	}
	k, err := keyring.OpenRecovery(path, pass)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 1, 70_000, sealed.Len() - 200} {
		r, err := k.Open(bytes.NewReader(sealed.Bytes()[:sealed.Len()-cut]))
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if whole := cut == 0; whole != (err == nil) || whole && !bytes.Equal(got, plain) {
			t.Errorf("with %d bytes cut off: %d bytes, %v", cut, len(got), err)
		}
	}
}

// TestCopyOfRing: a copy opens with its own unlock file and nothing else, and a ring adopted from it has the same keys under
// another lock.
func TestCopyOfRing(t *testing.T) {
	dir := t.TempDir()
	unlock, err := keyring.NewUnlockFile(filepath.Join(dir, "unlock"))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Create(filepath.Join(dir, "keyring.age"), unlock)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.GenerateNode(time.Now()); err != nil {
		t.Fatal(err)
	}
	file, key, err := ring.Copy()
	if err != nil {
		t.Fatal(err)
	}
	next := keyring.UnlockWith(keyring.NewPassphrase("another four words").WithWorkFactor(10))
	own, err := os.ReadFile(filepath.Join(dir, "unlock"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "adopted.age")
	if _, err := keyring.Adopt(path, file, own, next); fault.CodeOf(err) != "wrong-unlock" {
		t.Errorf("the copy opens with the ring's own unlock file: %v", err)
	}
	if _, err := keyring.Adopt(path, file, key, next); err != nil {
		t.Fatal(err)
	}
	adopted, err := keyring.Open(path, next)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := ring.Public(keyring.NodeSign)
	if got, _ := adopted.Public(keyring.NodeSign); got.Fingerprint() != want.Fingerprint() {
		t.Error("the adopted ring has another signing key")
	}
}
