package doctor

import (
	"context"
	"io"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	opProbe = "probe node"
	// probeLife is how long a probe may be delivered: it is never tried again.
	probeLife = 10 * time.Minute
	// longestProbe is what is taken from others. PROTOCOL 7.6.
	longestProbe = time.Hour
	// MaxProbe bounds a probe, in bytes. PROTOCOL 7.6.
	MaxProbe = 8 << 10

	codeUnknownKind = "unknown-kind"
)

// Keys are the private keys of this node, behind their fingerprints. Kind Retry when the keyring is away.
type Keys interface {
	seal.Signer
	seal.Opener
}

// Directory is the verified directory in force.
type Directory interface {
	Load() *directory.Snapshot
}

// Courier reaches other nodes.
type Courier interface {
	// Meet connects to a node and greets it, however lately it was greeted.
	Meet(ctx context.Context, to directory.NodeEntry) error
	// Control hands over a control envelope. What comes back is unverified.
	Control(ctx context.Context, to directory.NodeEntry, envelope []byte) (message.ControlAnswer, error)
	// Road is the way that a call which has just ended took: "direct", "collect", or "" where there is none.
	Road(node authority.Node) string
}

// Prober sends probes. All fields are required. Safe for concurrent use.
type Prober struct {
	Node        authority.Node
	NodeKey     func() authority.Fingerprint
	Incarnation message.Incarnation
	Keys        Keys
	Directory   Directory
	Courier     Courier
	Clock       func() time.Time
	Random      io.Reader
}

// Answer is what a probe has brought back.
type Answer struct {
	Measured
	// Older: the node does not know probes, and has said so over a receipt that shows all the same.
	Older bool
}

// Probe sends a node one probe and verifies its receipt. The node is met first, so that the round trip is that of the message
// and not of making a connection. Errors: those of the way there, such as Retry "outbound-only", Retry "clock" where the
// clocks differ by more than 5 minutes, Retry where nobody answers before ctx ends; Invalid "wrong-receipt" and
// "bad-signature" where what came back proves nothing; Denied with the code of a rejection. PROTOCOL 7.6.
func (p Prober) Probe(ctx context.Context, to directory.NodeEntry) (Answer, error) {
	if err := p.Courier.Meet(ctx, to); err != nil {
		return Answer{}, err
	}
	env, err := p.envelope(ctx, to.Node)
	if err != nil {
		return Answer{}, err
	}
	sent := p.Clock()
	raw, err := p.Courier.Control(ctx, to, env.Bytes)
	took := p.Clock().Sub(sent)
	if err != nil {
		return Answer{}, err
	}
	receipt, err := seal.VerifyControlReceipt(raw.Receipt, env, p.Directory.Load().At(p.Clock()).NodeKey)
	if err != nil {
		return Answer{}, err
	}
	if receipt.Stage == message.Rejected && receipt.Code != codeUnknownKind {
		return Answer{}, fault.New(fault.Denied, receipt.Code, opProbe, "the node has rejected the probe, over a receipt that it signed")
	}
	return Answer{Older: receipt.Stage == message.Rejected, Measured: Measured{
		Road: p.Courier.Road(to.Node), RoundTrip: took.Milliseconds(), Ahead: receipt.Time.Sub(sent.Add(took / 2)).Milliseconds(),
	}}, nil
}

// envelope makes a probe. PROTOCOL 7.1, 7.6.
func (p Prober) envelope(ctx context.Context, to authority.Node) (seal.Control, error) {
	now := p.Clock()
	snapshot := p.Directory.Load()
	key, ok := snapshot.At(now).Newest(directory.OfNode(to), directory.PurposeSeal)
	if !ok {
		return seal.Control{}, fault.New(fault.Retry, "no-sealing-key", opProbe, "the directory has no valid sealing key for "+to.String())
	}
	id, err := message.NewID(now, p.Random)
	if err != nil {
		return seal.Control{}, err
	}
	return seal.NewControl(ctx, seal.ControlDraft{
		Network: snapshot.NetworkID(), ID: id, From: p.Node, To: to, Incarnation: p.Incarnation, Kind: seal.ControlProbe,
		Created: now, Expires: now.Add(probeLife), Key: key.Public, NodeKey: p.NodeKey(),
	}, p.Keys, nil)
}
