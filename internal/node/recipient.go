package node

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

const (
	recipientFile = "recovery.json"
	opRecipient   = "set recovery key"
)

// recipientNote is the file recovery.json in the data folder: to whom backups are sealed. The MAC keeps whoever can write to
// the data disk, but has not the keyring, from having the next backup sealed to themselves.
type recipientNote struct {
	Recipient string `json:"recipient"`
	// MAC is HMAC-SHA256, in hexadecimal digits, of the recipient.
	MAC string `json:"mac"`
}

// SetRecovery has the backups of a node sealed to a recovery key from now on, by its public half; durable on return. The
// daemon may run.
func SetRecovery(cfg Config, ring *keyring.Ring, recipient string) error {
	w, err := keyring.SealToRecovery(recipient, io.Discard)
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	mac, err := recipientMAC(ring, recipient)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(recipientNote{recipient, mac}, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(cfg.Data, recipientFile)
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.Internal, "", opRecipient, "the file cannot be written: "+path)
	}
	if err := writeNew(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil { // commit
		return fault.Wrap(err, fault.Internal, "", opRecipient, "the file cannot be written: "+path)
	}
	return syncFolder(cfg.Data)
}

// recipientOf reads to whom backups are sealed. Usage "no-recovery-key" where nobody said; Denied "forged-recovery-key".
func recipientOf(data string, ring *keyring.Ring) (string, error) {
	b, err := os.ReadFile(filepath.Join(data, recipientFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.Usage, "no-recovery-key", opBackup, "the node has no recovery key to seal backups to").
			WithHint("make one on another machine: enlace key recovery --out STATE.recovery-key; then here: enlace key recovery --recipient STATE.recovery-key.pub --config node.yaml")
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "", opBackup, "the recovery key cannot be read")
	}
	var n recipientNote
	if err := json.Unmarshal(b, &n); err != nil {
		return "", fault.Wrap(err, fault.Usage, "malformed-recovery-key", opBackup, "the file "+recipientFile+" is not as it was written")
	}
	want, err := recipientMAC(ring, n.Recipient)
	if err != nil {
		return "", err
	}
	if !hmac.Equal([]byte(want), []byte(n.MAC)) {
		return "", fault.New(fault.Denied, "forged-recovery-key", opBackup, "the file "+recipientFile+" was not written with this node's keys").
			WithHint("find out who writes to the data disk; then set the recovery key again")
	}
	return n.Recipient, nil
}

func recipientMAC(ring *keyring.Ring, recipient string) (string, error) {
	secret, err := ring.Secret(keyring.SaltSecret)
	if err != nil {
		return "", err
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "enlace/v1/recovery-recipient", sha256.Size)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "", opRecipient, "the key of the file cannot be derived")
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(recipient))
	return hex.EncodeToString(h.Sum(nil)), nil
}
