package sqlite

import (
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/ncruces/go-sqlite3/vfs/adiantum"
	"github.com/pressly/goose/v3"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/records"
	"github.com/enlace-network/enlace/internal/people"
)

const (
	pageSize = 4096
	// checkpointPages is how long the -wal grows before it is copied into the database: 16 MiB. Longer spares copying
	// pages that change again, shorter spares readers.
	checkpointPages = 4096
	// readers is how many views run at once.
	readers = 4
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is what a ledger needs to open. Every field but VFS is required.
type Config struct {
	// Dir is made with mode 0700 when it is missing.
	Dir string
	// Key encrypts the files. It comes from the keyring and never lies beside them.
	Key     [32]byte
	Network string
	Node    authority.Node
	// Origin begins the name of the evidence log; the incarnation completes it: "<Origin>/1-<16 hex digits>".
	Origin string
	Keys   ledger.Keys
	Random io.Reader
	// Created is the event that a new ledger begins with.
	Created ledger.Event
	// Begin has an incarnation begun above what the ledger is of; nil: the one it is of goes on.
	Begin *ledger.Begin
	// VFS is the file layer below the encryption; nil is the operating system's. Tests put a failing disk here.
	VFS vfs.VFS
}

// Ledger is an open ledger; see [ledger.Ledger].
type Ledger struct {
	identity ledger.Identity
	keys     ledger.Keys
	vfsName  string
	key      [32]byte
	lock     *os.File
	writing  *conn // the writer's
	writer   *records.Writer
	pool     *pool
	close    sync.Once
}

var _ ledger.Ledger = (*Ledger)(nil)

// Open opens the ledger in a directory, or makes a new one where there is none.
//
// It refuses: a directory that another process uses (Conflict "in-use"), a wrong key (Denied "wrong-key"), a ledger of
// another node or network (Conflict "other-node"), one whose evidence does not match its newest checkpoint (Conflict
// "evidence-broken"), one written by a newer version (Usage "newer-version"). A refused ledger is left as it was, but for
// a torn end of its -wal, and for the -wal being copied into the database where the key was right.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	l := &Ledger{lock: lock, keys: cfg.Keys, vfsName: register(cfg), key: cfg.Key}
	if err := l.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context, cfg Config) error {
	if err := trim(filepath.Join(cfg.Dir, "ledger.db-wal")); err != nil {
		return err
	}
	uri := "file:" + (&url.URL{Path: filepath.Join(cfg.Dir, "ledger.db")}).EscapedPath() + "?vfs=" + url.QueryEscape(l.vfsName)
	c, err := connect(uri, cfg.Key)
	if err != nil {
		return unlocked(err)
	}
	if err := l.load(ctx, c, uri, cfg); err != nil {
		return errors.Join(err, c.close())
	}
	l.pool = newPool(func() (*conn, error) { return connect(uri, cfg.Key) })
	return nil
}

// block is what the encryption reads and writes whole.
const block = 4096

// trim takes the part of a block from the end of a -wal that a power cut tore while it was written. SQLite takes it for
// a disk that does not give its bytes, and would not open the ledger. Nothing acknowledged is in it: commits are padded
// to whole blocks before they are synced, which the VFS asks for by its sector size.
func trim(wal string) error {
	info, err := os.Stat(wal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Size()%block != 0 {
		err = os.Truncate(wal, info.Size()/block*block)
		// If the machine stops here the next opening does the same.
	}
	return failed("open ledger", err)
}

// load brings the database up to this version and starts its writer.
func (l *Ledger) load(ctx context.Context, c *conn, uri string, cfg Config) error {
	if err := prepareFile(c); err != nil {
		return err
	}
	if err := settle(c); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return failed("migrate ledger", err)
	}
	if err := migrate(ctx, c, uri, cfg.Key, files); err != nil {
		return err
	}
	owner := records.Owner{Network: cfg.Network, Node: cfg.Node, Origin: cfg.Origin, Random: cfg.Random}
	if l.identity, _, err = records.Identify(c, owner); err != nil {
		return err
	}
	if b := cfg.Begin; b != nil {
		if l.identity, err = records.BeginIncarnation(session{c}, l.identity, owner, *b, cfg.Created.Time); err != nil {
			return err
		}
	}
	first, fresh, err := records.First(c, cfg.Created)
	if err != nil {
		return err
	}
	log, err := ledger.OpenLog(l.identity.Origin, cfg.Keys, cfg.Random, records.NewReader(c))
	if err != nil {
		return err
	}
	l.writing = c
	if l.writer, err = records.StartWriter(session{c}, log); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	// A stop before this leaves a ledger without events; the next opening writes the first.
	return l.writer.Update(ctx, func(t ledger.Tx) error {
		_, err := t.Append(first)
		return err
	})
}

// unlocked says of a first page that cannot be read what is the likelier reason.
func unlocked(err error) error {
	if fault.CodeOf(err) != "damaged" {
		return err
	}
	return fault.Wrap(err, fault.Denied, "wrong-key", "open ledger",
		"the key does not open this ledger, or the first page of its file is damaged").
		WithHint("check which unlock key this node was set up with")
}

func tables(c *conn) (int, error) {
	n, err := c.number("SELECT count(*) FROM sqlite_schema")
	return int(n), err
}

// prepareFile makes an empty file a database with checksums and a -wal.
func prepareFile(c *conn) error {
	if n, err := tables(c); err != nil || n > 0 {
		return unlocked(err)
	}
	if err := c.db.Exec(fmt.Sprintf("PRAGMA page_size=%d", pageSize)); err != nil {
		return failed("make ledger", err)
	}
	// Adiantum hides bytes but does not tell when they were changed; the checksums do.
	if err := c.db.EnableChecksums("main"); err != nil {
		return failed("make ledger", err)
	}
	return failed("make ledger", c.db.Exec("PRAGMA journal_mode=WAL"))
}

// settle copies into the database what a stop has left in the -wal, and empties it, before anything is written after it.
//
// Commits are padded to whole blocks before they are synced, so that none shares a block with a later one. A power cut
// can take the padding that lay beyond the last sync; the next commit would then begin inside the last block of what is
// acknowledged, and a second cut that tears it would take that with it. The engine syncs the -wal before it copies and
// the database before it empties the -wal: a stop in between leaves both, and the next opening does it again.
//
// A disk without room leaves the -wal as it was: a node that does not start cannot make room.
func settle(c *conn) error {
	_, _, err := c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	if err = failed("open ledger", err); fault.CodeOf(err) == "disk-full" {
		return nil
	}
	return err
}

// migrate applies the migrations that this ledger has not seen. It reads the version itself: goose takes a table that
// it cannot read for one that is not there.
func migrate(ctx context.Context, c *conn, uri string, key [32]byte, files fs.FS) error {
	has, err := version(c)
	if err != nil {
		return err
	}
	newest, err := newestMigration(files)
	if err != nil {
		return failed("migrate ledger", err)
	}
	if has > newest {
		return fault.New(fault.Usage, "newer-version", "open ledger", "the ledger was written by a newer version of this program").
			WithHint("install that version again")
	}
	if has == newest {
		return nil
	}
	db, err := driver.Open(uri, func(c *sqlite3.Conn) error { return prepare(c, key) })
	if err != nil {
		return failed("migrate ledger", err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return failed("migrate ledger", err)
	}
	_, err = provider.Up(ctx)
	return failed("migrate ledger", err)
}

// version is the newest migration the ledger has seen; 0 for a new one.
func version(c *conn) (int64, error) {
	if n, err := tables(c); err != nil || n == 0 {
		return 0, err
	}
	return c.number("SELECT ifnull(max(version_id), 0) FROM goose_db_version WHERE is_applied")
}

func newestMigration(files fs.FS) (int64, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return 0, err
	}
	return goose.NumericComponent(names[len(names)-1])
}

// lockDir takes the directory for this process. The lock dies with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "", "open ledger", "the data directory cannot be made")
	}
	lock, err := os.OpenFile(filepath.Join(dir, "ledger.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "", "open ledger", "the data directory cannot be written to")
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fault.Wrap(err, fault.Conflict, "in-use", "open ledger", "another process uses this data directory").
			WithHint("stop the other daemon, or give this one a data directory of its own")
	}
	if err := syncDirs(dir); err != nil {
		lock.Close()
		return nil, fault.Wrap(err, fault.Retry, "storage-failed", "open ledger", "the data directory cannot be synced")
	}
	return lock, nil
}

// syncDirs makes the directory itself and its name durable.
func syncDirs(dir string) error {
	for _, path := range []string{dir, filepath.Dir(dir)} {
		d, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// register names the encrypting file layer of one directory; the lock makes the name its own.
func register(cfg Config) string {
	base := cfg.VFS
	if base == nil {
		base = vfs.Find("os")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		dir = cfg.Dir
	}
	name := "enlace-" + hex.EncodeToString([]byte(dir))
	vfs.Register(name, newGathering(adiantum.Wrap(base, nil)))
	return name
}

// Identity implements [ledger.Ledger].
func (l *Ledger) Identity() ledger.Identity { return l.identity }

// Update implements [ledger.Ledger].
func (l *Ledger) Update(ctx context.Context, f func(ledger.Tx) error) error {
	return l.writer.Update(ctx, f)
}

// View implements [ledger.Ledger].
func (l *Ledger) View(ctx context.Context, f func(ledger.Reader) error) error {
	return l.pool.view(ctx, func(c *conn) error { return f(records.NewReader(c)) })
}

// People is the store of room people over this ledger.
func (l *Ledger) People() people.Store { return records.People(l) }

// VerifyEvidence implements [ledger.Ledger].
func (l *Ledger) VerifyEvidence(ctx context.Context) (ledger.Evidence, error) {
	var found ledger.Evidence
	err := l.pool.view(ctx, func(c *conn) error {
		var err error
		found, err = records.VerifyAll(ctx, c, l.identity, l.keys)
		return err
	})
	return found, err
}

// Close implements [ledger.Ledger]. Views that run are waited for.
func (l *Ledger) Close() error {
	var err error
	l.close.Do(func() { err = errors.Join(l.pool.close(), l.writer.Close(), l.release()) })
	return err
}

func (l *Ledger) release() error {
	vfs.Unregister(l.vfsName)
	return l.lock.Close()
}
