package doctor

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	opAnswer = "answer probe"
	// probesAtOnce and probesEvery are how many probes one other node may bring: each costs the one writer. PROTOCOL 7.6.
	probesAtOnce = 30
	probesEvery  = 2 * time.Second
)

// Store is the part of the ledger that an Answerer needs.
type Store interface {
	Update(ctx context.Context, f func(ledger.Tx) error) error
	View(ctx context.Context, f func(ledger.Reader) error) error
}

// Answerer answers probes of other nodes. Its exported fields are required. Safe for concurrent use.
type Answerer struct {
	Node        authority.Node
	NodeKey     func() authority.Fingerprint
	Incarnation message.Incarnation
	Keys        Keys
	Directory   Directory
	Ledger      Store
	Clock       func() time.Time
	Log         *zap.Logger

	mu    sync.Mutex
	nodes map[authority.Node]*rate.Limiter // guarded by mu; at most as many as the directory has nodes
}

// IsProbe reports whether bytes say that they are a probe. They prove nothing yet. PROTOCOL 7.6.
func IsProbe(envelope []byte) bool {
	if len(envelope) > MaxProbe {
		return false
	}
	c, err := seal.StoredControl(envelope)
	return err == nil && c.Kind == seal.ControlProbe
}

// Control takes one probe from another node. On return its receipt is on stable storage; a repeat gets the same one. Errors
// are unsigned and store nothing: Retry "busy", "future"; Invalid "wrong-network", "expires", those of a signature; Denied
// "wrong-node"; Conflict "same-id"; those of the ledger and the keyring. PROTOCOL 7.1, 7.6, 8.3.
func (a *Answerer) Control(ctx context.Context, from authority.Node, envelope []byte) (message.ControlAnswer, error) {
	if !a.allow(from) {
		return message.ControlAnswer{}, fault.New(fault.Retry, "busy", opAnswer, "the node brings more probes than are taken")
	}
	parsed, err := seal.ParseControl(envelope)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	c, err := parsed.Verify(a.Directory.Load().At(a.Clock()).NodeKey)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	if err := a.addressed(from, c); err != nil {
		return message.ControlAnswer{}, err
	}
	if receipt, err := a.answered(ctx, c); len(receipt) > 0 || err != nil {
		return message.ControlAnswer{Receipt: receipt}, err
	}
	code, err := a.judge(ctx, c)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	var answer message.ControlAnswer
	err = a.Ledger.Update(ctx, func(tx ledger.Tx) error {
		var err error
		answer.Receipt, err = a.commit(ctx, tx, c, code)
		return err
	})
	// If the machine stops here the probe is receipted, and whoever asks again gets the same receipt.
	return answer, err
}

// allow bounds how often one node may have this one work for it. PROTOCOL 7.6.
func (a *Answerer) allow(n authority.Node) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.nodes[n]
	if l == nil {
		if a.nodes == nil {
			a.nodes = map[authority.Node]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Every(probesEvery), probesAtOnce)
		a.nodes[n] = l
	}
	return l.AllowN(a.Clock(), 1)
}

// addressed checks that a verified probe is of this network, from who brings it, and of now.
func (a *Answerer) addressed(from authority.Node, c seal.Control) error {
	switch {
	case c.Network != a.Directory.Load().NetworkID():
		return fault.New(fault.Invalid, "wrong-network", opAnswer, "the probe belongs to another network")
	case c.From != from:
		return fault.New(fault.Denied, "wrong-node", opAnswer, "the probe comes from another node than the one that brings it")
	case c.Expires.Sub(c.Created) > longestProbe:
		return fault.New(fault.Invalid, "expires", opAnswer, "a probe may be delivered for an hour at most")
	case c.Created.After(a.Clock().Add(message.MaxAhead)):
		return fault.New(fault.Retry, "future", opAnswer, "the probe is dated more than 5 minutes in the future").
			WithHint("one of the two clocks is wrong")
	}
	return nil
}

// answered finds the receipt of a repeat. PROTOCOL 5.8.
func (a *Answerer) answered(ctx context.Context, c seal.Control) ([]byte, error) {
	var receipt []byte
	err := a.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		receipt, err = kept(r, c)
		return err
	})
	return receipt, err
}

// kept is the receipt of an envelope that came before; nil where none did. Conflict "same-id" where another one has its ID.
func kept(r ledger.BroadcastReader, c seal.Control) ([]byte, error) {
	row, err := r.Control(c.From, c.ID)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case row.Digest != c.Digest:
		return nil, fault.New(fault.Conflict, "same-id", opAnswer, "another envelope with this ID was received before")
	}
	return row.Receipt, nil
}

// judge opens a probe: empty, or the code that rejects it for good. PROTOCOL 7.1, 7.6.
func (a *Answerer) judge(ctx context.Context, c seal.Control) (code string, err error) {
	switch {
	case c.To != a.Node:
		return "wrong-addressee", nil
	case !c.Expires.After(a.Clock()):
		return "expired", nil
	}
	body, err := c.Open(ctx, a.Keys)
	switch {
	case fault.Is(err, fault.NotFound):
		return "unknown-sealing-key", nil
	case (fault.Is(err, fault.Invalid) || fault.Is(err, fault.TooLarge)) && fault.CodeOf(err) != "":
		return fault.CodeOf(err), nil
	case err != nil:
		return "", err
	case len(body) > 0:
		return "malformed", nil
	}
	return "", nil
}

// commit is the one fact of a probe: that it was received, with its receipt.
func (a *Answerer) commit(ctx context.Context, tx ledger.Tx, c seal.Control, code string) ([]byte, error) {
	if receipt, err := kept(tx, c); len(receipt) > 0 || err != nil {
		return receipt, err // the same came twice at once
	}
	checkpoint, err := tx.Checkpoint()
	if err != nil {
		return nil, err
	}
	r := seal.ControlReceipt{Network: c.Network, Node: a.Node, Incarnation: a.Incarnation, From: c.From, ID: c.ID, Digest: c.Digest,
		Stage: message.Received, Time: a.Clock(), Checkpoint: checkpoint}
	if code != "" {
		r.Stage, r.Code = message.Rejected, code
		a.Log.Warn("a probe was rejected", zap.Stringer("from", c.From), zap.String("code", code))
	}
	receipt, err := seal.SignControlReceipt(ctx, a.Keys, a.NodeKey(), r)
	if err != nil {
		return nil, err
	}
	return receipt, tx.PutControl(ledger.Control{From: c.From, ID: c.ID, Digest: c.Digest, Receipt: receipt, Expires: c.Expires.Add(message.MaxAhead)})
}
