package broadcast

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	opControl = "receive control envelope"
	// controlLife is how long a control envelope may be delivered. What it says is made anew for every attempt.
	controlLife = time.Hour
	// longestLife is what is taken from others: answers are kept that long.
	longestLife = 24 * time.Hour
	// controlRate and controlBurst are how many control envelopes a second one node may bring: each costs the one writer.
	controlRate, controlBurst = 50, 500
	// controlLimit bounds one call.
	controlLimit = 30 * time.Second
)

// control seals and signs a control envelope to a node. PROTOCOL 7.1.
func (b *Broadcaster) control(ctx context.Context, to authority.Node, kind seal.ControlKind, body []byte) (seal.Control, error) {
	now := b.Clock()
	snapshot := b.Directory.Load()
	key, ok := snapshot.At(now).Newest(directory.OfNode(to), directory.PurposeSeal)
	if !ok {
		return seal.Control{}, fault.New(fault.Retry, "no-sealing-key", "send control envelope", "the directory has no valid sealing key for "+to.String())
	}
	id, err := message.NewID(now, b.Random)
	if err != nil {
		return seal.Control{}, err
	}
	return seal.NewControl(ctx, seal.ControlDraft{
		Network: snapshot.NetworkID(), ID: id, From: b.Node, To: to, Incarnation: b.Incarnation, Kind: kind,
		Created: now, Expires: now.Add(controlLife), Key: key.Public, NodeKey: b.NodeKey(), Body: body,
	}, b.Keys, &b.recipients)
}

// send hands one control envelope to a node and verifies its receipt; the code is empty unless it was rejected.
func (b *Broadcaster) send(ctx context.Context, to directory.NodeEntry, kind seal.ControlKind, body []byte) (message.ControlAnswer, string, error) {
	env, err := b.control(ctx, to.Node, kind, body)
	if err != nil {
		return message.ControlAnswer{}, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, controlLimit)
	defer cancel()
	answer, err := b.Courier.Control(ctx, to, env.Bytes)
	if err != nil {
		return message.ControlAnswer{}, "", err
	}
	receipt, err := seal.VerifyControlReceipt(answer.Receipt, env, b.Directory.Load().At(b.Clock()).NodeKey)
	if err != nil {
		return message.ControlAnswer{}, "", err
	}
	if receipt.Stage == message.Rejected {
		return answer, receipt.Code, nil
	}
	return answer, "", nil
}

// act is what a control envelope does once it is verified and opened: in its transaction, and after the commit. A code
// rejects it for good; an error is passing, and nothing is kept.
type act struct {
	commit func(tx ledger.Tx) (code string, err error)
	tell   func(ctx context.Context)
}

// Control takes one control envelope from another node. On return its effect and its receipt are on stable storage; a
// repeat gets the same receipt. Errors are unsigned and store nothing. PROTOCOL 7.1, 8.3.
func (b *Broadcaster) Control(ctx context.Context, from authority.Node, raw []byte) (message.ControlAnswer, error) {
	if !b.pace.allow(from) {
		return message.ControlAnswer{}, fault.New(fault.Retry, "busy", opControl, "the node brings more control envelopes than are taken")
	}
	view := b.Directory.Load().At(b.Clock())
	parsed, err := seal.ParseControl(raw)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	c, err := parsed.Verify(view.NodeKey)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	if err := b.addressed(from, c); err != nil {
		return message.ControlAnswer{}, err
	}
	if receipt, err := b.answered(ctx, c); len(receipt) > 0 || err != nil {
		return message.ControlAnswer{Receipt: receipt}, err
	}
	var answer message.ControlAnswer
	do, code, err := b.read(ctx, c, &answer)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	err = b.Ledger.Update(ctx, func(tx ledger.Tx) error { return b.commitControl(ctx, tx, c, do, code, &answer) })
	if err != nil {
		return message.ControlAnswer{}, err
	}
	// If the machine stops here, the sender asks again and gets the same receipt.
	if do.tell != nil {
		do.tell(ctx)
	}
	return answer, nil
}

// addressed checks that a verified envelope is of this network, for this node, from who brings it, and of now.
func (b *Broadcaster) addressed(from authority.Node, c seal.Control) error {
	switch {
	case c.Network != b.Directory.Load().NetworkID():
		return fault.New(fault.Invalid, "wrong-network", opControl, "the envelope belongs to another network")
	case c.From != from:
		return fault.New(fault.Denied, "wrong-node", opControl, "the envelope comes from another node than the one that brings it")
	case c.Expires.Sub(c.Created) > longestLife:
		return fault.New(fault.Invalid, "expires", opControl, "a control envelope may be delivered for a day at most")
	case c.Created.After(b.Clock().Add(message.MaxAhead)):
		return fault.New(fault.Retry, "future", opControl, "the envelope is dated more than 5 minutes in the future").
			WithHint("one of the two clocks is wrong")
	}
	return nil
}

// answered finds the receipt of a repeat.
func (b *Broadcaster) answered(ctx context.Context, c seal.Control) ([]byte, error) {
	var row ledger.Control
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		row, err = r.Control(c.From, c.ID)
		return err
	})
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case row.Digest != c.Digest:
		return nil, fault.New(fault.Conflict, "same-id", opControl, "another envelope with this ID was received before")
	}
	return row.Receipt, nil
}

// read opens an envelope and finds what it does, or the code that rejects it. PROTOCOL 7.1.
func (b *Broadcaster) read(ctx context.Context, c seal.Control, answer *message.ControlAnswer) (act, string, error) {
	switch {
	case c.To != b.Node:
		return act{}, "wrong-addressee", nil
	case !c.Expires.After(b.Clock()):
		return act{}, "expired", nil
	}
	body, err := c.Open(ctx, b.Keys)
	switch {
	case fault.Is(err, fault.NotFound):
		return act{}, "unknown-sealing-key", nil
	case fault.Is(err, fault.Invalid), fault.Is(err, fault.TooLarge):
		return act{}, codeOf(err), nil
	case err != nil:
		return act{}, "", err
	}
	var do act
	switch c.Kind {
	case seal.ControlEpochGrant:
		do, err = b.readGrant(c, body)
	case seal.ControlKeyRequest:
		do, err = b.readKeyRequest(c, body)
	case seal.ControlChainIndex:
		do, err = b.readIndex(ctx, c, body, answer)
	case seal.ControlCumulative:
		do, err = b.readCumulative(ctx, c, body)
	default:
		return act{}, "unknown-kind", nil
	}
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.TooLarge) {
		return act{}, codeOf(err), nil
	}
	return do, "", err
}

// codeOf never is empty: an empty code would mean that nothing was wrong.
func codeOf(err error) string {
	if code := fault.CodeOf(err); code != "" {
		return code
	}
	return "malformed"
}

// commitControl is the one fact of a control envelope: its effect with its receipt.
func (b *Broadcaster) commitControl(ctx context.Context, tx ledger.Tx, c seal.Control, do act, code string, answer *message.ControlAnswer) error {
	if row, err := tx.Control(c.From, c.ID); err == nil {
		answer.Receipt = row.Receipt // the same came twice at once
		return nil
	}
	if code == "" && do.commit != nil {
		var err error
		if code, err = do.commit(tx); err != nil {
			return err
		}
	}
	checkpoint, err := tx.Checkpoint()
	if err != nil {
		return err
	}
	r := seal.ControlReceipt{Network: c.Network, Node: b.Node, Incarnation: b.Incarnation, From: c.From, ID: c.ID, Digest: c.Digest,
		Stage: message.Received, Time: b.Clock(), Checkpoint: checkpoint}
	if code != "" {
		r.Stage, r.Code = message.Rejected, code
		b.Log.Warn("a control envelope was rejected", zap.Stringer("from", c.From), zap.String("kind", string(c.Kind)), zap.String("code", code))
	}
	if answer.Receipt, err = seal.SignControlReceipt(ctx, b.Keys, b.NodeKey(), r); err != nil {
		return err
	}
	return tx.PutControl(ledger.Control{From: c.From, ID: c.ID, Digest: c.Digest, Receipt: answer.Receipt, Expires: c.Expires.Add(message.MaxAhead)})
}

// readCumulative takes a cumulative receipt that comes by itself. PROTOCOL 8.5.
func (b *Broadcaster) readCumulative(ctx context.Context, c seal.Control, body []byte) (act, error) {
	if _, err := b.accept(ctx, c.From, body); err != nil {
		return act{}, err
	}
	return act{}, nil
}

// readKeyRequest makes the grants that a member asks for due again. An audience of zeros asks for all. PROTOCOL 7.3.
func (b *Broadcaster) readKeyRequest(c seal.Control, body []byte) (act, error) {
	r, err := seal.ParseKeyRequest(body)
	if err != nil {
		return act{}, err
	}
	if r.Publisher != b.Node {
		return act{}, fault.New(fault.Invalid, "wrong-addressee", opControl, "the key is asked of another publisher")
	}
	var due []message.Digest
	return act{
		commit: func(tx ledger.Tx) (string, error) {
			members, err := tx.MembersOf(c.From)
			for _, m := range members {
				if err != nil || !m.Removed.IsZero() || (r.Audience != (message.Digest{}) && r.Audience != m.Audience) {
					continue
				}
				// The newest and no other: what was published before it joined is not for it, whatever it asks for.
				due = append(due, m.Audience)
				err = regrant(tx, m)
			}
			return "", err
		},
		tell: func(context.Context) {
			for _, id := range due {
				b.lines.all(id, []authority.Node{c.From}, b.Clock())
			}
		},
	}, nil
}

// regrant makes the newest epoch due again at a member that has receipted it.
func regrant(tx ledger.Tx, m ledger.Member) error {
	row, err := tx.Broadcast(m.Audience)
	if err != nil || m.Epoch < row.Epoch {
		return err
	}
	m.Epoch = row.Epoch - 1
	return tx.PutMember(m)
}

// signingKey finds an authority's signing key that may sign what arrives now.
func signingKey(view directory.View) seal.SigningKey {
	return func(fp authority.Fingerprint) (authority.Name, authority.PublicKey, error) {
		name, key, err := view.AuthorityKey(fp)
		if err == nil {
			err = view.CheckArrival(fp)
		}
		return name, key, err
	}
}
