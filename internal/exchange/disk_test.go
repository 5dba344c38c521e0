package exchange_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// disk is the operating system's files below a ledger's encryption. It keeps of each file what its last sync has
// covered, as a power cut leaves it, and can hold a sync back.
type disk struct {
	vfs.VFS
	kept string // folder of the copies

	mu      sync.Mutex
	entered chan struct{} // guarded by mu; closed when a sync is held
	gate    chan struct{} // guarded by mu; nil = syncs pass
	failed  error         // guarded by mu; of copying
}

// use puts a disk under the ledger of a side that has stopped.
func (s *side) use() {
	s.w.t.Helper()
	s.disk = &disk{VFS: vfs.Find("os"), kept: s.w.t.TempDir()}
	s.w.must(os.CopyFS(s.disk.kept, os.DirFS(filepath.Join(s.dir, "ledger"))))
}

// hold makes the next sync of the -wal, and all behind it, wait for release; entered is closed when one waits.
func (d *disk) hold() (entered <-chan struct{}, release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gate := make(chan struct{})
	d.entered, d.gate = make(chan struct{}), gate
	return d.entered, sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.gate = nil
		close(gate)
	})
}

func (d *disk) wait(name string) {
	d.mu.Lock()
	gate := d.gate
	if gate != nil && strings.HasSuffix(name, "-wal") && d.entered != nil {
		close(d.entered)
		d.entered = nil
	}
	d.mu.Unlock()
	if gate != nil && strings.HasSuffix(name, "-wal") {
		<-gate
	}
}

// keep copies a file that was just synced. The ledger has one writer, so nothing is written meanwhile.
func (d *disk) keep(name string) {
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(filepath.Join(d.kept, filepath.Base(name)), b, 0o600)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = errors.Join(d.failed, err)
}

// survivors is a new folder with what a power cut would leave now.
func (s *side) survivors() string {
	s.w.t.Helper()
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	s.w.must(s.disk.failed)
	dir := s.w.t.TempDir()
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		b, err := os.ReadFile(filepath.Join(s.disk.kept, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.w.must(err)
		s.w.must(os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	return dir
}

// OpenFilename implements [vfs.VFSFilename].
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

func (f *diskFile) Sync(flags vfs.SyncFlag) error {
	f.disk.wait(f.name)
	err := f.File.Sync(flags)
	if err == nil {
		f.disk.keep(f.name)
	}
	return err
}
