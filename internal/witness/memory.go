package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	magic      = "enlace witness 1\n"
	begun      = "enlace witness 1 has a memory\n"
	lockSuffix = ".lock"
	maxMemory  = 4096

	opMemory = "keep witness memory"
)

// memory is the file of the newest checkpoint: a line of magic, the witness's name, the checkpoint's three lines (none
// as long as nothing was cosigned), and SHA-256 of all that in hexadecimal.
type memory struct{ path, name string }

// take makes the lock file and locks it.
func take(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-witness", opMemory, "the memory of the witness cannot be opened").
			WithHint("look at the owner and the permissions of the data folder")
	}
	if err := lockFile(file); err != nil {
		_ = file.Close()
		return nil, fault.Wrap(err, fault.Conflict, "data-in-use", opMemory, "another program is using this data").
			WithHint("stop it first, or name another data folder")
	}
	return file, nil
}

// open reads the memory, or begins it where the lock does not say that it has been begun.
func (m memory) open(lock *os.File) (merkle.Checkpoint, bool, error) {
	mark, err := io.ReadAll(io.LimitReader(lock, maxMemory))
	if err != nil {
		return merkle.Checkpoint{}, false, broke(err)
	}
	text, err := os.ReadFile(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(mark) == 0:
		return merkle.Checkpoint{}, false, m.begin(lock)
	case errors.Is(err, fs.ErrNotExist):
		return merkle.Checkpoint{}, false, unusable("lost-witness", "the memory of the witness is gone")
	case err != nil:
		return merkle.Checkpoint{}, false, broke(err)
	}
	last, any, err := m.parse(string(text))
	if err != nil {
		return merkle.Checkpoint{}, false, err
	}
	return last, any, m.mark(lock, string(mark))
}

// begin writes a memory of nothing.
func (m memory) begin(lock *os.File) error {
	if err := m.store(nil); err != nil {
		return err
	}
	// If the machine stops here there is a memory of nothing, and the next start marks it.
	return m.mark(lock, "")
}

// mark makes the lock say that there is a memory, so that its absence is a loss.
func (m memory) mark(lock *os.File, mark string) error {
	if mark == begun {
		return nil
	}
	_, err := lock.WriteAt([]byte(begun), 0)
	if err := errors.Join(err, lock.Sync()); err != nil {
		return broke(err)
	}
	return syncFolder(filepath.Dir(m.path))
}

func (m memory) text(cp *merkle.Checkpoint) string {
	text := magic + m.name + "\n"
	if cp != nil {
		text += cp.Text()
	}
	return text + checksum(text) + "\n"
}

func checksum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// parse reads what text writes, and nothing else.
func (m memory) parse(text string) (merkle.Checkpoint, bool, error) {
	rest, ok := strings.CutPrefix(text, magic)
	name, rest, named := strings.Cut(rest, "\n")
	at := max(0, len(rest)-2*sha256.Size-1)
	if !ok || !named || len(text) > maxMemory || rest[at:] != checksum(text[:len(text)-len(rest)+at])+"\n" {
		return merkle.Checkpoint{}, false, unusable("damaged-witness", "the memory of the witness is damaged")
	}
	if name != m.name {
		return merkle.Checkpoint{}, false, fault.New(fault.Usage, "other-witness", opMemory, "the memory is of another witness").
			WithHint("each node keeps its own memory: look at the data folder")
	}
	if rest[:at] == "" {
		return merkle.Checkpoint{}, false, nil
	}
	cp, err := merkle.ParseCheckpoint(rest[:at])
	if err != nil {
		return merkle.Checkpoint{}, false, unusable("damaged-witness", "the memory of the witness is damaged")
	}
	return cp, true, nil
}

// store replaces the file; durable on return, the folder's entry included. Errors: Retry "disk-full", and then the old
// memory stands; Internal "disk" where nobody knows which one does.
func (m memory) store(cp *merkle.Checkpoint) error {
	temporary := m.path + ".new"
	if err := write(temporary, m.text(cp)); err != nil {
		_ = os.Remove(temporary)
		if errors.Is(err, syscall.ENOSPC) {
			return fault.Wrap(err, fault.Retry, "disk-full", opMemory, "the disk is full").WithHint("free some space, then try again")
		}
		return broke(err)
	}
	// If the machine stops here the old memory stands and nothing new is signed.
	if err := os.Rename(temporary, m.path); err != nil {
		return broke(err)
	}
	return syncFolder(filepath.Dir(m.path))
}

func write(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return broke(err)
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Sync(); err != nil {
		return broke(err)
	}
	return nil
}

func broke(cause error) error {
	return fault.Wrap(cause, fault.Internal, "disk", opMemory, "the disk did not keep the memory of the witness").
		WithHint("look at the disk, then start the program again")
}

func unusable(code, say string) error {
	return fault.New(fault.Internal, code, opMemory, say+": it might sign a second history, so it signs nothing").
		WithHint("revoke this node's witness key and give it a new one; only then move the witness files out of the data folder")
}
