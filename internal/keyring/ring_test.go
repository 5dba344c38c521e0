package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/nats-io/nkeys"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

var epoch = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func quick(text string) Passphrase { return NewPassphrase(text).WithWorkFactor(10) }

func mustName(t testing.TB, s string) authority.Name {
	t.Helper()
	n, err := authority.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// newRing makes a ring locked by an unlock file; it returns where both lie.
func newRing(t testing.TB) (*Ring, string, Unlock) {
	t.Helper()
	dir := t.TempDir()
	unlock, err := NewUnlockFile(filepath.Join(dir, "unlock"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ring.age")
	r, err := Create(path, unlock)
	if err != nil {
		t.Fatal(err)
	}
	return r, path, unlock
}

func check(t testing.TB, what string, err error, kind fault.Kind, code string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s was accepted", what)
		return
	}
	if got := fault.KindOf(err); got != kind || fault.CodeOf(err) != code {
		t.Errorf("%s: got %v %q (%v), want %v %q", what, got, fault.CodeOf(err), err, kind, code)
	}
}

func must0(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		must0(t, err)
		return v
	}
}

func sealTo(t testing.TB, plain []byte, publics ...authority.PublicKey) []byte {
	t.Helper()
	var recipients []age.Recipient
	for _, p := range publics {
		recipients = append(recipients, must1[*age.HybridRecipient](t)(age.ParseHybridRecipient(string(p.Bytes()))))
	}
	var out bytes.Buffer
	w := must1[io.WriteCloser](t)(age.Encrypt(&out, recipients...))
	must1[int](t)(w.Write(plain))
	must0(t, w.Close())
	return out.Bytes()
}

func readOpened(r *Ring, fp authority.Fingerprint, sealed io.Reader) ([]byte, error) {
	plain, err := r.Open(context.Background(), fp, sealed)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

func TestRingSurvivesReopening(t *testing.T) {
	r, path, unlock := newRing(t)
	name := mustName(t, "mx/fgr")
	must0(t, r.GenerateNode(epoch))
	must0(t, r.GenerateAuthority(name, epoch))
	must0(t, r.GenerateCA("mx", epoch))
	again, err := Open(path, unlock)
	if err != nil {
		t.Fatal(err)
	}
	want, got := r.Entries(), again.Entries()
	if len(got) != 7 || len(want) != 7 { // 5 of the node, 2 of the authority; CA and secrets have no public key
		t.Fatalf("got %d entries and %d after reopening, want 7", len(want), len(got))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d: got %v, want %v", i, got[i], want[i])
		}
	}
	for _, slot := range []Slot{LedgerSecret, SaltSecret} {
		a, b := must1[[]byte](t)(r.Secret(slot)), must1[[]byte](t)(again.Secret(slot))
		if !bytes.Equal(a, b) || len(a) != 32 {
			t.Errorf("secret %s: got %d bytes, equal %v", slot, len(a), bytes.Equal(a, b))
		}
	}
	if got, want := again.CACertificates(), r.CACertificates(); len(got) != 1 || !bytes.Equal(got[0], want[0]) {
		t.Error("the CA certificate changed on reopening")
	}
	ledger, salt := must1[[]byte](t)(r.Secret(LedgerSecret)), must1[[]byte](t)(r.Secret(SaltSecret))
	if bytes.Equal(ledger, salt) {
		t.Error("two secrets are the same")
	}
}

func TestSign(t *testing.T) {
	r, _, _ := newRing(t)
	name := mustName(t, "mx/fgr")
	must0(t, r.GenerateAuthority(name, epoch))
	public := must1[authority.PublicKey](t)(r.Public(AuthoritySign(name)))
	payload := []byte("header bytes")
	sig := must1[[]byte](t)(r.Sign(context.Background(), public.Fingerprint(), authority.ForHeader, payload))
	must0(t, public.Verify(authority.ForHeader, payload, sig))
	check(t, "another purpose", public.Verify(authority.ForReceipt, payload, sig), fault.Invalid, "bad-signature")

	_, err := r.Sign(context.Background(), authority.Fingerprint{1}, authority.ForHeader, payload)
	check(t, "an unknown key", err, fault.NotFound, "no-key")
	sealing := must1[authority.PublicKey](t)(r.Public(AuthoritySeal(name)))
	_, err = r.Sign(context.Background(), sealing.Fingerprint(), authority.ForHeader, payload)
	check(t, "signing with a sealing key", err, fault.NotFound, "no-key")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = r.Sign(ctx, public.Fingerprint(), authority.ForHeader, payload)
	check(t, "a call given up", err, fault.Retry, "")
}

func TestSignNonce(t *testing.T) {
	r, _, _ := newRing(t)
	must0(t, r.GenerateNode(epoch))
	must0(t, r.GenerateHub(epoch))
	for slot, prefix := range map[Slot]string{NodeBus: "U", HubBusOperator: "O"} {
		public := string(must1[authority.PublicKey](t)(r.Public(slot)).Bytes())
		if !strings.HasPrefix(public, prefix) {
			t.Errorf("%s: got public key %s, want prefix %s", slot, public, prefix)
		}
		sig := must1[[]byte](t)(r.SignNonce(slot, []byte("nonce")))
		must0(t, must1[nkeys.KeyPair](t)(nkeys.FromPublicKey(public)).Verify([]byte("nonce"), sig))
	}
	_, err := r.SignNonce(NodeSign, []byte("nonce"))
	check(t, "a plain signature by a signing key", err, fault.NotFound, "no-key")
}

func TestOpenSealed(t *testing.T) {
	r, _, _ := newRing(t)
	mine, other := mustName(t, "mx/fgr"), mustName(t, "mx/sat")
	must0(t, r.GenerateAuthority(mine, epoch))
	must0(t, r.GenerateAuthority(other, epoch))
	public := must1[authority.PublicKey](t)(r.Public(AuthoritySeal(mine)))
	otherPublic := must1[authority.PublicKey](t)(r.Public(AuthoritySeal(other)))
	plain := bytes.Repeat([]byte("plain "), 20_000) // more than one chunk
	sealed := sealTo(t, plain, public)

	got, err := readOpened(r, public.Fingerprint(), bytes.NewReader(sealed))
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("got %d bytes, %v; want %d bytes", len(got), err, len(plain))
	}
	both := sealTo(t, plain, public, otherPublic)
	if got, err := readOpened(r, otherPublic.Fingerprint(), bytes.NewReader(both)); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("the second recipient got %d bytes, %v", len(got), err)
	}
	// The ring holds the right key too, and must not try it.
	_, err = readOpened(r, otherPublic.Fingerprint(), bytes.NewReader(sealed))
	check(t, "the wrong key", err, fault.Invalid, "cannot-open")
	_, err = readOpened(r, authority.Fingerprint{9}, bytes.NewReader(sealed))
	check(t, "an unknown key", err, fault.NotFound, "no-key")
	_, err = readOpened(r, public.Fingerprint(), strings.NewReader("not age"))
	check(t, "other bytes", err, fault.Invalid, "cannot-open")
	for _, cut := range []int{0, 10, len(sealed) / 2, len(sealed) - 1} {
		_, err = readOpened(r, public.Fingerprint(), bytes.NewReader(sealed[:cut]))
		check(t, fmt.Sprintf("%d bytes of %d", cut, len(sealed)), err, fault.Invalid, "cannot-open")
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-5] ^= 1
	_, err = readOpened(r, public.Fingerprint(), bytes.NewReader(changed))
	check(t, "a changed byte", err, fault.Invalid, "cannot-open")
}

func TestOpenSealedTellsAFailingDiskFromAForgery(t *testing.T) {
	r, _, _ := newRing(t)
	must0(t, r.GenerateNode(epoch))
	public := must1[authority.PublicKey](t)(r.Public(NodeSeal))
	sealed := sealTo(t, make([]byte, 200_000), public)
	broken := errors.New("disk on fire")
	for _, at := range []int{20, len(sealed) / 2} {
		_, err := readOpened(r, public.Fingerprint(), io.MultiReader(bytes.NewReader(sealed[:at]), failing{broken}))
		if !errors.Is(err, broken) || fault.Is(err, fault.Invalid) {
			t.Errorf("failure at %d: got %v, want the disk's own error", at, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRotateKeepsTheOldKeys(t *testing.T) {
	r, path, unlock := newRing(t)
	name := mustName(t, "mx/fgr")
	must0(t, r.GenerateAuthority(name, epoch))
	old := must1[authority.PublicKey](t)(r.Public(AuthoritySeal(name)))
	sealed := sealTo(t, []byte("from before"), old)
	must0(t, r.Rotate(epoch.Add(time.Hour), AuthoritySign(name), AuthoritySeal(name)))
	r = must1[*Ring](t)(Open(path, unlock))

	current := must1[authority.PublicKey](t)(r.Public(AuthoritySeal(name)))
	if current == old {
		t.Error("the current key is still the old one")
	}
	if got, err := readOpened(r, old.Fingerprint(), bytes.NewReader(sealed)); string(got) != "from before" {
		t.Errorf("the old sealing key opened %q, %v", got, err)
	}
	var generations []bool
	for _, e := range r.Entries() {
		if e.Slot == AuthoritySeal(name) {
			generations = append(generations, e.Current)
		}
	}
	if fmt.Sprint(generations) != "[false true]" {
		t.Errorf("got generations %v, want [false true]", generations)
	}
	check(t, "rotating an empty slot", r.Rotate(epoch, NodeSign), fault.NotFound, "no-key")
	check(t, "rotating an unknown slot", r.Rotate(epoch, Slot("authority-sign/MX")), fault.NotFound, "no-key")
}

func TestSecretsAndCAsAreNotRotated(t *testing.T) {
	r, _, _ := newRing(t)
	must0(t, r.GenerateNode(epoch))
	must0(t, r.GenerateCA("mx", epoch))
	for _, slot := range []Slot{LedgerSecret, SaltSecret, CA} {
		check(t, "rotating "+string(slot), r.Rotate(epoch, slot), fault.NotFound, "no-key")
	}
}

func TestGeneratingTwiceIsRefused(t *testing.T) {
	r, _, _ := newRing(t)
	name := mustName(t, "mx/fgr")
	for what, generate := range map[string]func() error{
		"node":      func() error { return r.GenerateNode(epoch) },
		"hub":       func() error { return r.GenerateHub(epoch) },
		"authority": func() error { return r.GenerateAuthority(name, epoch) },
		"CA":        func() error { return r.GenerateCA("mx", epoch) },
	} {
		must0(t, generate())
		before := len(r.Entries())
		check(t, "a second "+what, generate(), fault.Conflict, "exists")
		if after := len(r.Entries()); after != before {
			t.Errorf("a refused %s changed the ring from %d to %d keys", what, before, after)
		}
	}
	check(t, "the zero authority", r.GenerateAuthority(authority.Name{}, epoch), fault.Invalid, "malformed-name")
}

func TestNotFound(t *testing.T) {
	r, _, _ := newRing(t)
	must0(t, r.GenerateNode(epoch))
	_, err := r.Public(HubLog)
	check(t, "an empty slot", err, fault.NotFound, "no-key")
	_, err = r.Public(LedgerSecret)
	check(t, "the public side of a secret", err, fault.NotFound, "no-key")
	_, err = r.Secret(NodeSign)
	check(t, "a signing key as a secret", err, fault.NotFound, "no-key")
}

func TestSecretIsACopy(t *testing.T) {
	r, _, _ := newRing(t)
	must0(t, r.GenerateNode(epoch))
	a := must1[[]byte](t)(r.Secret(LedgerSecret))
	clear(a)
	if b := must1[[]byte](t)(r.Secret(LedgerSecret)); bytes.Equal(a, b) {
		t.Error("clearing the copy cleared the ring's own")
	}
}

// Recovery never depends on us: age's own reader, JSON and an authority's identity are enough. DESIGN 7.
func TestPlainAgeRecoversAnAuthority(t *testing.T) {
	r, path, unlock := newRing(t)
	name := mustName(t, "mx/fgr")
	must0(t, r.GenerateAuthority(name, epoch))
	sealed := sealTo(t, []byte("evidence"), must1[authority.PublicKey](t)(r.Public(AuthoritySeal(name))))

	ids := must1[[]age.Identity](t)(age.ParseIdentities(must1[*os.File](t)(os.Open(unlock.Path()))))
	file := must1[io.Reader](t)(age.Decrypt(must1[*os.File](t)(os.Open(path)), ids...))
	var doc struct {
		Keys []struct{ Slot, Private string }
	}
	must0(t, json.NewDecoder(file).Decode(&doc))
	for _, k := range doc.Keys {
		if k.Slot == "authority-seal/mx/fgr" {
			id := must1[*age.HybridIdentity](t)(age.ParseHybridIdentity(k.Private))
			plain := must1[[]byte](t)(io.ReadAll(must1[io.Reader](t)(age.Decrypt(bytes.NewReader(sealed), id))))
			if string(plain) != "evidence" {
				t.Errorf("got %q", plain)
			}
			return
		}
	}
	t.Error("the authority's identity was not found")
}

func TestReadersGoOnWhileKeysRotate(t *testing.T) {
	r, _, _ := newRing(t)
	name := mustName(t, "mx/fgr")
	must0(t, r.GenerateAuthority(name, epoch))
	public := must1[authority.PublicKey](t)(r.Public(AuthoritySign(name)))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.Sign(context.Background(), public.Fingerprint(), authority.ForHeader, []byte("x")); err != nil {
					t.Error(err)
					return
				}
				r.Entries()
			}
		})
	}
	for range 5 {
		must0(t, r.Rotate(epoch, AuthoritySign(name)))
	}
	close(stop)
	readers.Wait()
	if got := len(r.Entries()); got != 7 {
		t.Errorf("got %d keys, want 2 and 5 rotations", got)
	}
}

func TestNothingPrivateIsPrinted(t *testing.T) {
	r, path, unlock := newRing(t)
	must0(t, r.GenerateNode(epoch))
	p := quick("correct horse battery")
	k := must1[*OfflineKey](t)(CreateOffline(filepath.Join(filepath.Dir(path), "steward"), "one", p))
	for _, v := range []any{r, p, unlock, k, k.Source(time.Now), *k} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if got := fmt.Sprintf(verb, v); got != "[private]" {
				t.Errorf("%s of %T prints %.60q", verb, v, got)
			}
		}
	}
}

// TestPrefer: another program rotates keys in the file; the ring that is open finds them, and takes one into use when it
// is declared, no sooner.
func TestPrefer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	unlock := UnlockWith(NewPassphrase("only for this test").WithWorkFactor(10))
	now := time.Unix(1_800_000_000, 0)
	running, err := Create(path, unlock)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(running.GenerateNode(now), running.GenerateCA("mx", now)); err != nil {
		t.Fatal(err)
	}
	old, _ := running.Public(NodeSign)
	declared := map[authority.PublicKey]bool{old: true}
	running.Prefer(func(_ Slot, public authority.PublicKey, _ []byte) bool { return declared[public] })
	other, err := Open(path, unlock)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Rotate(now, NodeSign), other.RotateCA(now)); err != nil {
		t.Fatal(err)
	}
	fresh, _ := other.Public(NodeSign)
	if got, _ := running.Public(NodeSign); got != old {
		t.Error("a key is in use that nobody knows")
	}
	if _, err := running.Sign(t.Context(), fresh.Fingerprint(), authority.ForHello, []byte("x")); err != nil {
		t.Errorf("the new key is not found: %v", err)
	}
	declared[fresh] = true
	if got, _ := running.Public(NodeSign); got != fresh {
		t.Error("a declared key is not in use")
	}
	if n := len(running.CACertificates()); n != 2 {
		t.Errorf("%d certificates", n)
	}
	// A file that lacks a key in use is not taken.
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := running.Public(NodeSign); err != nil || got != fresh {
		t.Errorf("a damaged file took a key away: %v", err)
	}
}
