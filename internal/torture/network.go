package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/node"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// states are the members of the network.
func states() []string { return []string{"mx", "jm", "br"} }

// network is the hub, the states and their officers.
type network struct {
	dir, fingerprint string
	machines         map[string]*machine
	people           map[string]*people
	relays           []*relay
	// ahead is how far the clocks of all are before the system's; see [network.letPass].
	ahead atomic.Int64
}

// letPass has time pass everywhere at once.
func (n *network) letPass(d time.Duration) error {
	n.ahead.Add(int64(d))
	var all []error
	for _, m := range n.machines {
		all = append(all, m.setClock(time.Duration(n.ahead.Load())))
	}
	return errors.Join(all...)
}

// now is the time by the clocks that are right.
func (n *network) now() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) }

// people are the officers of a state, each with a session that outlives the node's processes.
type people struct {
	state                          string
	authority                      authority.Name
	officer, approver, duty, admin *operator.Client
}

// found makes the disks and the network by its ordinary ceremonies, and ends with all daemons stopped. Program is what
// the daemons run from then on; served puts the states' ledgers into PostgreSQL.
func found(ctx context.Context, dir, faultfs, program string, served bool) (_ *network, err error) {
	n := &network{dir: dir, machines: map[string]*machine{}, people: map[string]*people{}}
	defer func() {
		if err != nil {
			_ = n.close()
		}
	}()
	for _, name := range append([]string{hubName}, states()...) {
		m := &machine{name: name, dir: filepath.Join(dir, name), program: program, which: "node", clock: filepath.Join(dir, name+".clock"), log: filepath.Join(dir, name+".log"), unlock: filepath.Join(dir, name+".unlock")}
		m.config = m.path("node.yaml")
		if name == hubName {
			m.which, m.config = hubName, m.path("directory.yaml")
		}
		if m.disk, err = mount(faultfs, m.dir); err != nil {
			return n, err
		}
		n.machines[name] = m
		if err := m.setClock(0); err != nil {
			return n, err
		}
	}
	configure := func(state, config string) error {
		if err := n.insure(state, config); err != nil || !served {
			return err
		}
		return n.serve(ctx, state, config)
	}
	founded, err := testnet.Start(ctx, testnet.Options{Dir: dir, States: states(), Relay: n.relay, HubRelay: n.relay, Configure: configure})
	if err != nil {
		return n, err
	}
	return n, errors.Join(n.adopt(ctx, founded), founded.Stop())
}

// insure makes the state's recovery key, so that the node can be backed up.
func (n *network) insure(state, config string) error {
	m := n.machines[state]
	key, err := keyring.CreateRecovery(m.unlock+".recovery", keyring.NewPassphrase("words of a tortured state").WithWorkFactor(10))
	if err != nil {
		return err
	}
	cfg, err := node.LoadConfig(config)
	if err != nil {
		return err
	}
	ring, err := keyring.Open(m.path("keys", "keyring.age"), keyring.UnlockFile(m.unlock))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return failed("found network", err)
	}
	m.recovery = key
	return node.SetRecovery(cfg, ring, key.Recipient())
}

// serve puts a state's ledger into a PostgreSQL server on the same machine.
func (n *network) serve(ctx context.Context, state, config string) error {
	m := n.machines[state]
	var err error
	if m.server, err = newServer(ctx, m); err != nil {
		return err
	}
	if err := settle(m.path("postgres.dsn"), []byte(m.server.dsn())); err != nil {
		return err
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return failed("found network", err)
	}
	const before, after = "\n  backend: sqlite\n", "\n  backend: postgres\n  postgres: {dsn_file: postgres.dsn}\n"
	if !bytes.Contains(text, []byte(before)) {
		return failed("found network", errors.New("the configuration names no ledger"))
	}
	return settle(config, bytes.Replace(text, []byte(before), []byte(after), 1))
}

// settle writes a file and syncs it: what an administrator wrote is on the disk, also where the power is cut later.
func settle(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return failed("write file", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	folder, ferr := os.Open(filepath.Dir(path))
	if ferr == nil {
		ferr = errors.Join(folder.Sync(), folder.Close())
	}
	return failed("write file", errors.Join(err, ferr))
}

// relay puts one before a door.
func (n *network) relay(door string) (string, error) {
	r, err := newRelay(door)
	if err != nil {
		return "", err
	}
	n.relays = append(n.relays, r)
	return r.addr(), nil
}

// before are the relays that stand before these doors.
func (n *network) before(doors ...string) []*relay {
	return slices.DeleteFunc(slices.Clone(n.relays), func(r *relay) bool { return !slices.Contains(doors, r.to) })
}

// adopt takes doors, relays and people over from the network as it was founded.
func (n *network) adopt(ctx context.Context, founded *testnet.Network) error {
	n.fingerprint = founded.Fingerprint
	h := n.machines[hubName]
	h.door, h.relays = founded.HubAddr, n.before(founded.HubAddr, founded.BusAddr)
	if err := n.placeBus(founded); err != nil {
		return err
	}
	for _, member := range founded.Members {
		m := n.machines[member.State.String()]
		m.door, m.relays = member.Config.Operator.GRPC, n.before(member.Config.Peer.Listen)
		if len(m.relays) != 1 {
			return failed("found network", fmt.Errorf("%d relays before the door of %s", len(m.relays), m.name))
		}
		member.Trust.Now = n.now
		p, err := enlist(ctx, member, m.door)
		if err != nil {
			return err
		}
		n.people[m.name] = p
	}
	for _, member := range founded.Members {
		if _, err := member.Subscribe(ctx, &operatorv1.Subscription{Categories: ">"}); err != nil {
			return err
		}
	}
	return nil
}

// placeBus writes into the hub's configuration where nodes are told that its bus is.
func (n *network) placeBus(founded *testnet.Network) error {
	relays := n.before(founded.BusAddr)
	if len(relays) != 1 {
		return failed("found network", errors.New("the bus has no relay"))
	}
	line, err := json.Marshal([]string{relays[0].addr()})
	if err != nil {
		return failed("found network", err)
	}
	text, err := os.ReadFile(n.machines[hubName].config)
	if err != nil {
		return failed("found network", err)
	}
	return settle(n.machines[hubName].config, fmt.Appendf(text, "\nadvertise_nats: %s\n", line))
}

func (p *people) all() []*operator.Client {
	return []*operator.Client{p.officer, p.approver, p.duty, p.admin}
}

// enlist logs the officers of a member in.
func enlist(ctx context.Context, member *testnet.Member, door string) (*people, error) {
	p := &people{state: member.State.String(), authority: member.Authority}
	clients := map[string]**operator.Client{"officer": &p.officer, "approver": &p.approver, "duty": &p.duty}
	for name := range member.Passwords {
		if clients[name] == nil {
			clients[name] = &p.admin // the first account
		}
	}
	for name, client := range clients {
		stranger, err := operator.Dial(door, member.Trust, "")
		if err != nil {
			return nil, err
		}
		session, err := stranger.Session.Login(ctx, &operatorv1.LoginRequest{User: name, Password: member.Passwords[name]})
		_ = stranger.Close()
		if err != nil {
			return nil, err
		}
		if *client, err = operator.Dial(door, member.Trust, session.GetToken()); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// start starts all machines, the hub first.
func (n *network) start(ctx context.Context) error {
	for _, name := range append([]string{hubName}, states()...) {
		if m := n.machines[name]; !m.up() {
			if err := m.start(ctx); err != nil {
				return err
			}
		}
	}
	return n.answers(ctx)
}

// answers waits until the clients of all officers have found their nodes again.
func (n *network) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for state, p := range n.people {
		for _, c := range p.all() {
			for {
				_, err := c.Session.WhoAmI(ctx, &operatorv1.WhoAmIRequest{})
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					return fmt.Errorf("the door of %s does not answer its officers: %w", state, err)
				}
				pause(ctx, 50*time.Millisecond)
			}
		}
	}
	return nil
}

// stopNodes ends the nodes as an administrator does.
func (n *network) stopNodes() error {
	var all []error
	for _, name := range states() {
		all = append(all, n.machines[name].stop())
	}
	return errors.Join(all...)
}

// close ends everything and unmounts the disks.
func (n *network) close() error {
	var all []error
	for _, p := range n.people {
		for _, c := range p.all() {
			if c != nil {
				_ = c.Close()
			}
		}
	}
	for _, m := range n.machines {
		m.crash()
	}
	for _, r := range n.relays {
		r.close()
	}
	for _, m := range n.machines {
		if m.disk != nil {
			all = append(all, m.disk.close())
		}
	}
	return errors.Join(all...)
}

// panics are the machines whose programs have panicked.
func (n *network) panics() []Violation {
	var all []Violation
	for _, name := range append([]string{hubName}, states()...) {
		if text := n.machines[name].panicked(); text != "" {
			all = append(all, Violation{Rule: "panic", State: name, Text: string(bytes.TrimSpace([]byte(text))), Lasting: true})
		}
	}
	return all
}
