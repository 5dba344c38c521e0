package node

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// recoveryOf makes a recovery key and has a node's backups sealed to it.
func recoveryOf(t *testing.T, cfg Config) *keyring.RecoveryKey {
	t.Helper()
	key := get(keyring.CreateRecovery(filepath.Join(t.TempDir(), "recovery"), get(passphrase())(t)))(t)
	ok(t, SetRecovery(cfg, get(OpenKeys(cfg, passphrase))(t), key.Recipient()))
	return key
}

func worldOptions() Options {
	return Options{Prompt: passphrase, Clock: time.Now, Random: rand.Reader, Log: zap.NewNop()}
}

// TestBackupAndRestore: what a node has comes out of its backup on another machine, under another lock, and begins a new
// incarnation; a backup that was cut short or changed anywhere leaves nothing. PROTOCOL 9.7.
func TestBackupAndRestore(t *testing.T) {
	h := startHub(t)
	o := h.application(t)
	r := get(Init(t.Context(), o))(t)
	cfg := get(LoadConfig(r.Config))(t)
	if _, err := Backup(t.Context(), cfg, worldOptions(), BackupOptions{}, io.Discard); fault.CodeOf(err) != "no-recovery-key" {
		t.Errorf("without a recovery key: %v", err)
	}
	key := recoveryOf(t, cfg)
	ok(t, os.MkdirAll(filepath.Join(cfg.Data, "directory", "cards"), 0o700))
	ok(t, os.WriteFile(filepath.Join(cfg.Data, "directory", "cards", "one"), []byte("card"), 0o600))
	var backup bytes.Buffer
	made := get(Backup(t.Context(), cfg, worldOptions(), BackupOptions{}, &backup))(t)
	if made.Files < 6 || bytes.Contains(backup.Bytes(), []byte("AGE-SECRET")) {
		t.Errorf("the backup is %+v", made)
	}
	if left, err := filepath.Glob(filepath.Join(cfg.Data, "ledger", "backup*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}

	whole := backup.Bytes()
	for name, bad := range map[string][]byte{
		"empty": nil, "a byte short": whole[:len(whole)-1], "a chunk short": whole[:len(whole)-65<<10], "half": whole[:len(whole)/2],
		"changed": append(append(bytes.Clone(whole[:len(whole)/2]), whole[len(whole)/2]^1), whole[len(whole)/2+1:]...),
	} {
		dir := filepath.Join(t.TempDir(), "node")
		if _, err := Restore(t.Context(), restoreOf(bad, key, dir)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %d files are left", name, len(left))
		}
		if _, _, err := CheckBackup(key, bytes.NewReader(bad)); err == nil {
			t.Errorf("%s: it passes for whole", name)
		}
	}

	dir := filepath.Join(t.TempDir(), "node")
	restored := get(Restore(t.Context(), restoreOf(whole, key, dir)))(t)
	if restored.Head.Node != cfg.Node || restored.Head.Time != made.Time.UnixMilli() {
		t.Errorf("restored %+v", restored)
	}
	if _, err := Restore(t.Context(), restoreOf(whole, key, dir)); fault.CodeOf(err) != "not-empty" {
		t.Errorf("restored over a node: %v", err)
	}
	again := get(LoadConfig(restored.Config))(t)
	if again.Network.Fingerprint != cfg.Network.Fingerprint || again.Peer.Listen != cfg.Peer.Listen || again.Data != filepath.Join(dir, "data") {
		t.Errorf("the configuration is %+v", again)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "data", "directory", "cards", "one")); err != nil || string(b) != "card" {
		t.Errorf("the directory came back as %q, %v", b, err)
	}
	d := openedNode(t, again)
	defer d.close()
	if i := d.ledger.Identity().Incarnation; i.Counter != 2 {
		t.Errorf("the incarnation is %v", i)
	}
	found := get(d.ledger.VerifyEvidence(t.Context()))(t)
	if len(found.Earlier) != 1 || found.Earlier[0].Events == 0 {
		t.Errorf("the evidence is %+v", found)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", restoredFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mark is still there: %v", err)
	}
}

func restoreOf(backup []byte, key *keyring.RecoveryKey, dir string) RestoreOptions {
	return RestoreOptions{Source: bytes.NewReader(backup), Key: key, Dir: dir, Unlock: InitUnlock{Prompt: passphrase}, Clock: time.Now, Random: rand.Reader}
}

// openedNode opens keys and ledger of a node.
func openedNode(t *testing.T, cfg Config) *daemon {
	t.Helper()
	d := &daemon{Options: worldOptions(), cfg: cfg, parsed: get(cfg.parse())(t)}
	ok(t, d.openKeys(t.Context()))
	ok(t, d.openLedger(t.Context()))
	return d
}

// TestBackupRecipient: who can write to the data disk cannot have the next backup sealed to themselves.
func TestBackupRecipient(t *testing.T) {
	h := startHub(t)
	r := get(Init(t.Context(), h.application(t)))(t)
	cfg := get(LoadConfig(r.Config))(t)
	recoveryOf(t, cfg)
	path := filepath.Join(cfg.Data, recipientFile)
	own := string(get(os.ReadFile(path))(t))
	thief := get(keyring.CreateRecovery(filepath.Join(t.TempDir(), "thief"), get(passphrase())(t)))(t)
	i := strings.Index(own, "age1pq1")
	end := i + strings.Index(own[i:], `"`)
	ok(t, os.WriteFile(path, []byte(own[:i]+thief.Recipient()+own[end:]), 0o600))
	if _, err := Backup(t.Context(), cfg, worldOptions(), BackupOptions{}, io.Discard); fault.CodeOf(err) != "forged-recovery-key" {
		t.Errorf("sealed to a thief: %v", err)
	}
}

// TestBackupAttachments: of what somebody else has whole, a needed backup takes only what is small.
func TestBackupAttachments(t *testing.T) {
	h := startHub(t)
	r := get(Init(t.Context(), h.application(t)))(t)
	cfg := get(LoadConfig(r.Config))(t)
	key := recoveryOf(t, cfg)
	ok(t, os.MkdirAll(cfg.Attachments.Dir, 0o700))
	d := openedNode(t, cfg)
	name := get(authority.ParseName("jm/jcf"))(t)
	ok(t, d.ledger.Update(t.Context(), func(tx ledger.Tx) error {
		for _, a := range []ledger.Attachment{
			{Direction: ledger.In, State: ledger.AttachmentComplete, SealedSize: smallAttachment + 1, File: "big.age"},
			{Direction: ledger.In, State: ledger.AttachmentComplete, SealedSize: smallAttachment, File: "small.age"},
			{Direction: ledger.In, State: ledger.AttachmentReceiving, SealedSize: 1, File: "coming.age"},
			{Direction: ledger.Out, State: ledger.AttachmentSpooled, SealedSize: smallAttachment + 1, File: "unsent.age"},
		} {
			a.Owner, a.Index = ledger.OwnedBy(messageKey(t, name)), 0
			if err := tx.PutAttachment(a); err != nil {
				return err
			}
			ok(t, os.WriteFile(filepath.Join(cfg.Attachments.Dir, a.File), make([]byte, a.SealedSize), 0o600))
		}
		return nil
	}))
	ok(t, d.close())
	for which, want := range map[string]string{"all": "big.age small.age unsent.age", "needed": "small.age unsent.age"} {
		var backup bytes.Buffer
		get(Backup(t.Context(), cfg, worldOptions(), BackupOptions{Attachments: which}, &backup))(t)
		if got := attachmentsIn(t, key, &backup); got != want {
			t.Errorf("%s: the backup has %q, want %q", which, got, want)
		}
	}
}

// attachmentsIn lists the attachments of a backup by age and tar alone, as a person without this program would.
func attachmentsIn(t *testing.T, key *keyring.RecoveryKey, backup io.Reader) string {
	t.Helper()
	var names []string
	for files := tar.NewReader(get(key.Open(backup))(t)); ; {
		f, err := files.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(names, " ")
		}
		ok(t, err)
		if name, is := strings.CutPrefix(f.Name, archivedAttachments); is {
			names = append(names, name)
		}
	}
}

func messageKey(t *testing.T, sender authority.Name) message.Key {
	t.Helper()
	return message.Key{Sender: sender, ID: get(message.NewID(time.Now(), rand.Reader))(t)}
}

// TestUnpackRefuses: a backup may be made by anyone who has the recipient, so nothing in it leads out of the folder.
func TestUnpackRefuses(t *testing.T) {
	for _, name := range []string{"../evil", "/etc/passwd", "data/../../evil", "data/ledger/ledger.db-wal", "restored.json"} {
		var plain bytes.Buffer
		a := &archive{tar: tar.NewWriter(&plain)}
		get(a.addJSON(headName, BackupHead{Version: backupVersion}))(t)
		ok(t, a.add(name, 1, strings.NewReader("x")))
		get(a.end())(t)
		dir := t.TempDir()
		r := &restoring{RestoreOptions: RestoreOptions{Dir: filepath.Join(dir, "node")}, ctx: context.Background(), small: map[string][]byte{}, folders: map[string]bool{}}
		if _, err := unpack(&plain, func(BackupHead) error { return nil }, r.take); fault.CodeOf(err) != "damaged-backup" {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: something was written", name)
		}
	}
}
