package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/records"
	"github.com/enlace-network/enlace/internal/people"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed bootstrap.sql
var bootstrap string

// closeWithin is how long a closing ledger waits to learn what became of a commit in doubt.
const closeWithin = 10 * time.Second

// Config is what a ledger needs to open. Every field is required but Begin, Holder, Lease and Standby.
type Config struct {
	// DSN is a connection string or URL as libpq takes it. Several hosts may stand in it; the one that takes writes is
	// used.
	DSN string
	// Key is the ledger's secret from the keyring; that of the private columns derives from it.
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
	// Holder names this process to people who look into the table lease, such as its host.
	Holder string
	// Lease is how long the active node may be silent; 0 means ten seconds. The same for all processes on a ledger.
	Lease time.Duration
	// Standby is called once, when another process is active and this one waits; may be nil.
	Standby func(holder string)
}

// Ledger is an open ledger of the one active node; see [ledger.Ledger].
type Ledger struct {
	identity ledger.Identity
	keys     ledger.Keys
	lease    *lease
	session  *session
	writer   *records.Writer
	pool     *pool
	// kept is closed when the keeper of the lease has ended; stop ends it, and giveUp what waits to learn of a commit.
	kept         chan struct{}
	stop, giveUp context.CancelFunc
	close        sync.Once
}

var _ ledger.Ledger = (*Ledger)(nil)

// Open opens the ledger in a database, or makes a new one where there is none. It waits, as a hot standby, while another
// process is active on it: at most the length of the lease and a second after that one has fallen silent. A context that
// ends gives up the waiting.
//
// It refuses: a string that cannot be read (Usage "bad-dsn"), a line that is not protected (Usage "unsafe-connection"), a
// server with fsync, full_page_writes or synchronous_commit off or another encoding than UTF-8 (Usage "unsafe-storage"), a
// wrong key (Denied "wrong-key"), a ledger of another node or network (Conflict "other-node"), one whose evidence does not
// match its newest checkpoint (Conflict "evidence-broken"), one written by a newer version (Usage "newer-version"). Retry
// "storage-failed" where the server cannot be reached.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	config, err := parseDSN(cfg.DSN)
	if err != nil {
		return nil, err
	}
	cells, err := newCells(cfg.Key, cfg.Random)
	if err != nil {
		return nil, err
	}
	s := &server{config, cells}
	if err := prepareDatabase(ctx, s); err != nil {
		return nil, err
	}
	l := &Ledger{keys: cfg.Keys, kept: make(chan struct{})}
	if cfg.Lease == 0 {
		cfg.Lease = leaseLength
	}
	if l.lease, err = newLease(s, cfg.Holder, cfg.Lease, cfg.Random); err != nil {
		return nil, err
	}
	if err := l.lease.wait(ctx, cfg.Standby); err != nil {
		return nil, err
	}
	l.keepLease()
	if err := l.load(ctx, s, cfg); err != nil {
		l.endLease()
		return nil, err
	}
	l.pool = newPool(s)
	return l, nil
}

// prepareDatabase makes what says who may write.
func prepareDatabase(ctx context.Context, s *server) error {
	c, err := s.connect(ctx, writerIdle)
	if err != nil {
		return err
	}
	defer c.close()
	// Two that start at once would both make the tables: the lock, of a number of our own, has one wait.
	return c.do("BEGIN; SELECT pg_advisory_xact_lock(7236838841); " + bootstrap + "; COMMIT")
}

func (l *Ledger) keepLease() {
	var ctx context.Context
	ctx, l.stop = context.WithCancel(context.Background())
	go func() {
		defer close(l.kept)
		l.lease.keep(ctx)
	}()
}

func (l *Ledger) endLease() {
	l.stop()
	<-l.kept
	l.lease.release()
}

// load brings the database up to this version and starts its writer.
func (l *Ledger) load(ctx context.Context, s *server, cfg Config) error {
	var patience context.Context
	patience, l.giveUp = context.WithCancel(context.Background())
	session, err := startSession(ctx, patience, l.lease)
	if err != nil {
		return err
	}
	if err := l.start(ctx, s, session, cfg); err != nil {
		return errors.Join(err, session.Close())
	}
	return nil
}

func (l *Ledger) start(ctx context.Context, s *server, session *session, cfg Config) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return failed("migrate ledger", err)
	}
	if err := migrate(ctx, s, session.conn, files); err != nil {
		return err
	}
	owner := records.Owner{Network: cfg.Network, Node: cfg.Node, Origin: cfg.Origin, Random: cfg.Random}
	if l.identity, err = identify(session, owner); err != nil {
		return err
	}
	if b := cfg.Begin; b != nil {
		if l.identity, err = records.BeginIncarnation(session, l.identity, owner, *b, cfg.Created.Time); err != nil {
			return err
		}
	}
	first, fresh, err := records.First(session, cfg.Created)
	if err != nil {
		return err
	}
	log, err := ledger.OpenLog(l.identity.Origin, cfg.Keys, cfg.Random, records.NewReader(session))
	if err != nil {
		return err
	}
	l.session = session
	if l.writer, err = records.StartWriter(session, log); err != nil || !fresh {
		return err
	}
	// A stop before this leaves a ledger without events; the next opening writes the first.
	return l.writer.Update(ctx, func(t ledger.Tx) error {
		_, err := t.Append(first)
		return err
	})
}

// identify checks the key and reads whose ledger it is, or writes both into a new one.
func identify(s *session, owner records.Owner) (ledger.Identity, error) {
	if err := s.Begin(); err != nil {
		return ledger.Identity{}, err
	}
	err := checkKey(s)
	var id ledger.Identity
	if err == nil {
		id, _, err = records.Identify(s, owner)
	}
	if err == nil {
		err = s.Commit()
	}
	if err != nil && s.Standing() {
		err = errors.Join(err, s.Rollback())
	}
	return id, err
}

// checkKey opens the sealed word, or seals it in a new ledger.
func checkKey(s *session) error {
	at := records.Cell{Table: "cell_key", Column: "word"}
	var wrong error
	found := false
	err := s.Each(func(row records.Columns) bool {
		_, wrong = row.Open(0, at)
		found = true
		return true
	}, "SELECT word FROM cell_key")
	if err != nil || found && wrong == nil {
		return err
	}
	if wrong != nil {
		return fault.Wrap(wrong, fault.Denied, "wrong-key", "open ledger", "the key does not open this ledger").
			WithHint("check which keyring this node was set up with")
	}
	_, err = s.Exec("INSERT INTO cell_key (one, word) VALUES (1, ?)", records.Private{Cell: at, Value: []byte("enlace")})
	return err
}

// Identity implements [ledger.Ledger].
func (l *Ledger) Identity() ledger.Identity { return l.identity }

// Update implements [ledger.Ledger]. Beside its errors: Conflict "not-active" when another process has taken the lease,
// Conflict "set-back" when the database is not the one that was written; nothing can be written any more in both cases.
// A commit whose answer was lost is cleared up before Update returns.
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

// Check asks the server whether it still keeps what it acknowledges, Usage "unsafe-storage", and whether it has read pages
// of the database that are not what it wrote, Internal "damaged"; the latter it knows only where its data checksums are on.
func (l *Ledger) Check(ctx context.Context) error {
	return l.pool.view(ctx, func(c *conn) error {
		if err := checkSettings(c); err != nil {
			return err
		}
		var failures int64
		err := c.Each(func(row records.Columns) bool { failures = row.Integer(0); return false },
			"SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database()")
		if err == nil && failures > 0 {
			err = fault.New(fault.Internal, "damaged", "check ledger", fmt.Sprintf("the database server has read %d damaged pages of this database", failures)).
				WithHint("look at its log, and restore the database from its backup")
		}
		return err
	})
}

// Hold waits until ctx ends, and returns nil, or until this process is active no more, and returns why: Conflict
// "not-active" or "set-back", Usage "unsafe-storage". The process must end then; it may start again as a standby.
func (l *Ledger) Hold(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-l.lease.lost:
		return l.lease.why
	}
}

// Close implements [ledger.Ledger]. Views that run are waited for. A standby takes over at once.
func (l *Ledger) Close() error {
	var err error
	l.close.Do(func() {
		l.pool.close()
		patience := time.AfterFunc(closeWithin, l.giveUp)
		err = l.writer.Close()
		patience.Stop()
		l.giveUp()
		l.endLease()
	})
	return err
}
