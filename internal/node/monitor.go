package node

import (
	"context"
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// monitor tells the administrator how the node is.
type monitor struct{ d *daemon }

// Status looks at every part now; nothing is cached.
func (m monitor) Status(ctx context.Context) (*operatorv1.GetStatusResponse, error) {
	d := m.d
	s, err := d.exchange.Status(ctx)
	if err != nil {
		return nil, err
	}
	snapshot := d.follower.Current().Load()
	i := d.ledger.Identity().Incarnation
	out := &operatorv1.GetStatusResponse{
		Node: d.parsed.node.String(), Network: snapshot.NetworkID(), Incarnation: fmt.Sprintf("%d-%x", i.Counter, i.Random),
		Position: snapshot.Position(), EvidenceSize: s.Events, EvidenceRoot: s.Root.String(), Version: Version(),
		Peers: peersOf(s.Peers),
	}
	freshness, _ := known{d.follower}.Freshness(d.Clock())
	out.Freshness = freshness
	out.Components = append(m.directory(),
		m.certificate(out),
		m.unlock(),
		m.bus(),
		&operatorv1.Component{Name: "policy", Healthy: true, Text: fmt.Sprintf("%d rules, digest %x", len(d.policy.Rules()), d.policy.Digest())},
	)
	proofs, err := m.proofs(ctx)
	if err != nil {
		return nil, err
	}
	recovery, err := m.recovery(ctx)
	if err != nil {
		return nil, err
	}
	out.Components = append(out.Components, proofs, recovery)
	return out, nil
}

// bus is red while the hub has one that this node does not reach: alerts go by the direct road then, which costs more.
func (m monitor) bus() *operatorv1.Component {
	s := m.d.bus.Status()
	switch {
	case !s.Connected.IsZero():
		text := "connected"
		if s.Dropped > 0 {
			text += fmt.Sprintf("; %d alerts came faster than they could be taken and come by the direct road", s.Dropped)
		}
		return &operatorv1.Component{Name: "bus", Healthy: true, Text: text, Since: milli(s.Connected)}
	case !s.Configured:
		return &operatorv1.Component{Name: "bus", Healthy: true, Text: "the hub names none; alerts go by the direct road"}
	}
	text := "not connected; alerts go by the direct road"
	if s.Last != nil {
		text += ": " + fault.As(s.Last).Say
	}
	return &operatorv1.Component{Name: "bus", Text: text}
}

// proofShown is how long a proof against another node keeps the monitor red; it is kept for ever.
const proofShown = 30 * 24 * time.Hour

// proofs are red while some node was lately caught signing two things that contradict each other. PROTOCOL 7.3, 7.5.
func (m monitor) proofs(ctx context.Context) (*operatorv1.Component, error) {
	all, err := m.d.broadcast.Proofs(ctx)
	if err != nil || len(all) == 0 {
		return &operatorv1.Component{Name: "proofs", Healthy: true, Text: "no node was caught telling two stories"}, err
	}
	newest := all[0]
	return &operatorv1.Component{
		Name: "proofs", Healthy: m.d.Clock().Sub(newest.Time) > proofShown, Since: milli(newest.Time),
		Text: fmt.Sprintf("%d kept; the newest against %s (%s): two signed statements that contradict each other", len(all), newest.Node, newest.Kind),
	}, nil
}

func peersOf(peers []exchange.PeerStatus) []*operatorv1.PeerInfo {
	var out []*operatorv1.PeerInfo
	for _, p := range peers {
		out = append(out, &operatorv1.PeerInfo{Node: p.Node.String(), LastContact: milli(p.LastContact), Queued: uint64(p.Queued), LastError: p.LastError})
	}
	return out
}

// certificate also fills the expiry that a monitor reads.
func (m monitor) certificate(out *operatorv1.GetStatusResponse) *operatorv1.Component {
	c := &operatorv1.Component{Name: "certificate"}
	cert, err := m.d.identity.Certificate()
	if err != nil {
		c.Text = "the node's certificate cannot be renewed: look at the CA key in the keyring"
		return c
	}
	out.CertificateExpires = cert.Leaf.NotAfter.UnixMilli()
	c.Healthy, c.Text = true, "valid until "+cert.Leaf.NotAfter.UTC().Format("2006-01-02 15:04")+" UTC, renewed by itself"
	return c
}

// unlock is red as long as the key to the keyring lies on the disk it protects. DESIGN 5.
func (m monitor) unlock() *operatorv1.Component {
	if m.d.beside {
		return &operatorv1.Component{Name: "unlock-key", Text: "the unlock key lies on the disk it protects; move it to another device, systemd credentials or a passphrase"}
	}
	return &operatorv1.Component{Name: "unlock-key", Healthy: true, Text: "kept apart from the data"}
}
