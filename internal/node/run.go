package node

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/wire"
)

const stopWithin = 10 * time.Second

// Options are what the world gives a daemon beside its configuration. Clock, Random and Log are required.
type Options struct {
	// Listeners that are already open, for tests and socket activation; nil ones are opened as configured.
	Peer, OperatorGRPC, OperatorHTTP net.Listener
	// Prompt asks a person for the passphrase of the keyring; nil where there is nobody to ask.
	Prompt keyring.Prompt
	Clock  func() time.Time
	Random io.Reader
	Log    *zap.Logger
	// Ready is called once all doors are open; may be nil.
	Ready func(*Daemon)
}

// Daemon is a running node as its own process may use it.
type Daemon struct {
	Node authority.Node
	// PeerAddr and OperatorAddr are where the doors listen; HTTPAddr is nil without a REST face.
	PeerAddr, OperatorAddr, HTTPAddr net.Addr
	Exchange                         *exchange.Exchange
	Alerts                           *alert.Desk
	Broadcast                        *broadcast.Broadcaster
	Bus                              *bus.Client
	Follower                         *registry.Follower
	Courier                          *peer.Courier
}

// daemon holds what was opened, in the order it was opened.
type daemon struct {
	Options
	cfg      Config
	parsed   parsed
	ring     *keyring.Ring
	beside   bool // the unlock key lies on the disk it protects
	identity *keyring.Source
	follower *registry.Follower
	trouble  trouble
	ledger   store
	backing  sync.Mutex // held while a backup is written
	desk     *people.Desk
	policy   *policy.Set
	courier  *peer.Courier
	mesh     *peer.Mesh
	// collector lends connections to peers where nobody can dial this node.
	collector *peer.Collector
	lists     message.Lists
	exchange  *exchange.Exchange
	// The one-to-many road.
	bus       *bus.Client
	broadcast *broadcast.Broadcaster
	alerts    *alert.Desk
	// What the doctor asks of other nodes, and answers them.
	prober     doctor.Prober
	probes     *doctor.Answerer
	diagnosing sync.Mutex // held while the node is examined
	closers    []func() error
}

// Run opens everything, serves until ctx ends or a part fails, and closes everything in reverse order. What was
// acknowledged is on disk at every moment, so it does not matter how a daemon ends.
func Run(ctx context.Context, cfg Config, o Options) error {
	p, err := cfg.parse()
	if err != nil {
		return err
	}
	for lives := 0; ; lives++ {
		err := runLife(ctx, cfg, p, o)
		if fault.CodeOf(err) != exchange.CodeNewer || lives >= mostLives || ctx.Err() != nil {
			return err
		}
		// Another machine took this incarnation's number while it recovered.
		if err := BeginAgain(cfg, o.Random); err != nil {
			return err
		}
	}
}

// mostLives is how many incarnations one run begins: more mean that two machines are recovering against each other.
const mostLives = 8

// runLife is Run in one incarnation.
func runLife(ctx context.Context, cfg Config, p parsed, o Options) error {
	d := &daemon{Options: o, cfg: cfg, parsed: p}
	for _, open := range []func(context.Context) error{
		d.openData, d.openKeys, d.openDirectory, d.openLedger, d.openPeople, d.openPolicy, d.openExchange, d.openAlerts, d.openProbes, d.syncData, d.openListeners,
	} {
		if err := open(ctx); err != nil {
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				err = nil // a standby that was told to wait no more
			}
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

func (d *daemon) openData(context.Context) error {
	for _, dir := range []string{d.cfg.Data, d.cfg.Attachments.Dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fault.Wrap(err, fault.Internal, "", "open data", "the data directory cannot be made: "+dir)
		}
	}
	return nil
}

// syncData makes the names of the folders durable that were just made, before anything in them is acknowledged: a file that
// is synced is lost in a power cut all the same where the name of its folder was not. P1.
func (d *daemon) syncData(context.Context) error {
	entries, err := os.ReadDir(d.cfg.Data)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", "open data", "the data directory cannot be read: "+d.cfg.Data)
	}
	folders := []string{filepath.Dir(d.cfg.Data), d.cfg.Data, filepath.Dir(d.cfg.Attachments.Dir)}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, filepath.Join(d.cfg.Data, e.Name()))
		}
	}
	for _, folder := range folders {
		// What this account may not even read, it has made no folder in.
		if err := syncFolder(folder); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	return nil
}

func (d *daemon) openKeys(context.Context) error {
	file := d.cfg.Keyring.File
	setting := keyring.Setting{Path: file.Path, Unlock: file.Unlock, OnDataDisk: file.UnlockOnDataDisk, Data: d.cfg.Data}
	var err error
	d.ring, d.beside, err = keyring.OpenConfigured(setting, d.Prompt)
	if d.beside {
		d.Log.Warn("the unlock key lies on the disk it protects: whoever takes the disk can open it")
	}
	return err
}

// openDirectory reads the node's own copy of the statements, verified from the genesis on.
func (d *daemon) openDirectory(context.Context) error {
	dir := filepath.Join(d.cfg.Data, "directory")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(err, fault.Internal, "", "open data", "the data directory cannot be made: "+dir)
	}
	genesis, err := keptGenesis(d.cfg.Data)
	if err != nil {
		return err
	}
	if err := d.openFollower(dir, genesis); err != nil {
		return err
	}
	id, err := authority.NodeID(d.parsed.node, d.follower.Current().Load().NetworkName())
	if err != nil {
		return err
	}
	d.ring.Prefer(d.declared)
	d.identity = d.ring.NodeSource(id, d.cfg.peerHosts(), d.Clock)
	return nil
}

// peerHosts are for humans with a TLS client; trust goes by the SPIFFE ID alone.
func (c Config) peerHosts() []string {
	if host, _, err := net.SplitHostPort(c.Peer.Advertise); err == nil && host != "" {
		return []string{host}
	}
	return nil
}

func (d *daemon) openPolicy(context.Context) error {
	if d.cfg.Policy.Dir == "" {
		var err error
		d.policy, err = policy.Load(nil)
		return err
	}
	own, err := os.OpenRoot(d.cfg.Policy.Dir) // no link leads out of it
	if err != nil {
		return fault.Wrap(err, fault.Usage, "bad-policy", "open policy", "the directory of rules cannot be opened: "+d.cfg.Policy.Dir)
	}
	defer own.Close()
	d.policy, err = policy.Load(own.FS())
	return err
}

func (d *daemon) openExchange(ctx context.Context) error {
	var err error
	if d.lists, err = message.LoadLists(); err != nil {
		return err
	}
	nodeKey, err := d.nodeKey()
	if err != nil {
		return err
	}
	current := d.follower.Current()
	d.courier = peer.NewCourier(current, d.Clock, func(n authority.Node) *tls.Config {
		return d.identity.ClientTLS(wire.ThisNode(current, d.Clock, n).Verify)
	})
	d.closers = append(d.closers, func() error { d.courier.Close(); return nil })
	if d.thin() {
		d.courier.SmallState()
	}
	d.openMesh()
	d.exchange = exchange.New(exchange.Options{
		Node: d.parsed.node, NodeKey: nodeKey, Incarnation: d.ledger.Identity().Incarnation, Ledger: d.ledger, Keys: d.ring,
		Directory: known{d.follower}, Courier: d.courier, Lists: d.lists, Spool: d.cfg.Attachments.Dir, PeerQuota: d.cfg.Attachments.PeerQuota, FourEyes: d.parsed.fourEyes,
		Gate: d.gate(), Peers: d.courier,
		Clock: d.Clock, Random: d.Random, Log: d.Log,
	})
	if err := d.exchange.Settle(ctx); err != nil {
		return err
	}
	return d.exchange.Sweep(ctx)
}

func (d *daemon) gate() gate { return gate{d.policy, d.parsed.mode, d.parsed.language, d.Clock} }

func (d *daemon) openListeners(context.Context) error {
	open := func(l *net.Listener, addr string) error {
		if *l != nil || addr == "" {
			return nil
		}
		var err error
		if *l, err = net.Listen("tcp", addr); err != nil {
			return fault.Wrap(err, fault.Usage, "in-use", "open door", "the address cannot be listened on: "+addr).
				WithHint("another program may use it; change the address in node.yaml")
		}
		return nil
	}
	if !d.cfg.Peer.OutboundOnly && d.Peer == nil {
		var err error
		if d.Peer, err = wire.Listen(d.cfg.Peer.Listen, d.thin()); err != nil {
			return fault.As(err).WithHint("another program may use it; change the address in node.yaml")
		}
	}
	return errors.Join(open(&d.OperatorGRPC, d.cfg.Operator.GRPC), open(&d.OperatorHTTP, d.cfg.Operator.HTTP))
}

// serve runs the doors and the loops until ctx ends or one of them fails; then the others end too.
func (d *daemon) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.follower.Run(ctx) })
	g.Go(func() error { return d.ledger.Hold(ctx) })
	g.Go(func() error { return d.mesh.Run(ctx) })
	g.Go(func() error { return d.exchange.Run(ctx) })
	g.Go(func() error { return d.untilOver(ctx) })
	g.Go(func() error { return d.broadcast.Run(ctx) })
	g.Go(func() error { return d.alerts.Run(ctx) })
	g.Go(func() error { return d.bus.Run(ctx) })
	g.Go(func() error { return giveBack(ctx) })
	s := d.peerServer()
	if d.Peer != nil {
		g.Go(func() error { return s.Serve(d.Peer) })
	}
	g.Go(func() error { return s.Serve(d.collector.Listener()) })
	g.Go(func() error { return d.collector.Run(ctx) })
	g.Go(func() error { <-ctx.Done(); s.Shut(stopWithin); return nil })
	door := operator.New(d.operatorConfig())
	g.Go(func() error { return door.Run(ctx, d.OperatorGRPC, d.OperatorHTTP) })
	d.tellReady()
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (d *daemon) peerServer() *wire.Server {
	identity := wire.MemberIdentity(d.follower.Current(), d.Clock)
	s := wire.NewServer(peer.Bound(wire.ServerOptions{
		TLS: d.identity.ServerTLS(identity.Verify), Authorise: identity.Authorise(peer.Allow),
		Changed: identity.Changed, Log: d.Log, Limits: wire.Limits{MaxMessage: message.MaxEnvelope + 4<<10}, Thin: d.thin(),
	}))
	peer.Register(s, d.exchange, settledRoad{d.broadcast, d.probes, d.exchange}, shelf{d.exchange, d.alerts}, d.mesh)
	return s
}

func (d *daemon) operatorConfig() operator.Config {
	adapter := requests{d.exchange}
	return operator.Config{
		Requests: adapter, Attachments: adapter, Alerts: alerts{d.alerts}, Subscriptions: subscriptions{d.alerts}, People: d.desk, Policy: d.policy, Mode: d.parsed.mode, Directory: known{d.follower}, Contacts: known{d.follower},
		Monitor: monitor{d}, Backups: backups{d}, Doctor: monitor{d}, Node: d.parsed.node, TLS: d.ring.OperatorSource(d.cfg.Operator.Hosts, d.Clock).OperatorTLS(),
		Chain: d.ring.CACertificates(), Origins: d.cfg.Operator.CORS, Language: d.parsed.language, Now: d.Clock, Log: d.Log,
	}
}

func (d *daemon) tellReady() {
	daemon := &Daemon{Node: d.parsed.node, Exchange: d.exchange, Alerts: d.alerts, Broadcast: d.broadcast, Bus: d.bus, Follower: d.follower, Courier: d.courier}
	for l, addr := range map[net.Listener]*net.Addr{d.Peer: &daemon.PeerAddr, d.OperatorGRPC: &daemon.OperatorAddr, d.OperatorHTTP: &daemon.HTTPAddr} {
		if l != nil {
			*addr = l.Addr()
		}
	}
	d.Log.Info("ready", zap.Stringer("node", d.parsed.node), zap.Any("peer", daemon.PeerAddr), zap.Any("operator", daemon.OperatorAddr))
	if d.Ready != nil {
		d.Ready(daemon)
	}
}

// openPeople opens the accounts, and makes the first one where the set-up left word of it.
func (d *daemon) openPeople(ctx context.Context) error {
	store := d.ledger.People()
	key, err := firstKey(d.ring)
	if err != nil {
		return err
	}
	if err := welcome(ctx, store, filepath.Join(d.cfg.Data, firstFile), key, d.Clock()); err != nil {
		return err
	}
	d.desk, err = people.New(store, people.Config{}, d.Clock, d.Random)
	return err
}
