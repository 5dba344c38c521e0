package testnet

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/hub"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/node"
	"github.com/enlace-network/enlace/internal/operator"
	"github.com/enlace-network/enlace/internal/registry"
)

const (
	networkName  = "test.enlace"
	readyWithin  = 30 * time.Second
	quickFactor  = 10 // scrypt cost of throw-away keys
	passwordText = "a passphrase of a test network"
)

// Options of a test network. Only Dir is required.
type Options struct {
	// Dir is where everything is kept.
	Dir string
	// States are the members; default mx, jm, br. Each gets one authority.
	States []string
	// Point makes the authority of each of these states its national point of contact.
	Point []string
	// Outbound are states whose nodes nobody can dial; SmallState those with the profile for a thin line.
	Outbound, SmallState []string
	// FourEyes goes into every node.yaml; default two-person.
	FourEyes string
	// Log is for all daemons; default none.
	Log *zap.Logger
	// Clock is for all; default the system's.
	Clock func() time.Time
	// Tell is told of each step; may be nil.
	Tell Progress
	// Relay is given each address at which a node will listen for others, and returns the one that they are told: that
	// of a relay which slows, cuts or records. Nil = they are told the first.
	Relay func(listen string) (string, error)
	// HubRelay is the same for the hub's two addresses, of the directory and of the bus.
	HubRelay func(listen string) (string, error)
	// Configure may change the configuration of a node, at path, before its first start; may be nil.
	Configure func(state, path string) error
	// Tiles is where the hub serves the log's tiles, host:port; default not at all.
	Tiles string
}

// Network is a hub and its members, running.
type Network struct {
	Options
	Fingerprint string
	HubAddr     string
	// BusAddr is where the hub's bus listens.
	BusAddr string
	// hubTold and busTold are what nodes are told instead.
	hubTold, busTold string
	// Hub is the hub's own directory; HubDir its folder.
	Hub      *hub.Daemon
	HubDir   string
	Members  []*Member
	stewards []*keyring.OfflineKey
	stopHub  func() error
	stops    []func() error
	// given are the addresses that freePort gave out.
	given []string
}

// authorities are made-up ones for the demo states, so that names differ in form and language.
func authorities() map[string]node.NewAuthority {
	out := map[string]node.NewAuthority{}
	for state, a := range map[string][3]string{
		"mx": {"fgr", "Fiscalía de Demostración", "es"}, "jm": {"constabulary", "Demonstration Constabulary", "en"},
		"br": {"pf", "Polícia de Demonstração", "pt"}, "ht": {"dcpj", "Direction de démonstration", "fr"},
	} {
		name, _ := authority.ParseName(state + "/" + a[0]) // constants
		lang, _ := authority.ParseLanguage(a[2])
		out[state] = node.NewAuthority{Name: name, Title: a[1], Language: lang, Type: "police"}
	}
	return out
}

// authorityOf is the made-up authority of a state.
func authorityOf(state string) (node.NewAuthority, error) {
	if a, ok := authorities()[state]; ok {
		return a, nil
	}
	name, err := authority.ParseName(state + "/police")
	if err != nil {
		return node.NewAuthority{}, err
	}
	lang, err := authority.ParseLanguage("en")
	return node.NewAuthority{Name: name, Title: "Demonstration Police", Language: lang, Type: "police"}, err
}

// Start builds and starts a network. When it fails, what had been started is stopped.
func Start(ctx context.Context, o Options) (*Network, error) {
	n := &Network{Options: o.filled()}
	for _, step := range []func(context.Context) error{n.found, n.startHub, n.startMembers} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.Stop())
		}
	}
	return n, nil
}

func (o Options) filled() Options {
	if len(o.States) == 0 {
		o.States = []string{"mx", "jm", "br"}
	}
	if o.FourEyes == "" {
		o.FourEyes = "two-person"
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Configure == nil {
		o.Configure = func(string, string) error { return nil }
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	straight := func(listen string) (string, error) { return listen, nil }
	if o.Relay == nil {
		o.Relay = straight
	}
	if o.HubRelay == nil {
		o.HubRelay = straight
	}
	return o
}

// Stop ends members, then hub, and returns the first failure of a daemon.
func (n *Network) Stop() error {
	var all []error
	for i := len(n.stops) - 1; i >= 0; i-- {
		all = append(all, n.stops[i]())
	}
	n.stops = nil
	return errors.Join(all...)
}

// found makes two stewards and the genesis that both sign.
func (n *Network) found(context.Context) error {
	n.HubDir = filepath.Join(n.Dir, "hub")
	var err error
	if n.HubAddr, err = n.freePort(); err != nil {
		return err
	}
	if n.BusAddr, err = n.freePort(); err != nil {
		return err
	}
	if n.hubTold, err = n.HubRelay(n.HubAddr); err != nil {
		return err
	}
	if n.busTold, err = n.HubRelay(n.BusAddr); err != nil {
		return err
	}
	var public []authority.PublicKey
	for _, name := range []string{"ana", "luis"} {
		if err := os.MkdirAll(n.Dir, 0o700); err != nil {
			return fault.Wrap(err, fault.Internal, "", "start network", "the folder cannot be made")
		}
		key, err := keyring.CreateOffline(filepath.Join(n.Dir, name+".steward"), name, quick())
		if err != nil {
			return err
		}
		n.stewards = append(n.stewards, key)
		public = append(public, key.Public())
	}
	made, err := hub.Init(hub.InitOptions{
		Dir: n.HubDir, Name: networkName, Stewards: public, Threshold: 2, Advertise: []string{n.hubTold}, Listen: n.HubAddr, ListenNATS: n.BusAddr,
		UnlockFile: filepath.Join(n.Dir, "hub.unlock"), UnlockOnDataDisk: true, Clock: n.Clock, Random: rand.Reader,
	})
	if err != nil {
		return err
	}
	genesis, err := n.signed(made.Payload, nil, role{directory.RoleSteward, n.stewards[0]}, role{directory.RoleSteward, n.stewards[1]})
	if err != nil {
		return err
	}
	n.Fingerprint, err = hub.Install(n.HubDir, directory.Bundle{Statements: []directory.Statement{genesis}}.Marshal())
	n.Tell("two stewards founded the network " + made.Fingerprint[:16] + "…")
	return err
}

func quick() keyring.Passphrase {
	return keyring.NewPassphrase(passwordText).WithWorkFactor(quickFactor)
}

// role is a key and what it signs as.
type role struct {
	as  directory.Role
	key *keyring.OfflineKey
}

// signed adds signatures to those that a payload has.
func (n *Network) signed(payload []byte, have []directory.Signature, by ...role) (directory.Statement, error) {
	for _, r := range by {
		value, err := r.key.Sign(directory.SigningPurpose(r.as), payload)
		if err != nil {
			return directory.Statement{}, err
		}
		have = append(have, directory.Signature{Algorithm: authority.Ed25519, Key: r.key.Public().Fingerprint(), Role: r.as, Value: value})
	}
	return directory.ParseStatement(directory.Attach(payload, have...))
}

func (n *Network) startHub(ctx context.Context) error {
	cfg, err := hub.LoadConfig(filepath.Join(n.HubDir, "directory.yaml"))
	if err != nil {
		return err
	}
	cfg.AdvertiseNATS, cfg.Listen.HTTPS = []string{n.busTold}, n.Tiles
	ready := make(chan *hub.Daemon, 1)
	stop, err := background(ctx, ready, func(ctx context.Context) error {
		return hub.Run(ctx, cfg, hub.Options{Clock: n.Clock, Log: n.Log, Ready: func(d *hub.Daemon) { ready <- d }})
	}, func(d *hub.Daemon) { n.Hub = d })
	n.stopHub = stop
	n.stops = append(n.stops, stop)
	n.Tell("the hub listens at " + n.HubAddr)
	return err
}

// StopHub ends the hub, and with it the bus.
func (n *Network) StopHub() error { return n.stopHub() }

// StartHub starts the hub again on its data and addresses. With wipe, all that the bus had is gone.
func (n *Network) StartHub(ctx context.Context, wipe bool) error {
	if wipe {
		if err := os.RemoveAll(filepath.Join(n.HubDir, "data", "bus")); err != nil {
			return fault.Wrap(err, fault.Internal, "", "start hub", "the data of the bus cannot be removed")
		}
	}
	return n.startHub(ctx)
}

// background runs a daemon until its stop function is called, and waits until it is ready.
func background[D any](ctx context.Context, ready <-chan D, run func(context.Context) error, keep func(D)) (func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop := func() error {
		cancel()
		err := <-ended
		ended <- nil
		return err
	}
	select {
	case d := <-ready:
		keep(d)
		return stop, nil
	case err := <-ended:
		ended <- nil
		if err == nil {
			err = fault.New(fault.Internal, "", "start daemon", "the daemon ended before it was ready")
		}
		return stop, err
	case <-time.After(readyWithin):
		return stop, fault.New(fault.Retry, "timeout", "start daemon", "the daemon was not ready in time")
	}
}

func (n *Network) startMembers(ctx context.Context) error {
	for _, s := range n.States {
		m, err := n.initMember(ctx, s)
		if err != nil {
			return err
		}
		n.Members = append(n.Members, m)
	}
	for _, m := range n.Members {
		if err := n.StartMember(ctx, m); err != nil {
			return err
		}
		if err := m.staff(ctx); err != nil {
			return err
		}
		n.Tell(m.Authority.String() + " is on the network")
	}
	return n.settle(ctx)
}

// initMember makes a node as its administrator would and has the stewards admit it.
func (n *Network) initMember(ctx context.Context, state string) (*Member, error) {
	a, err := authorityOf(state)
	if err != nil {
		return nil, err
	}
	a.NationalPointOfContact = slices.Contains(n.Point, state)
	peerAddr, err := n.freePort()
	if err != nil {
		return nil, err
	}
	advertise, profile, err := n.line(state, peerAddr)
	if err != nil {
		return nil, err
	}
	operatorAddr, err := n.freePort()
	if err != nil {
		return nil, err
	}
	name, err := authority.ParseNode(state + "/node/primary")
	if err != nil {
		return nil, err
	}
	m := &Member{State: name.State(), Authority: a.Name, Dir: filepath.Join(n.Dir, state), Passwords: map[string]string{}}
	made, err := node.Init(ctx, node.InitOptions{
		Dir: m.Dir, Node: name, Authorities: []node.NewAuthority{a}, NoteVerbale: "NV 1/2026", Fingerprint: n.Fingerprint, Hubs: []string{n.hubTold},
		Advertise: advertise, Listen: peerAddr, Profile: profile, OperatorGRPC: operatorAddr, FourEyes: n.FourEyes,
		Unlock:          node.InitUnlock{File: filepath.Join(n.Dir, state+".unlock"), OnDataDisk: true},
		StatePassphrase: func() (keyring.Passphrase, error) { return quick(), nil },
		Clock:           n.Clock, Random: rand.Reader,
	})
	if err != nil {
		return nil, err
	}
	if err := n.Configure(state, made.Config); err != nil {
		return nil, err
	}
	m.first, m.Passwords[made.User.String()] = made.User.String(), made.Password
	if m.StateKey, err = keyring.OpenOffline(made.StateKey, quick()); err != nil {
		return nil, err
	}
	if m.Trust, err = trustOf(made.OperatorCA); err != nil {
		return nil, err
	}
	m.Trust.Now = n.Clock
	return m, n.admit(ctx, made.Bundle)
}

// line is how others reach a state's node, and the profile it runs with.
func (n *Network) line(state, listen string) (advertise, profile string, err error) {
	if slices.Contains(n.SmallState, state) {
		profile = "small-state"
	}
	if slices.Contains(n.Outbound, state) {
		return "", profile, nil
	}
	advertise, err = n.Relay(listen)
	return advertise, profile, err
}

func trustOf(path string) (operator.Trust, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return operator.Trust{}, fault.Wrap(err, fault.Internal, "", "start network", "the CA file cannot be read")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return operator.Trust{Roots: pool}, nil
}

// freePort finds a loopback port that a daemon can be told of before it listens. It looks below the ports that the system
// gives to outgoing connections, or one of those would take it meanwhile, and gives none out twice.
func (n *Network) freePort() (string, error) {
	const low, high, tries = 15000, 32000, 64
	for range tries {
		port, err := rand.Int(rand.Reader, big.NewInt(high-low))
		if err != nil {
			return "", fault.Wrap(err, fault.Internal, "", "start network", "no randomness")
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", low+port.Int64()))
		if err != nil {
			continue
		}
		addr := l.Addr().String()
		_ = l.Close()
		if !slices.Contains(n.given, addr) {
			n.given = append(n.given, addr)
			return addr, nil
		}
	}
	return "", fault.New(fault.Internal, "", "start network", "no loopback port")
}

// admit has one steward verify and the other counter-sign, and hands the statements in.
func (n *Network) admit(ctx context.Context, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", "start network", "the application cannot be read")
	}
	bundle, err := directory.ParseBundle(b)
	if err != nil {
		return err
	}
	for _, st := range bundle.Statements {
		roles := []role{{directory.RoleVerify, n.stewards[0]}, {directory.RoleCountersign, n.stewards[1]}}
		if st.Kind() == directory.KindAdmitState {
			roles = []role{{directory.RoleSteward, n.stewards[0]}, {directory.RoleSteward, n.stewards[1]}}
		}
		whole, err := n.signed(st.Payload(), st.Signatures(), roles...)
		if err != nil {
			return err
		}
		if err := n.Propose(ctx, whole.Signed()); err != nil {
			return err
		}
	}
	return nil
}

// Propose hands a statement to the hub as the first steward.
func (n *Network) Propose(ctx context.Context, statement []byte) error {
	source := n.stewards[0].Source(n.Clock)
	client, err := registry.NewClient(n.HubAddr, n.Hub.Directory, n.Clock, func(verify func(tls.ConnectionState) error) *tls.Config {
		return source.ClientTLS(verify)
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	_, err = client.Propose(ctx, statement)
	return err
}

// Restrict drafts, signs by the state or by both stewards, and proposes a restricting statement.
func (n *Network) Restrict(ctx context.Context, by *keyring.OfflineKey, draft func(directory.Draft) ([]byte, error)) error {
	signed, err := n.Restriction(by, draft)
	if err != nil {
		return err
	}
	return n.Propose(ctx, signed)
}

// Restriction drafts a restricting statement at what the hub's log has, or had when it was stopped, and signs it by the
// state or by both stewards.
func (n *Network) Restriction(by *keyring.OfflineKey, draft func(directory.Draft) ([]byte, error)) ([]byte, error) {
	payload, err := draft(directory.Draft{Snapshot: n.Hub.Directory.Load(), Created: n.Clock(), Random: rand.Reader})
	if err != nil {
		return nil, err
	}
	roles := []role{{directory.RoleSteward, n.stewards[0]}, {directory.RoleSteward, n.stewards[1]}}
	if by != nil {
		roles = []role{{directory.RoleState, by}}
	}
	st, err := n.signed(payload, nil, roles...)
	if err != nil {
		return nil, err
	}
	return st.Signed(), nil
}

// StartMember starts, or starts again, a member's node on its data and addresses.
func (n *Network) StartMember(ctx context.Context, m *Member) error {
	cfg, err := node.LoadConfig(filepath.Join(m.Dir, "node.yaml"))
	if err != nil {
		return err
	}
	m.Config = cfg
	ready := make(chan *node.Daemon, 1)
	stop, err := background(ctx, ready, func(ctx context.Context) error {
		return node.Run(ctx, cfg, node.Options{Clock: n.Clock, Random: rand.Reader, Log: n.Log.Named(m.State.String()), Ready: func(d *node.Daemon) { ready <- d }})
	}, func(d *node.Daemon) { m.Daemon = d })
	m.stop = stop
	n.stops = append(n.stops, stop)
	return err
}

// settle waits until every member has the whole directory.
func (n *Network) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for _, m := range n.Members {
		for m.Daemon.Follower.Current().Load().Position() < n.Hub.Directory.Load().Position() {
			select {
			case <-ctx.Done():
				return fault.Wrap(ctx.Err(), fault.Retry, "timeout", "start network", m.Authority.String()+" did not get the directory in time")
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}
