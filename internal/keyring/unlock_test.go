package keyring

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/fault"
)

func TestParseUnlock(t *testing.T) {
	dir := t.TempDir()
	file := must1[Unlock](t)(NewUnlockFile(filepath.Join(dir, "unlock")))
	credentials := filepath.Join(dir, "credentials")
	must0(t, os.Mkdir(credentials, 0o700))
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	identity := must1[[]byte](t)(os.ReadFile(file.Path()))
	// Group bits, as the service manager shows its access list.
	must0(t, os.WriteFile(filepath.Join(credentials, "identity"), identity, 0o440))
	must0(t, os.WriteFile(filepath.Join(credentials, "words"), []byte("correct horse battery\n"), 0o440))
	prompt := func() (Passphrase, error) { return quick("correct horse battery"), nil }

	byIdentity, byWords := filepath.Join(dir, "a.age"), filepath.Join(dir, "b.age")
	must1[*Ring](t)(Create(byIdentity, file))
	must1[*Ring](t)(Create(byWords, UnlockBy(prompt)))
	for value, path := range map[string]string{
		"file:" + file.Path(): byIdentity,
		"systemd:identity":    byIdentity,
		"systemd:words":       byWords,
		"prompt":              byWords,
	} {
		unlock, err := ParseUnlock(value, prompt)
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		if _, err := Open(path, unlock); err != nil {
			t.Errorf("%s does not open: %v", value, err)
		}
	}
}

func TestParseUnlockRefuses(t *testing.T) {
	prompt := func() (Passphrase, error) { return quick("correct horse battery"), nil }
	for _, value := range []string{"", "file", "file:", "systemd:", "systemd:../x", "systemd:a/b", "systemd:..", "systemd:.", "prompt:x", "vault:x", "FILE:x"} {
		_, err := ParseUnlock(value, prompt)
		check(t, value, err, fault.Usage, "malformed-unlock")
	}
	_, err := ParseUnlock("prompt", nil)
	check(t, "prompt with nobody there", err, fault.Usage, "no-unlock")
}

func TestUnlockThatFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ring.age")
	gone := errors.New("no terminal")
	_, err := Create(path, UnlockBy(func() (Passphrase, error) { return Passphrase{}, gone }))
	check(t, "a prompt that fails", err, fault.Usage, "no-unlock")
	if !errors.Is(err, gone) {
		t.Errorf("got %v, want its cause kept", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err = Create(path, must1[Unlock](t)(ParseUnlock("systemd:x", nil)))
	check(t, "no credentials", err, fault.Usage, "no-unlock")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	_, err = Create(path, must1[Unlock](t)(ParseUnlock("systemd:x", nil)))
	check(t, "a credential that is not there", err, fault.NotFound, "")

	classic := must1[*age.X25519Identity](t)(age.GenerateX25519Identity()).String()
	hybrid := must1[*age.HybridIdentity](t)(age.GenerateHybridIdentity()).String()
	for what, text := range map[string]string{
		"no identity": "", "another kind": classic, "two": hybrid + "\n" + hybrid, "garbled": hybrid[:40], "words": "correct horse battery",
	} {
		file := filepath.Join(dir, "unlock")
		must0(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := Create(path, UnlockFile(file))
		check(t, what, err, fault.Invalid, "malformed-unlock")
		if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error quotes the file", what)
		}
	}
}

func TestCheckApart(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	must0(t, os.MkdirAll(filepath.Join(data, "sub"), 0o700))
	outside := filepath.Join(dir, "unlock")
	must0(t, os.WriteFile(outside, nil, 0o600))
	inside := filepath.Join(data, "sub", "unlock")
	must0(t, os.WriteFile(inside, nil, 0o600))
	link := filepath.Join(dir, "link")
	must0(t, os.Symlink(inside, link))
	for what, p := range map[string]string{"inside": inside, "a link inside": link, "the same disk": outside, "to be made": filepath.Join(dir, "x", "y")} {
		err := CheckApart(p, data)
		check(t, what, err, fault.Usage, "unlock-beside-data")
		if !strings.Contains(fault.As(err).Hint, "--unlock-on-data-disk") {
			t.Errorf("%s: the hint %q does not name the flag", what, fault.As(err).Hint)
		}
	}
	check(t, "data to be made", CheckApart(outside, filepath.Join(dir, "not", "yet")), fault.Usage, "unlock-beside-data")
}

func TestCheckApartAcceptsAnotherDevice(t *testing.T) {
	data := t.TempDir()
	other, err := os.MkdirTemp("/dev/shm", "enlace-*")
	if err != nil {
		t.Skip("no second file system on this machine")
	}
	t.Cleanup(func() { os.RemoveAll(other) })
	a, b := must1[os.FileInfo](t)(os.Stat(data)), must1[os.FileInfo](t)(os.Stat(other))
	if device(a) == device(b) {
		t.Skip("no second file system on this machine")
	}
	unlock := must1[Unlock](t)(NewUnlockFile(filepath.Join(other, "unlock")))
	must0(t, CheckApart(unlock.Path(), data))
	must0(t, CheckApart(unlock.Path(), filepath.Join(data, "not", "yet")))
	// A second device mounted below the data folder is still beside the data.
	check(t, "under the data folder", CheckApart(unlock.Path(), "/"), fault.Usage, "unlock-beside-data")
}

func TestOpenConfigured(t *testing.T) {
	dir := t.TempDir()
	unlock := must1[Unlock](t)(NewUnlockFile(filepath.Join(dir, "unlock")))
	prompt := func() (Passphrase, error) { return quick("correct horse battery"), nil }
	byFile, byWords := filepath.Join(dir, "a.age"), filepath.Join(dir, "b.age")
	must1[*Ring](t)(Create(byFile, unlock))
	must1[*Ring](t)(Create(byWords, UnlockBy(prompt)))

	s := Setting{Path: byFile, Unlock: "file:" + unlock.Path(), Data: filepath.Join(dir, "data")}
	ring, _, err := OpenConfigured(s, nil)
	check(t, "an unlock file on the disk of the data", err, fault.Usage, "unlock-beside-data")
	if ring != nil {
		t.Error("it was opened nevertheless")
	}
	s.OnDataDisk = true
	if ring, beside, err := OpenConfigured(s, nil); ring == nil || !beside || err != nil {
		t.Errorf("accepted: %v, %v; want a ring, and that it lies beside", beside, err)
	}
	s = Setting{Path: byWords, Unlock: "prompt", Data: s.Data}
	if ring, beside, err := OpenConfigured(s, prompt); ring == nil || beside || err != nil {
		t.Errorf("a passphrase: %v, %v; want a ring, and nothing beside", beside, err)
	}
	_, _, err = OpenConfigured(s, nil)
	check(t, "nobody to ask", err, fault.Usage, "no-unlock")
}
