package sqlite

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// disk is the operating system's files with faults: it lies below the encryption.
type disk struct {
	vfs.VFS
	mu sync.Mutex
	// room is how many bytes may still be written; below 0 there is no limit.
	room int64
	// sync is called before each sync of the -wal or the database, with the file's name; an error fails it.
	sync func(name string) error
	// synced is called after each sync.
	synced func(name string)
}

func newDisk() *disk { return &disk{VFS: vfs.Find("os"), room: -1} }

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, out, err := vfsutil.WrapOpenFilename(d.VFS, name, flags)
	if err != nil || flags&(vfs.OPEN_MAIN_DB|vfs.OPEN_WAL) == 0 {
		return file, out, err
	}
	return &diskFile{file, d, name.String()}, out, nil
}

type diskFile struct {
	vfs.File
	disk *disk
	name string
}

func (f *diskFile) Unwrap() vfs.File               { return f.File }
func (f *diskFile) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	full := f.disk.room >= 0 && f.disk.room < int64(len(p))
	if !full && f.disk.room > 0 {
		f.disk.room -= int64(len(p))
	}
	f.disk.mu.Unlock()
	if full {
		return 0, sqlite3.FULL
	}
	return f.File.WriteAt(p, off)
}

func (f *diskFile) Sync(flags vfs.SyncFlag) error {
	f.disk.mu.Lock()
	before, after := f.disk.sync, f.disk.synced
	f.disk.mu.Unlock()
	if before != nil {
		if err := before(f.name); err != nil {
			return err
		}
	}
	err := f.File.Sync(flags)
	if err == nil && after != nil {
		after(f.name)
	}
	return err
}

// copyFile copies a file as it is now into another directory.
func copyFile(tb testing.TB, name, dir string) {
	tb.Helper()
	in, err := os.Open(name)
	if err != nil {
		tb.Error(err)
		return
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(dir, filepath.Base(name)))
	if err != nil {
		tb.Error(err)
		return
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		tb.Error(err)
	}
}
