package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
)

func TestCreateNeverReplaces(t *testing.T) {
	_, path, unlock := newRing(t)
	before := must1[[]byte](t)(os.ReadFile(path))
	_, err := Create(path, unlock)
	check(t, "a second ring under the name", err, fault.Conflict, "exists")
	_, err = NewUnlockFile(unlock.Path())
	check(t, "a second unlock file under the name", err, fault.Conflict, "exists")
	if after := must1[[]byte](t)(os.ReadFile(path)); !bytes.Equal(before, after) {
		t.Error("the refused call changed the file")
	}
	_, err = Create(filepath.Join(path+".d", "ring.age"), unlock)
	check(t, "a folder that does not exist", err, fault.NotFound, "")
}

func TestPermissionBits(t *testing.T) {
	r, path, unlock := newRing(t)
	must0(t, r.GenerateNode(epoch))
	for _, p := range []string{path, unlock.Path()} {
		if got := must1[os.FileInfo](t)(os.Stat(p)).Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(p), got)
		}
	}
	for _, p := range []string{path, unlock.Path()} {
		for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666} {
			must0(t, os.Chmod(p, mode))
			_, err := Open(path, unlock)
			check(t, filepath.Base(p)+" with mode "+mode.String(), err, fault.Usage, "exposed-file")
		}
		must0(t, os.Chmod(p, 0o400))
		if _, err := Open(path, unlock); err != nil {
			t.Errorf("mode 0400: %v", err)
		}
		must0(t, os.Chmod(p, 0o600))
	}
}

func TestWrongUnlock(t *testing.T) {
	_, path, unlock := newRing(t)
	other := must1[Unlock](t)(NewUnlockFile(unlock.Path() + ".other"))
	_, err := Open(path, other)
	check(t, "another unlock file", err, fault.Unauthenticated, "wrong-unlock")
	_, err = Open(path, UnlockWith(quick("a passphrase instead")))
	check(t, "a passphrase", err, fault.Unauthenticated, "wrong-unlock")
	_, err = Open(path, Unlock{})
	check(t, "nothing", err, fault.Usage, "no-unlock")

	locked := path + ".passphrase"
	must1[*Ring](t)(Create(locked, UnlockWith(quick("correct horse battery"))))
	must1[*Ring](t)(Open(locked, UnlockWith(NewPassphrase("correct horse battery"))))
	_, err = Open(locked, UnlockWith(NewPassphrase("correct horse batterz")))
	check(t, "another passphrase", err, fault.Unauthenticated, "wrong-unlock")
	_, err = Open(locked, unlock)
	check(t, "an unlock file", err, fault.Unauthenticated, "wrong-unlock")
}

func TestWeakPassphrasesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring.age")
	_, err := Create(path, UnlockWith(quick("elevenchars")))
	check(t, "11 characters", err, fault.Usage, "weak-passphrase")
	_, err = Create(path, UnlockWith(quick("")))
	check(t, "no characters", err, fault.Usage, "no-unlock")
	for _, factor := range []int{9, 23, -1} {
		_, err = Create(path, UnlockWith(NewPassphrase("correct horse battery").WithWorkFactor(factor)))
		check(t, "a work factor out of bounds", err, fault.Usage, "work-factor")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a refused file exists: %v", err)
	}
}

func TestEveryChangedByteIsRefused(t *testing.T) {
	r, path, unlock := newRing(t)
	must0(t, r.GenerateHub(epoch))
	good := must1[[]byte](t)(os.ReadFile(path))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		must0(t, os.WriteFile(path, bad, 0o600))
		if _, err := Open(path, unlock); !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("byte %d of %d changed: %v", i, len(good), err)
		}
	}
	must0(t, os.WriteFile(path, good, 0o600))
	must1[*Ring](t)(Open(path, unlock))
}

func TestTornFileIsRefused(t *testing.T) {
	r, path, unlock := newRing(t)
	must0(t, r.GenerateHub(epoch))
	good := must1[[]byte](t)(os.ReadFile(path))
	for size := 0; size < len(good); size += 13 {
		must0(t, os.WriteFile(path, good[:size], 0o600))
		_, err := Open(path, unlock)
		check(t, "a torn file", err, fault.Invalid, "damaged-key-file")
	}
	must0(t, os.WriteFile(path, append(bytes.Clone(good), 0), 0o600))
	_, err := Open(path, unlock)
	check(t, "a longer file", err, fault.Invalid, "damaged-key-file")
	must0(t, os.WriteFile(path, make([]byte, maxFile+1), 0o600))
	_, err = Open(path, unlock)
	check(t, "a huge file", err, fault.TooLarge, "too-large")
	_, err = Open(filepath.Dir(path), unlock)
	if err == nil {
		t.Error("a folder was opened as a ring")
	}
	_, err = Open(path+".none", unlock)
	check(t, "no file", err, fault.NotFound, "")
}

func TestAnotherWritersChangeIsNotLost(t *testing.T) {
	r, path, unlock := newRing(t)
	other := must1[*Ring](t)(Open(path, unlock))
	must0(t, other.GenerateHub(epoch))
	check(t, "overwriting another's keys", r.GenerateNode(epoch), fault.Conflict, "changed-key-file")
	if got := len(must1[*Ring](t)(Open(path, unlock)).Entries()); got != 4 {
		t.Errorf("got %d keys, want the other writer's 4", got)
	}
}

// A name so long that the temporary neighbour cannot be made stands for every write that fails.
func TestFailedWriteChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("r", 250))
	unlock := UnlockWith(quick("correct horse battery"))
	r := must1[*Ring](t)(Create(path, unlock))
	if err := r.GenerateNode(epoch); err == nil {
		t.Fatal("the write did not fail")
	}
	if got := len(r.Entries()); got != 0 {
		t.Errorf("the ring has %d keys that no disk has", got)
	}
	if got := len(must1[*Ring](t)(Open(path, unlock)).Entries()); got != 0 {
		t.Errorf("the file has %d keys, want 0", got)
	}
	if left := must1[[]os.DirEntry](t)(os.ReadDir(dir)); len(left) != 1 {
		t.Errorf("got %d files in the folder, want 1", len(left))
	}
}

func TestWritesLeaveNoTemporaryFile(t *testing.T) {
	r, path, _ := newRing(t)
	must0(t, r.GenerateNode(epoch))
	if left := must1[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(path))); len(left) != 2 { // ring and unlock file
		t.Errorf("got %d files, want 2", len(left))
	}
}

func FuzzKeyFile(f *testing.F) {
	r, _, _ := newRing(f)
	name := mustName(f, "mx/fgr")
	must0(f, r.GenerateNode(epoch))
	must0(f, r.GenerateAuthority(name, epoch))
	must0(f, r.GenerateCA("mx", epoch))
	f.Add(must1[[]byte](f)(r.content.Load().marshal()))
	f.Add([]byte(`{"version":1,"keys":[]}`))
	f.Add([]byte(`{"version":2,"keys":null}`))
	f.Add([]byte(`{"version":1,"keys":[{"slot":"ca","algorithm":"ecdsa-p256","created":1,"private":"AA==","certificate":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseContent(b)
		if err != nil {
			return
		}
		once := must1[[]byte](t)(c.marshal())
		twice := must1[[]byte](t)(must1[*content](t)(parseContent(once)).marshal())
		if !bytes.Equal(once, twice) {
			t.Errorf("written again it is %q, was %q", twice, once)
		}
	})
}

func TestBadContentIsRefused(t *testing.T) {
	r, _, _ := newRing(t)
	must0(t, r.GenerateNode(epoch))
	must0(t, r.GenerateCA("mx", epoch))
	good := string(must1[[]byte](t)(r.content.Load().marshal()))
	must1[*content](t)(parseContent([]byte(good)))
	for what, bad := range map[string]string{
		"another version":    strings.Replace(good, `"version":1`, `"version":2`, 1),
		"an unknown field":   strings.Replace(good, `"version"`, `"extra":1,"version"`, 1),
		"an unknown slot":    strings.Replace(good, `"node-sign"`, `"node-sing"`, 1),
		"a swapped slot":     strings.Replace(good, `"node-seal"`, `"node-sign"`, 1),
		"an empty algorithm": strings.Replace(good, `"ed25519"`, `""`, 1),
		"no key":             strings.Replace(good, `"private":"`, `"private":"","certificate":null,"private":"x`, 1),
		"an operator's key":  strings.Replace(good, `"node-bus"`, `"hub-bus-operator"`, 1),
		"a stray certificate": strings.Replace(good, `"slot":"node-sign"`,
			`"certificate":"AA==","slot":"node-sign"`, 1),
		"a broken certificate": strings.Replace(good, `"certificate":"`, `"certificate":"AAAA`, 1),
		"trailing bytes":       good + "{}",
		"cut":                  good[:len(good)-1],
	} {
		if bad == good {
			t.Fatalf("%s: the change did not change anything", what)
		}
		if _, err := parseContent([]byte(bad)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want invalid", what, err)
		} else if strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("%s: the error quotes a key", what)
		}
	}
}
