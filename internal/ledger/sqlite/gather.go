package sqlite

import (
	"errors"
	"io"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// gathering is a file layer above the encryption that gathers what SQLite writes to the -wal.
//
// SQLite writes a frame as 24 bytes and a page; the cipher works on blocks of 4096, so each of those writes makes it
// read, decrypt, change and encrypt blocks again: three times the work. Gathered, a commit reaches the cipher as one
// run of whole blocks. Nothing is promised earlier than before: a sync writes what was gathered first, and a failed
// write keeps it, to be tried again before anything else.
type gathering struct {
	vfs.VFS
	mu sync.Mutex
	// runs are the gathered writes by file name: all handles of one -wal share one.
	runs map[string]*run
}

// gatherMost bounds what is held back, in bytes.
const gatherMost = 512 << 10

func newGathering(base vfs.VFS) *gathering { return &gathering{VFS: base, runs: map[string]*run{}} }

// OpenFilename implements [vfs.VFSFilename].
func (g *gathering) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, out, err := vfsutil.WrapOpenFilename(g.VFS, name, flags)
	if err == nil && flags&vfs.OPEN_MAIN_DB != 0 {
		return headed{file}, out, nil
	}
	if err != nil || flags&vfs.OPEN_WAL == 0 {
		return file, out, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.runs[name.String()]
	if r == nil {
		r = new(run)
		g.runs[name.String()] = r
	}
	return &gathered{file, r}, out, nil
}

// run is bytes at an offset that are not written yet. SQLite has one writer at a time, so one handle owns it.
type run struct {
	mu    sync.Mutex
	owner *gathered
	off   int64
	data  []byte
}

// gathered is one handle of a -wal.
type gathered struct {
	vfs.File
	run *run
}

// ReadAt reads the file with the run laid over it. The run is looked at first: what is no longer in it is in the file.
func (f *gathered) ReadAt(p []byte, off int64) (int, error) {
	at, over := f.run.overlap(off, len(p))
	n, err := f.File.ReadAt(p, off)
	if len(over) == 0 || err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	if at > n {
		clear(p[n:at]) // never so: SQLite writes a -wal without holes
	}
	copy(p[at:], over)
	if n = max(n, at+len(over)); n == len(p) {
		return n, nil
	}
	return n, io.EOF
}

// overlap copies the part of the run that a read of n bytes covers, with its place in the read.
func (r *run) overlap(off int64, n int) (int, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, to := max(off, r.off), min(off+int64(n), r.off+int64(len(r.data)))
	if from >= to {
		return 0, nil
	}
	return int(from - off), append([]byte(nil), r.data[from-r.off:to-r.off]...)
}

// WriteAt gathers.
func (f *gathered) WriteAt(p []byte, off int64) (int, error) {
	r := f.run
	r.mu.Lock()
	defer r.mu.Unlock()
	follows := r.owner == f && off == r.off+int64(len(r.data))
	if len(r.data) > 0 && (!follows || len(r.data) >= gatherMost) {
		if err := r.flush(f); err != nil {
			return 0, err
		}
	}
	if len(r.data) == 0 {
		r.owner, r.off = f, off
	}
	r.data = append(r.data, p...)
	return len(p), nil
}

// flush writes the run. Only its owner may: handles are not safe for concurrent use.
func (r *run) flush(by *gathered) error {
	if len(r.data) == 0 {
		return nil
	}
	if r.owner != by {
		return sqlite3.IOERR_WRITE
	}
	if _, err := by.File.WriteAt(r.data, r.off); err != nil {
		return err
	}
	r.data = r.data[:0]
	return nil
}

// flushed runs f on the file with nothing gathered.
func (f *gathered) flushed(do func() error) error {
	f.run.mu.Lock()
	defer f.run.mu.Unlock()
	if err := f.run.flush(f); err != nil {
		return err
	}
	return do()
}

// Sync writes what was gathered, then syncs. Readers of the -wal do not wait for the disk: the handle is the writer's own.
func (f *gathered) Sync(flags vfs.SyncFlag) error {
	if err := f.flushed(func() error { return nil }); err != nil {
		return err
	}
	return f.File.Sync(flags)
}

// Truncate writes what was gathered, then truncates.
func (f *gathered) Truncate(size int64) error {
	return f.flushed(func() error { return f.File.Truncate(size) })
}

// Size counts what was gathered.
func (f *gathered) Size() (int64, error) {
	f.run.mu.Lock()
	defer f.run.mu.Unlock()
	size, err := f.File.Size()
	if len(f.run.data) > 0 {
		size = max(size, f.run.off+int64(len(f.run.data)))
	}
	return size, err
}

// Close writes what was gathered by this handle.
func (f *gathered) Close() error {
	f.run.mu.Lock()
	defer f.run.mu.Unlock()
	var err error
	if f.run.owner == f {
		err = f.run.flush(f)
		f.run.owner, f.run.data = nil, nil
	}
	return errors.Join(err, f.File.Close())
}
