package hub

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/merkle"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	opStart    = "start hub"
	stopWithin = 5 * time.Second
)

// Options are what the world gives the hub beside its configuration. Clock and Log are required.
type Options struct {
	// GRPC is a listener that is already open, for tests and socket activation; nil = as configured.
	GRPC net.Listener
	// HTTPS is the same for the tiles; nil = as configured.
	HTTPS net.Listener
	// NATS is where the embedded bus listens instead of as configured, host:port; port 0 is any free one. For tests.
	NATS string
	// Prompt asks a person for the passphrase of the keyring; nil where there is nobody to ask.
	Prompt keyring.Prompt
	Clock  func() time.Time
	Log    *zap.Logger
	// Ready is called once the door is open; may be nil.
	Ready func(*Daemon)
}

// Daemon is a running hub as its own process may use it.
type Daemon struct {
	Addr net.Addr
	// HTTPSAddr is where the tiles are served; nil where they are not.
	HTTPSAddr net.Addr
	// BusAddr is where the embedded bus listens, host:port; empty where there is none.
	BusAddr   string
	Directory *directory.Current
	// Fingerprint is the network's, 64 hexadecimal digits.
	Fingerprint string
}

// daemon holds what was opened, in the order it was opened.
type daemon struct {
	Options
	cfg     Config
	ring    *keyring.Ring
	service *registry.Service
	bus     *bus.Bus // nil where it is off
	server  *wire.Server
	source  *keyring.Source
	web     *http.Server // nil where the tiles are not served
	closers []func() error
}

// Run opens everything, serves until ctx ends or a part fails, and closes everything in reverse order. What was
// acknowledged is on disk at every moment, so it does not matter how a hub ends. A second one on the same data is
// refused (Conflict "data-in-use").
func Run(ctx context.Context, cfg Config, o Options) error {
	if err := cfg.check(); err != nil {
		return err
	}
	d := &daemon{Options: o, cfg: cfg}
	for _, open := range []func() error{d.openData, d.openKeys, d.openDirectory, d.openBus, d.openDoor, d.syncData, d.openListener, d.openTiles} {
		if err := open(); err != nil {
			return errors.Join(err, d.close())
		}
	}
	return errors.Join(d.serve(ctx), d.close())
}

func (d *daemon) close() error {
	var all []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		all = append(all, d.closers[i]())
	}
	return errors.Join(all...)
}

func (d *daemon) openData() error {
	if err := os.MkdirAll(d.cfg.Data, 0o700); err != nil {
		return fault.Wrap(err, fault.Usage, "no-folder", opStart, "the data folder cannot be made: "+d.cfg.Data)
	}
	return nil
}

// syncData makes the names of the folders durable that were just made, before anything in them is acknowledged: a file that
// is synced is lost in a power cut all the same where the name of its folder was not. P1.
func (d *daemon) syncData() error {
	entries, err := os.ReadDir(d.cfg.Data)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "no-folder", opStart, "the data folder cannot be read: "+d.cfg.Data)
	}
	folders := []string{filepath.Dir(d.cfg.Data), d.cfg.Data}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, filepath.Join(d.cfg.Data, e.Name()))
		}
	}
	for _, folder := range folders {
		// What this account may not even read, it has made no folder in.
		if err := syncFolder(folder); err != nil && !errors.Is(err, os.ErrPermission) {
			return fault.Wrap(err, fault.Internal, "", opStart, "the folder cannot be synced: "+folder)
		}
	}
	return nil
}

func (d *daemon) openKeys() error {
	file := d.cfg.Keyring.File
	setting := keyring.Setting{Path: file.Path, Unlock: file.Unlock, OnDataDisk: file.UnlockOnDataDisk, Data: d.cfg.Data}
	ring, beside, err := keyring.OpenConfigured(setting, d.Prompt)
	d.ring = ring
	if beside {
		d.Log.Warn("the unlock key lies on the disk it protects: whoever takes the disk can open it")
	}
	return err
}

func (d *daemon) openDirectory() error {
	genesis, err := readGenesis(d.cfg.Network.GenesisFile)
	if err != nil {
		return err
	}
	signer, err := d.ring.NoteSigner(keyring.HubLog)
	if err != nil {
		return err
	}
	parties, err := d.cfg.parties()
	if err != nil {
		return err
	}
	d.service, err = registry.OpenService(registry.ServiceOptions{Data: d.cfg.Data, Tiles: d.cfg.Log.Tiles, Genesis: genesis.Signed(),
		Signer: signer, LogKeys: func(k authority.PublicKey) (merkle.Signer, error) { return d.ring.LogSigner(k) }, Parties: parties, Now: d.Clock, Log: d.Log})
	if err != nil {
		return err
	}
	d.closers = append(d.closers, d.service.Close)
	return nil
}

// openDoor makes the server. Anyone with a certificate may connect; registry.Allow says what is left for whom.
func (d *daemon) openDoor() error {
	current := d.service.Current()
	id, err := authority.HubID(current.Load().NetworkName())
	if err != nil {
		return err
	}
	hosts, err := d.cfg.hosts()
	if err != nil {
		return err
	}
	d.source = d.ring.HubSource(id, hosts, d.Clock)
	if _, err := d.source.Certificate(); err != nil { // now, not at the first caller's expense
		return err
	}
	identity := wire.VisitorIdentity(current, d.Clock)
	d.server = wire.NewServer(wire.ServerOptions{TLS: d.source.ServerTLS(identity.Verify),
		Authorise: identity.Authorise(d.service.Allow), Changed: current.Changed, Log: d.Log, Strangers: registry.Strangers()})
	directoryv1.RegisterDirectoryServiceServer(d.server, d.service)
	return nil
}

func (d *daemon) openListener() error {
	if d.GRPC != nil {
		return nil
	}
	l, err := net.Listen("tcp", d.cfg.Listen.GRPC)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "no-listener", opStart, "the address of listen.grpc cannot be opened: "+d.cfg.Listen.GRPC)
	}
	d.GRPC = l
	return nil
}

// serve runs until ctx ends, the listener fails, or the disk does: then nothing more could be acknowledged.
func (d *daemon) serve(ctx context.Context) error {
	snapshot, addr := d.service.Current().Load(), ""
	if d.bus != nil {
		addr = d.bus.Addr()
	}
	d.Log.Info("ready", zap.String("network", snapshot.NetworkName()), zap.String("fingerprint", snapshot.NetworkID()),
		zap.Uint64("position", snapshot.Position()), zap.Stringer("grpc", d.GRPC.Addr()), zap.String("nats", addr))
	if d.Ready != nil {
		told := &Daemon{Addr: d.GRPC.Addr(), BusAddr: addr, Directory: d.service.Current(), Fingerprint: snapshot.NetworkID()}
		if d.HTTPS != nil {
			told.HTTPSAddr = d.HTTPS.Addr()
		}
		d.Ready(told)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := d.server.Serve(d.GRPC); ctx.Err() == nil {
			return err
		}
		return nil // it was stopped, perhaps before it began
	})
	if d.web != nil {
		group.Go(func() error { return d.serveTiles(ctx) })
	}
	if d.bus != nil {
		group.Go(func() error { return d.bus.Run(ctx) })
	}
	group.Go(func() error {
		var err error
		select {
		case <-ctx.Done():
		case <-d.service.Failed():
			err = fault.New(fault.Internal, "disk", opStart, "the disk failed, so nothing more can be acknowledged")
		}
		d.service.Release()
		d.server.Shut(stopWithin)
		return err
	})
	return group.Wait()
}

// readGenesis reads the signed genesis from its file.
func readGenesis(path string) (directory.Statement, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return directory.Statement{}, fault.Wrap(err, fault.Usage, "no-genesis", opStart, "the network has no signed genesis yet: "+path).
			WithHint("have every steward sign the draft, then install it")
	}
	if err != nil {
		return directory.Statement{}, fault.Wrap(err, fault.Usage, "no-genesis", opStart, "the genesis cannot be read: "+path)
	}
	return parseGenesis(b)
}

func parseGenesis(b []byte) (directory.Statement, error) {
	bundle, err := directory.ParseBundle(b)
	if err != nil {
		return directory.Statement{}, err
	}
	if len(bundle.Statements) != 1 || bundle.Statements[0].Kind() != directory.KindGenesis {
		return directory.Statement{}, fault.New(fault.Invalid, "no-genesis", opStart, "the file does not hold one genesis and nothing else")
	}
	return bundle.Statements[0], nil
}
