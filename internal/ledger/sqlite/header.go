package sqlite

import (
	"encoding/binary"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// headed is the file of the database as SQLite and the layer of the checksums see it, above the encryption. It answers
// the read of the header that comes with the opening, before the key is known, with what every ledger's header says.
//
// The layer of the checksums learns from the header whether pages carry them, and sees only what passes by it: after a
// kill the first page is in the -wal, which it does not look at. Left to itself it would take the pages to be without,
// check none that it reads, and write them without when the -wal is copied while a reader keeps the first page back. A
// process that knows better would refuse them later, and the ledger with them.
type headed struct{ vfs.File }

const (
	headerSize    = 100
	headerMagic   = "SQLite format 3\x00"
	pageSizeAt    = 16
	reservedAt    = 20
	checksumBytes = 8
)

// ReadAt reads the file, but for the header alone: nothing else reads those 100 bytes.
func (f headed) ReadAt(p []byte, off int64) (int, error) {
	if off != 0 || len(p) != headerSize {
		return f.File.ReadAt(p, off)
	}
	clear(p)
	copy(p, headerMagic)
	binary.BigEndian.PutUint16(p[pageSizeAt:], pageSize)
	p[reservedAt] = checksumBytes
	return headerSize, nil
}

// DeviceCharacteristics promises no atomic batches: they are no part of this layer.
func (f headed) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return f.File.DeviceCharacteristics() &^ vfs.IOCAP_BATCH_ATOMIC
}

// Unwrap leads the -wal to the key of its database.
func (f headed) Unwrap() vfs.File { return f.File }

// Pragma implements [vfs.FilePragma]: the key comes this way.
func (f headed) Pragma(name, value string) (string, error) {
	return vfsutil.WrapPragma(f.File, name, value)
}

// SharedMemory implements [vfs.FileSharedMemory].
func (f headed) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }

// SizeHint implements [vfs.FileSizeHint].
func (f headed) SizeHint(size int64) error { return vfsutil.WrapSizeHint(f.File, size) }

// HasMoved implements [vfs.FileHasMoved].
func (f headed) HasMoved() (bool, error) { return vfsutil.WrapHasMoved(f.File) }

// LockState implements [vfs.FileLockState].
func (f headed) LockState() vfs.LockLevel { return vfsutil.WrapLockState(f.File) }
