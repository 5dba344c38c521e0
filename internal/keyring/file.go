package keyring

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/fault"
)

// maxFile bounds a key file: some ten thousand keys.
const maxFile = 8 << 20

// encrypt seals a key file's plaintext.
func encrypt(plain []byte, l lock) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, l.recipient)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "lock key file", "the key file could not be encrypted")
	}
	return out.Bytes(), nil
}

// decrypt opens a key file; a wrong secret and a damaged file are told apart as far as age can.
func decrypt(sealed []byte, l lock) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), l.identity)
	var noMatch *age.NoIdentityMatchError
	if errors.As(err, &noMatch) {
		return nil, fault.New(fault.Unauthenticated, "wrong-unlock", opUnlock, "the key file does not open with this passphrase or unlock file").
			WithHint("use the one it was made with; if it is the right one, the key file is damaged: restore it from a backup")
	}
	var plain []byte
	if err == nil {
		plain, err = io.ReadAll(r)
	}
	if err != nil {
		return nil, damaged(err, "the key file is cut short or damaged")
	}
	return plain, nil
}

func damaged(cause error, say string) error {
	return fault.Wrap(cause, fault.Invalid, "damaged-key-file", "read key file", say).
		WithHint("restore it from a backup")
}

// readOwn reads a file that none but its owner may read.
func readOwn(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(err, "read key file")
	}
	if exposed(info) {
		return nil, fault.New(fault.Usage, "exposed-file", "read key file", "others than its owner may read or change the file").
			WithHint("set its mode to 0600, and think who may have read it")
	}
	return readBounded(path, limit)
}

func readBounded(path string, limit int64) ([]byte, error) {
	const op = "read key file"
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(err, op)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Usage, "not-a-file", op, "the path does not name a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err, op)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileError(err, op)
	}
	if int64(len(b)) > limit {
		return nil, fault.New(fault.TooLarge, "too-large", op, "the file is larger than any such file")
	}
	return b, nil
}

// writeNew makes a file that must not exist yet, durable on return. If the machine stops before it returns, a cut
// file may remain under the name; no key of it was ever handed out, so it may be deleted.
func writeNew(path string, b []byte, mode os.FileMode) error {
	const op = "make key file"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fileError(err, op)
	}
	if err := writeSynced(f, b); err != nil {
		_ = os.Remove(path)
		return fileError(err, op)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fileError(err, op)
	}
	return nil
}

// replace puts new content in the place of a file. A crash leaves the old content or the new, never a mixture.
func replace(path string, b []byte) error {
	const op = "write key file"
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fileError(err, op)
	}
	defer os.Remove(f.Name()) // fails, as it should, once renamed
	if err := writeSynced(f, b); err != nil {
		return fileError(err, op)
	}
	// If the machine stops here: the old file stands, and a locked temporary beside it.
	if err := os.Rename(f.Name(), path); err != nil {
		return fileError(err, op)
	}
	// If the machine stops here: old or new, as the file system likes; the caller was told nothing yet.
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fileError(err, op)
	}
	return nil
}

func writeSynced(f *os.File, b []byte) error {
	_, err := f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func fileError(err error, op string) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return fault.Wrap(err, fault.Conflict, "exists", op, "there is a file of that name already").
			WithHint("keys are never overwritten: choose another name, or move the old file away")
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(err, fault.NotFound, "", op, "there is no such file or folder")
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(err, fault.Denied, "", op, "this user may not do that to the file")
	}
	return fault.Wrap(err, fault.Internal, "", op, "the file could not be read or written")
}
