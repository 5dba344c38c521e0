package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/postgres"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	"github.com/enlace-network/enlace/internal/people"
)

// The values of ledger.backend.
const (
	inFile   = "sqlite"
	onServer = "postgres"
)

// store is the ledger as the daemon wants it of either engine.
type store interface {
	ledger.Ledger
	People() people.Store
	// Snapshot copies the ledger into a file, for a backup.
	Snapshot(ctx context.Context, path string) error
	// Check has the engine look at its own data.
	Check(ctx context.Context) error
	// Hold waits until ctx ends, or fails when this process may write no more.
	Hold(ctx context.Context) error
}

// fileStore holds its ledger as long as it has the directory's lock, which is as long as it lives.
type fileStore struct{ *sqlite.Ledger }

func (fileStore) Hold(ctx context.Context) error { <-ctx.Done(); return nil }

// serverStore is backed up where it is kept.
type serverStore struct{ *postgres.Ledger }

func (serverStore) Snapshot(context.Context, string) error { return backedUpElsewhere() }

func backedUpElsewhere() error {
	return fault.New(fault.Usage, "backed-up-elsewhere", opBackup, "a ledger on PostgreSQL is not in the node's backup").
		WithHint("back the database up with the server's own means (pg_basebackup), and keyring, configuration and attachments as files")
}

// ledgerKeys are what the ledger needs of the keyring.
func (d *daemon) ledgerKeys() (secret [32]byte, keys ledger.Keys, err error) {
	key, err := d.ring.Secret(keyring.LedgerSecret)
	if err != nil {
		return secret, keys, err
	}
	salt, err := d.ring.Secret(keyring.SaltSecret)
	if err != nil {
		return secret, keys, err
	}
	signer, err := d.ring.NoteSigner(keyring.NodeEvidence)
	return [32]byte(key), ledger.Keys{Signer: signer, Earlier: d.generations(keyring.NodeEvidence), Secret: [32]byte(salt)}, err
}

// openLedger opens the ledger; on a server it waits until this process is the active one.
func (d *daemon) openLedger(ctx context.Context) error {
	secret, keys, err := d.ledgerKeys()
	if err != nil {
		return err
	}
	begin, err := d.begin()
	if err != nil {
		return err
	}
	open := openFile
	if d.cfg.Ledger.Backend == onServer {
		open = openServer
	}
	d.ledger, err = open(ctx, d, sqlite.Config{
		Dir: filepath.Join(d.cfg.Data, "ledger"), Key: secret, Network: d.cfg.Network.Fingerprint, Node: d.parsed.node,
		Origin: fmt.Sprintf("enlace.%s/%s/evidence", d.cfg.Network.Fingerprint[:16], d.parsed.node), Keys: keys, Random: d.Random,
		Created: ledger.Event{Time: d.Clock(), Kind: "ledger-created", Actor: nodeActor}, Begin: begin,
	})
	if err != nil {
		return err
	}
	d.closers = append(d.closers, d.ledger.Close)
	return d.begun()
}

func openFile(ctx context.Context, _ *daemon, cfg sqlite.Config) (store, error) {
	l, err := sqlite.Open(ctx, cfg)
	return fileStore{l}, err
}

// openServer takes of the file's configuration what both engines need.
func openServer(ctx context.Context, d *daemon, cfg sqlite.Config) (store, error) {
	dsn, err := os.ReadFile(d.cfg.Ledger.Postgres.DSNFile)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "bad-configuration", "open ledger", "the file of ledger.postgres.dsn_file cannot be read")
	}
	l, err := postgres.Open(ctx, postgres.Config{
		DSN: string(dsn), Key: cfg.Key, Network: cfg.Network, Node: cfg.Node, Origin: cfg.Origin, Keys: cfg.Keys, Random: cfg.Random,
		Created: cfg.Created, Begin: cfg.Begin, Holder: thisProcess(),
		Standby: func(holder string) { d.Log.Info("standby: another process is active", zap.String("active", holder)) },
	})
	return serverStore{l}, err
}

// thisProcess names this process to people who run several.
func thisProcess() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
