package node

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger/postgres"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
)

// doorWithin is how long the operator door may take to take a connection.
const doorWithin = 3 * time.Second

// Examine looks at a node whose daemon does not answer, by its configuration and its files: whether it can be read, disks,
// unlock key, certificates, and the ledger, which is opened to be read alone and not at all where a process has it open. It
// changes nothing, but for a small file on each disk that it removes again. The prompt of the options may be nil: then a
// keyring that a person unlocks stays locked. It is told as [doctor.Examine] tells.
func Examine(ctx context.Context, path string, o Options, examining func(component string) error, found func(doctor.Finding) error) error {
	cfg, err := LoadConfig(path)
	if tell := found(doctor.Configuration(path, err)); tell != nil || err != nil {
		return tell
	}
	s := stopped{cfg: cfg, o: o}
	s.ring, s.beside, s.locked = keyring.OpenConfigured(cfg.keySetting(), o.Prompt)
	return doctor.Examine(ctx, s.checks(), examining, found)
}

// stopped is a node that does not run, as its files have it.
type stopped struct {
	cfg    Config
	o      Options
	ring   *keyring.Ring
	beside bool
	locked error // why there is no ring
}

func (s stopped) checks() []doctor.Check {
	all := []doctor.Check{
		doctor.CheckDaemon(s.cfg.Operator.GRPC, s.dial),
		doctor.CheckDisk(s.cfg.folders()),
		doctor.CheckKeyFile(s.cfg.asks() && s.o.Prompt == nil, func() (bool, error) { return s.beside, s.locked }),
	}
	if s.locked == nil {
		all = append(all, doctor.CheckCA(s.ring.CACertificates, s.o.Clock))
	}
	if s.cfg.Ledger.Backend == onServer {
		return append(all, doctor.CheckActive(s.active))
	}
	return append(all, doctor.CheckResting(s.inspect))
}

func (s stopped) dial(ctx context.Context) error {
	d := net.Dialer{Timeout: doorWithin}
	c, err := d.DialContext(ctx, "tcp", s.cfg.Operator.GRPC)
	if err != nil {
		return err
	}
	return c.Close()
}

func (s stopped) active(ctx context.Context) (string, error) {
	dsn, err := os.ReadFile(s.cfg.Ledger.Postgres.DSNFile)
	if err != nil {
		return "", fault.Wrap(err, fault.Usage, "bad-configuration", "open ledger", "the file of ledger.postgres.dsn_file cannot be read")
	}
	return postgres.Active(ctx, string(dsn))
}

func (s stopped) inspect(ctx context.Context) (doctor.Books, func() error, error) {
	dir := filepath.Join(s.cfg.Data, "ledger")
	if s.locked != nil {
		return nil, nil, lockedLedger(dir)
	}
	d := &daemon{Options: s.o, cfg: s.cfg, ring: s.ring}
	secret, keys, err := d.ledgerKeys()
	if err != nil {
		return nil, nil, err
	}
	p, err := s.cfg.parse()
	if err != nil {
		return nil, nil, err
	}
	i, err := sqlite.Inspect(ctx, sqlite.Config{Dir: dir, Key: secret, Network: s.cfg.Network.Fingerprint, Node: p.node, Keys: keys})
	if err != nil {
		return nil, nil, err
	}
	return i, i.Close, nil
}

// lockedLedger says of a ledger that there is no key for whether a process has it open all the same.
func lockedLedger(dir string) error {
	used, err := sqlite.InUse(dir)
	switch {
	case err != nil:
		return err
	case used:
		return fault.New(fault.Conflict, "in-use", "open ledger", "another process has the ledger open")
	}
	return fault.New(fault.Retry, "locked", "open ledger", "no process has it open; it was not read, as the keyring is locked").
		WithHint("add --unlock-passphrase-file FILE, or see what is found about the unlock key")
}
