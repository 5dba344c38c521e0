package node

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"

	"github.com/enlace-network/enlace/internal/fault"
)

// A backup is one age file sealed to the state's recovery key. Its plaintext is a tar: backup.json, then files, then
// manifest.json with the size and SHA-256 of each. Without that last one it is not whole. So age and tar open it without us.
const (
	headName     = "backup.json"
	manifestName = "manifest.json"
	// maxAbout bounds backup.json and manifest.json in bytes: a few hundred for each file.
	maxAbout      = 256 << 20
	backupVersion = 1
)

// BackupHead says whose backup it is: backup.json.
type BackupHead struct {
	Version int    `json:"version"`
	Node    string `json:"node"`
	Network string `json:"network"`
	// Incarnation is that of the ledger, "1-00112233aabbccdd".
	Incarnation string `json:"incarnation"`
	// Time is when the ledger was copied, in Unix milliseconds: what was committed after it is not in the backup.
	Time    int64  `json:"time"`
	Program string `json:"program"`
	// Attachments is "all" or "needed".
	Attachments string `json:"attachments"`
}

// archived is one file of a backup.
type archived struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

type manifest struct {
	Files []archived `json:"files"`
}

// archive writes a backup's plaintext.
type archive struct {
	tar   *tar.Writer
	files []archived
	bytes int64
}

// add writes one file of exactly size bytes; one that is shorter is an error, what follows them is left.
func (a *archive) add(name string, size int64, src io.Reader) error {
	if err := a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, Format: tar.FormatPAX}); err != nil {
		return archiveFault(err)
	}
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(a.tar, hash), src, size); err != nil {
		return archiveFault(err)
	}
	a.files = append(a.files, archived{name, size, hex.EncodeToString(hash.Sum(nil))})
	a.bytes += size
	return nil
}

// addJSON writes a small file.
func (a *archive) addJSON(name string, v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, archiveFault(err)
	}
	return b, a.add(name, int64(len(b)), readerOf(b))
}

// end writes the manifest, by which a whole backup is known, and returns its digest.
func (a *archive) end() ([sha256.Size]byte, error) {
	b, err := a.addJSON(manifestName, manifest{a.files})
	if err == nil {
		err = archiveFault(a.tar.Close())
	}
	return sha256.Sum256(b), err
}

// unpack reads a backup's plaintext to its end, giving each file but the first and the last to take, and checks them all
// against the manifest. Invalid "incomplete-backup" where it ends early, Invalid "damaged-backup" where it is not what was
// written: nothing taken before an error may be used.
func unpack(plain io.Reader, head func(BackupHead) error, take func(name string, size int64, src io.Reader) error) ([]archived, error) {
	u := unpacking{tar: tar.NewReader(plain), head: head, take: take}
	for {
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			return nil, incomplete(nil)
		}
		if err != nil {
			return nil, incomplete(err)
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || h.Name != filepath.ToSlash(filepath.Clean(h.Name)) {
			return nil, damagedBackup("the backup holds something that is no file of a node")
		}
		if h.Name == manifestName {
			return u.files, u.check(h.Size, plain)
		}
		if err := u.one(h); err != nil {
			return nil, err
		}
	}
}

// unpacking is a backup on its way out.
type unpacking struct {
	tar   *tar.Reader
	head  func(BackupHead) error
	take  func(string, int64, io.Reader) error
	files []archived
}

func (u *unpacking) one(h *tar.Header) error {
	hash := sha256.New()
	src := io.TeeReader(u.tar, hash)
	if len(u.files) == 0 {
		if err := u.readHead(h, src); err != nil {
			return err
		}
	} else if err := u.take(h.Name, h.Size, src); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, src); err != nil {
		return incomplete(err)
	}
	u.files = append(u.files, archived{h.Name, h.Size, hex.EncodeToString(hash.Sum(nil))})
	return nil
}

func (u *unpacking) readHead(h *tar.Header, src io.Reader) error {
	var head BackupHead
	if h.Name != headName || h.Size > maxAbout || json.NewDecoder(src).Decode(&head) != nil {
		return damagedBackup("this is not a backup of a node")
	}
	if head.Version != backupVersion {
		return fault.New(fault.Usage, "newer-version", opRestore, "the backup was written by a newer version of this program").
			WithHint("install that version, or a later one")
	}
	return u.head(head)
}

// check holds what was read against the manifest, and reads the sealed file to its end: only that says it was not cut.
func (u *unpacking) check(size int64, plain io.Reader) error {
	var m manifest
	if size > maxAbout {
		return damagedBackup("its manifest is larger than any")
	}
	if err := json.NewDecoder(u.tar).Decode(&m); err != nil {
		return incomplete(err)
	}
	if len(m.Files) != len(u.files) {
		return damagedBackup("it does not hold the files that its manifest names")
	}
	for i, f := range u.files {
		if m.Files[i] != f {
			return damagedBackup("a file is not what was written: " + f.Name)
		}
	}
	if _, err := u.tar.Next(); !errors.Is(err, io.EOF) {
		return damagedBackup("something follows its manifest")
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return incomplete(err)
	}
	return nil
}

func incomplete(cause error) error {
	var known *fault.Error
	if errors.As(cause, &known) && known.Kind != fault.Invalid {
		return cause
	}
	return fault.Wrap(cause, fault.Invalid, "incomplete-backup", opRestore, "the backup ends early or was changed").
		WithHint("use an older one; make the next with enlace node backup, which says when it is whole")
}

func damagedBackup(say string) error {
	return fault.New(fault.Invalid, "damaged-backup", opRestore, say).WithHint("use another backup")
}

func archiveFault(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fault.Wrap(err, fault.Internal, "", opBackup, "the backup cannot be written")
}
