package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/records"
)

const opInspect = "inspect ledger"

// Check reads every page of the ledger, which holds it against its checksum, and its structure. Internal "damaged" where one
// is not what was written; a context that ends stops it. Writers are not held up; the -wal grows meanwhile. Takes about a
// second for 100 MB.
func (l *Ledger) Check(ctx context.Context) error { return l.pool.view(ctx, (*conn).sound) }

// sound has the engine look at its file.
func (c *conn) sound() error {
	var first string
	err := c.Each(func(row records.Columns) bool { first = row.Text(0); return false }, "PRAGMA quick_check(1)")
	if err == nil && first != "ok" {
		err = fault.New(fault.Internal, "damaged", opInspect, "the ledger's file is damaged").
			WithHint("stop the node, keep the files and restore the ledger from its backup")
	}
	return err
}

// Inspection is a ledger that no process uses, opened to be read and nothing else.
type Inspection struct {
	c       *conn
	keys    ledger.Keys
	id      ledger.Identity
	release func() error
}

// Inspect opens the ledger in a directory without changing a byte of it or its -wal, and keeps other processes from opening it
// until Close. The -shm, an index of the -wal that whoever comes first makes anew, is left only where there was one: another
// account's would keep the node from starting. Errors are those of [Open], and NotFound where there is none; Conflict "in-use" says that a process has it open.
// Retry "torn" says that a power cut tore the end of its -wal, and Retry "older" that an older version wrote it: the next
// [Open] puts both right. Only Dir, Key, Keys, Network, Node and VFS of the configuration count.
func Inspect(ctx context.Context, cfg Config) (*Inspection, error) {
	lock, err := lockExisting(cfg.Dir)
	if err != nil {
		return nil, err
	}
	tidy := leaveNoNew(filepath.Join(cfg.Dir, "ledger.db-shm"), filepath.Join(cfg.Dir, "ledger.db-wal"))
	i := &Inspection{keys: cfg.Keys, release: func() error { return errors.Join(tidy(), lock.Close()) }}
	if err := i.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// lockExisting takes the directory of a ledger that is there.
func lockExisting(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "ledger.lock"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, fault.NotFound, "no-ledger", opInspect, "there is no ledger: "+dir)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "", opInspect, "the data directory cannot be read: "+dir)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fault.Wrap(err, fault.Conflict, "in-use", opInspect, "another process has the ledger open")
	}
	return lock, nil
}

// leaveNoNew removes those files, when it is called, that were not there before and hold nothing of worth.
func leaveNoNew(paths ...string) func() error {
	var fresh []string
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			fresh = append(fresh, path)
		}
	}
	return func() error {
		var errs []error
		for _, path := range fresh {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, failed(opInspect, err))
			}
		}
		return errors.Join(errs...)
	}
}

func (i *Inspection) open(ctx context.Context, cfg Config) error {
	path := filepath.Join(cfg.Dir, "ledger.db")
	if _, err := os.Stat(path); err != nil {
		return fault.Wrap(err, fault.NotFound, "no-ledger", opInspect, "there is no ledger: "+cfg.Dir)
	}
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size()%block != 0 {
		return fault.New(fault.Retry, "torn", opInspect, "a power cut tore the end of the ledger's -wal; the next start puts that right")
	}
	name := register(cfg)
	unlock := i.release
	i.release = func() error { vfs.Unregister(name); return unlock() }
	uri := "file:" + (&url.URL{Path: path}).EscapedPath() + "?mode=ro&vfs=" + url.QueryEscape(name)
	var err error
	if i.c, err = connect(uri, cfg.Key); err != nil {
		return unlocked(err)
	}
	if _, err := tables(i.c); err != nil {
		return unlocked(err)
	}
	if err := i.current(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	i.id, err = records.Identified(i.c, records.Owner{Network: cfg.Network, Node: cfg.Node})
	return err
}

// current reports whether this version wrote the ledger.
func (i *Inspection) current() error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return failed(opInspect, err)
	}
	newest, err := newestMigration(files)
	if err != nil {
		return failed(opInspect, err)
	}
	has, err := version(i.c)
	switch {
	case err != nil:
		return err
	case has > newest:
		return fault.New(fault.Usage, "newer-version", opInspect, "the ledger was written by a newer version of this program").
			WithHint("install that version again")
	case has < newest:
		return fault.New(fault.Retry, "older", opInspect, "the ledger was written by an older version of this program; the next start brings it up to date")
	}
	return nil
}

// Check is as that of [Ledger].
func (i *Inspection) Check(ctx context.Context) error { return i.c.view(ctx, (*conn).sound) }

// VerifyEvidence is as that of [Ledger].
func (i *Inspection) VerifyEvidence(ctx context.Context) (ledger.Evidence, error) {
	var found ledger.Evidence
	err := i.c.view(ctx, func(c *conn) error {
		var err error
		found, err = records.VerifyAll(ctx, c, i.id, i.keys)
		return err
	})
	return found, err
}

// Close gives the ledger back.
func (i *Inspection) Close() error {
	var err error
	if i.c != nil {
		err = i.c.close()
	}
	return errors.Join(err, i.release())
}

// InUse reports whether a process has the ledger in a directory open. NotFound where there is none.
func InUse(dir string) (bool, error) {
	lock, err := lockExisting(dir)
	if fault.CodeOf(err) == "in-use" {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, lock.Close()
}
