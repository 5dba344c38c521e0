package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const opDiagnose = "examine node"

// Diagnose examines everything now: it implements operator.Doctor. One at a time: Retry "busy".
func (m monitor) Diagnose(ctx context.Context, peers []string, within time.Duration, examining func(string) error, found func(doctor.Finding) error) error {
	d := m.d
	if !d.diagnosing.TryLock() {
		return fault.New(fault.Retry, "busy", opDiagnose, "the node is being examined already")
	}
	defer d.diagnosing.Unlock()
	nodes, err := d.probed(peers)
	if err != nil {
		return err
	}
	return doctor.Examine(ctx, d.checks(nodes, within), examining, found)
}

// probed are the nodes that are sent a test message: those named, or all in good standing. NotFound names one that the
// directory does not have.
func (d *daemon) probed(names []string) ([]directory.NodeEntry, error) {
	view := d.follower.Current().Load().At(d.Clock())
	var out []directory.NodeEntry
	if len(names) == 0 {
		for _, n := range view.Nodes() {
			if n.Status == directory.Active && n.Node != d.parsed.node {
				out = append(out, n)
			}
		}
		return out, nil
	}
	for _, name := range names {
		nodes, err := nodesOf(view, name)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			known := slices.ContainsFunc(out, func(o directory.NodeEntry) bool { return o.Node == n.Node })
			if !known && n.Node != d.parsed.node {
				out = append(out, n)
			}
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Usage, "own-node", opDiagnose, "a node sends itself no test message").WithHint("name another state, such as --peer jm")
	}
	return out, nil
}

// nodesOf are the nodes that a name means: a node, that which serves an authority, or all of a state.
func nodesOf(view directory.View, name string) ([]directory.NodeEntry, error) {
	unknown := fault.New(fault.NotFound, "unknown-peer", opDiagnose, "the directory has no such node: "+name).WithHint("enlace directory ls shows who there is")
	if node, err := authority.ParseNode(name); err == nil {
		if n, ok := view.Node(node); ok {
			return []directory.NodeEntry{n}, nil
		}
		return nil, unknown
	}
	if a, err := authority.ParseName(name); err == nil {
		if entry, ok := view.Authority(a); ok {
			if n, ok := view.Node(entry.Node); ok {
				return []directory.NodeEntry{n}, nil
			}
		}
		return nil, unknown
	}
	state, err := authority.ParseState(name)
	if err != nil {
		return nil, fault.As(err).WithHint("name a state, an authority or a node: --peer jm, --peer jm/jcf, --peer jm/node/primary")
	}
	var out []directory.NodeEntry
	for _, n := range view.Nodes() {
		if n.Node.State() == state {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		return nil, unknown
	}
	return out, nil
}

// checks are all looks at a node that runs. The clock comes last: it is judged by what hub and peers have said.
func (d *daemon) checks(peers []directory.NodeEntry, within time.Duration) []doctor.Check {
	readings := &doctor.Readings{}
	all := []doctor.Check{
		doctor.CheckDisk(d.cfg.folders()),
		doctor.CheckKeyFile(d.cfg.asks(), d.reopen),
		d.peerCertificate().Check(),
		d.operatorCertificate().Check(),
		doctor.CheckLedger(d.ledger),
		doctor.CheckEvidence(d.ledger),
		doctor.CheckDirectory(d.log, d.Clock),
		doctor.CheckHub(d.askHub, d.Clock, readings),
		doctor.CheckBus(d.busState, d.queues, d.box),
		doctor.CheckQueues(d.queues, d.Clock),
		doctor.CheckFinding("proofs", d.component(monitor{d}.proofs)),
		doctor.CheckFinding("recovery", d.component(monitor{d}.recovery)),
		doctor.CheckPeers(d.prober, peers, within, readings),
	}
	return append(all, doctor.CheckClock(readings))
}

// folders are what the node keeps on its disks.
func (c Config) folders() []doctor.Folder {
	return []doctor.Folder{{Name: "data", Path: c.Data}, {Name: "attachments", Path: c.Attachments.Dir}}
}

// asks reports whether a person types the passphrase.
func (c Config) asks() bool { return c.Keyring.File.Unlock == "prompt" }

// reopen opens the keyring as the next start will.
func (d *daemon) reopen() (beside bool, err error) {
	_, beside, err = keyring.OpenConfigured(d.cfg.keySetting(), nil)
	return beside, err
}

func (c Config) keySetting() keyring.Setting {
	file := c.Keyring.File
	return keyring.Setting{Path: file.Path, Unlock: file.Unlock, OnDataDisk: file.UnlockOnDataDisk, Data: c.Data}
}

func (d *daemon) peerCertificate() doctor.Certificates {
	return doctor.Certificates{Name: "peer door", Clock: d.Clock, Leaf: leafOf(d.identity.Certificate), Issuers: d.ring.CACertificates,
		Declared: func() [][]byte {
			return d.follower.Current().Load().At(d.Clock()).CertificatePool(d.parsed.node.State())
		}}
}

func (d *daemon) operatorCertificate() doctor.Certificates {
	return doctor.Certificates{Name: "operator door", Clock: d.Clock, Issuers: d.ring.CACertificates,
		Leaf: leafOf(d.ring.OperatorSource(d.cfg.Operator.Hosts, d.Clock).Certificate)}
}

func leafOf(certificate func() (*tls.Certificate, error)) func() (*x509.Certificate, error) {
	return func() (*x509.Certificate, error) {
		c, err := certificate()
		if err != nil {
			return nil, err
		}
		return c.Leaf, nil
	}
}

func (d *daemon) log() doctor.Log {
	s := d.follower.Status()
	return doctor.Log{Freshness: s.Freshness.String(), Since: s.Since, Confirmed: s.Confirmed, Stored: s.Stored,
		Votes: len(s.Judgement.Votes), Needed: s.Judgement.Needed, Halted: s.Halted, Proofs: len(s.Proofs), Omitted: len(s.Omitted)}
}

// askHub asks for what the bus client asks for each hour: the answer has the time.
func (d *daemon) askHub(ctx context.Context) (doctor.Told, error) {
	a, err := d.follower.BusAccess(ctx, d.alerts.Filters())
	if err != nil || a.JWT == "" {
		return doctor.Told{}, err
	}
	at, err := bus.Issued(a.JWT)
	return doctor.Told{Bus: true, Time: at}, err
}

func (d *daemon) busState() doctor.BusState {
	s := d.bus.Status()
	return doctor.BusState{Configured: s.Configured, Connected: s.Connected, Last: s.Last, Dropped: s.Dropped}
}

func (d *daemon) box(ctx context.Context, to authority.Node) (doctor.Box, error) {
	b, err := d.bus.Box(ctx, bus.Mail, to)
	return doctor.Box{Messages: b.Messages, Bytes: b.Bytes, MaxMessages: b.MaxMessages, MaxBytes: b.MaxBytes}, err
}

// queues are what waits for other nodes, those without anything left out.
func (d *daemon) queues(ctx context.Context) ([]doctor.Queue, error) {
	s, err := d.exchange.Status(ctx)
	if err != nil {
		return nil, err
	}
	var out []doctor.Queue
	err = d.ledger.View(ctx, func(r ledger.Reader) error {
		for _, p := range s.Peers {
			rows, err := r.DeliveriesTo(p.Node, ledger.MaxPage)
			if err != nil {
				return err
			}
			if len(rows) > 0 {
				out = append(out, queueOf(rows, doctor.Queue{Node: p.Node, LastContact: p.LastContact, LastError: p.LastError}))
			}
		}
		return nil
	})
	return out, err
}

// queueOf counts what waits. When a message was made is in its ID.
func queueOf(rows []ledger.Delivery, q doctor.Queue) doctor.Queue {
	q.Waiting, q.More = len(rows), len(rows) == ledger.MaxPage
	for _, row := range rows {
		if made := row.Key.ID.Time(); q.Oldest.IsZero() || made.Before(q.Oldest) {
			q.Oldest = made
		}
		if q.Ends.IsZero() || row.Expires.Before(q.Ends) {
			q.Ends = row.Expires
		}
	}
	return q
}

// component is what the monitor says of a part, as a finding.
func (d *daemon) component(read func(context.Context) (*operatorv1.Component, error)) func(context.Context) ([]doctor.Finding, error) {
	return func(ctx context.Context) ([]doctor.Finding, error) {
		c, err := read(ctx)
		if err != nil {
			return nil, err
		}
		f := doctor.Finding{Component: c.GetName(), State: doctor.OK, Code: "none", Found: c.GetText()}
		if c.GetHealthy() {
			return []doctor.Finding{f}, nil
		}
		f.State, f.Code, f.Do = doctor.Failing, "kept", "somebody signed two things that exclude each other: keep the proof, show it to the stewards of the network, and telephone the issuer before acting on its alerts"
		if f.Component == "recovery" {
			f.Code, f.Do = "recovering", "while it recovers, wait, and see that the nodes waited for can be reached; afterwards telephone those that did not answer: what was exchanged with them after the backup is not here"
		}
		return []doctor.Finding{f}, nil
	}
}
