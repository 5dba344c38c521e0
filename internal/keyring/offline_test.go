package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

func TestOfflineKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "steward")
	p := quick("correct horse battery")
	made := must1[*OfflineKey](t)(CreateOffline(path, "Secretariat, safe 2", p))
	opened := must1[*OfflineKey](t)(OpenOffline(path, p))
	if opened.Public() != made.Public() || opened.Comment() != "Secretariat, safe 2" {
		t.Errorf("got %v %q", opened.Public().Fingerprint(), opened.Comment())
	}
	text := must1[[]byte](t)(os.ReadFile(path + ".pub"))
	public, comment, err := ParsePublicText(string(text))
	if err != nil || public != made.Public() || comment != made.Comment() {
		t.Errorf("the public file reads %v %q, %v", public.Fingerprint(), comment, err)
	}
	purpose := authority.ForStatement + "steward"
	sig := must1[[]byte](t)(opened.Sign(purpose, []byte("statement")))
	must0(t, public.Verify(purpose, []byte("statement"), sig))
	check(t, "another role", public.Verify(authority.ForStatement+"state", []byte("statement"), sig), fault.Invalid, "bad-signature")
	if got := must1[os.FileInfo](t)(os.Stat(path)).Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
}

func TestOfflineKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "steward")
	p := quick("correct horse battery")
	must1[*OfflineKey](t)(CreateOffline(path, "", p))
	_, err := CreateOffline(path, "", p)
	check(t, "an existing name", err, fault.Conflict, "exists")
	_, err = CreateOffline(path+"2", "", quick("short"))
	check(t, "a short passphrase", err, fault.Usage, "weak-passphrase")
	for _, comment := range []string{"two\nlines", " space", "tab\t", "\xff", strings.Repeat("x", MaxComment+1)} {
		_, err = CreateOffline(path+"2", comment, p)
		check(t, "a malformed comment", err, fault.Invalid, "malformed-key")
	}
	_, err = OpenOffline(path, quick("another passphrase"))
	check(t, "another passphrase", err, fault.Unauthenticated, "wrong-unlock")
	_, err = OpenOffline(path+".pub", p)
	check(t, "the public file", err, fault.Invalid, "damaged-key-file")
	must1[*Ring](t)(Create(path+".ring", UnlockWith(p)))
	_, err = OpenOffline(path+".ring", p)
	check(t, "a ring", err, fault.Invalid, "damaged-key-file")

	good := must1[[]byte](t)(os.ReadFile(path))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		must0(t, os.WriteFile(path, bad, 0o600))
		if _, err := OpenOffline(path, p); err == nil {
			t.Errorf("byte %d of %d changed was accepted", i, len(good))
		}
	}
	must0(t, os.WriteFile(path, good[:len(good)-1], 0o600))
	_, err = OpenOffline(path, p)
	check(t, "a torn file", err, fault.Invalid, "damaged-key-file")
}

const line = "enlace-key ed25519 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func TestParsePublicText(t *testing.T) {
	for _, text := range []string{line, line + "\n", line + "\r\n", line + " of the Fiscalía\n"} {
		public, _, err := ParsePublicText(text)
		if err != nil || public.Bytes()[31] != 31 {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "\n", line + " ", line + "  x", line + "\n\n", line + "\nx", "x" + line, strings.ToUpper(line), line[:len(line)-1],
		strings.Replace(line, "ed25519", "rsa", 1), strings.Replace(line, "h8=", "h9=", 1), strings.Replace(line, "AAEC", "AA\nEC", 1),
		strings.Replace(line, "enlace-key", "enlace-private-key", 1), "enlace-key ed25519 AAEC", line + " " + strings.Repeat("x", 200), line + " a\x00b",
	} {
		if _, _, err := ParsePublicText(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want invalid", text, err)
		}
	}
}

func FuzzParsePublicText(f *testing.F) {
	for _, s := range []string{line, line + " comment\n", line + "\r\n", "enlace-key ed25519  x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		public, comment, err := ParsePublicText(text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || !public.IsZero() {
				t.Errorf("%q: got %v with a key: %v", text, err, !public.IsZero())
			}
			return
		}
		again := keyLine(publicWord, public.Bytes(), comment)
		if strings.TrimRight(text, "\r\n") != strings.TrimRight(again, "\n") {
			t.Errorf("%q is written again as %q", text, again)
		}
	})
}
