package exchange

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// The codes of incarnations. PROTOCOL 8.3, 9.7.
const (
	codeOldIncarnation = "old-incarnation"
	codeTwo            = "two-incarnations"
	codeReplaced       = "replaced"
	codeRecovering     = "recovering"
	// CodeNewer ends an exchange that has learnt while it recovered that its incarnation was taken: the node begins another.
	CodeNewer = "newer-incarnation"

	stateNormal     = "NORMAL"
	stateRecovering = "RECOVERING"

	opGreet = "greet peer"
)

// standing is whether this node may exchange anything.
type standing struct {
	recovering bool
	stopped    error
}

// Settle reads from the ledger whether this incarnation may exchange messages. Denied "replaced" or "two-incarnations" where
// it is over: nothing is to be opened then. Call it once, before anything else. PROTOCOL 9.7.
func (e *Exchange) Settle(ctx context.Context) error {
	var r ledger.Recovery
	err := e.Ledger.View(ctx, func(rd ledger.Reader) error {
		var err error
		r, err = rd.Recovery()
		return err
	})
	if err != nil {
		return err
	}
	if r.Stopped != "" {
		return ledger.Replaced(r.Stopped)
	}
	e.setStanding(standing{recovering: r.State == ledger.Recovering})
	return nil
}

func (e *Exchange) setStanding(s standing) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.standing = s
}

// settled waits until this node may send; false where it may not any more.
func (e *Exchange) settled(ctx context.Context) bool {
	if fault.CodeOf(e.Ready()) != codeRecovering {
		return !e.ended()
	}
	select {
	case <-e.recovered:
		return true
	case <-e.over:
	case <-ctx.Done():
	}
	return false
}

// Ready is nil where this node may send and take in: else Retry "recovering", or Denied why its incarnation is over.
func (e *Exchange) Ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.standing.stopped != nil {
		return e.standing.stopped
	}
	if e.standing.recovering {
		return fault.New(fault.Retry, codeRecovering, "exchange", "the node was restored and is getting back what was exchanged since the backup; reading works, sending begins again after that").
			WithHint("`enlace node status` shows how far it is")
	}
	return nil
}

// state is what hellos say.
func (e *Exchange) state() string {
	if fault.CodeOf(e.Ready()) == codeRecovering {
		return stateRecovering
	}
	return stateNormal
}

// Over is closed when this incarnation is over; Ready then says why.
func (e *Exchange) Over() <-chan struct{} { return e.over }

// recall holds a verified hello against what is known of the node's incarnations, and records what is new before it counts.
// PROTOCOL 9.7.
func (e *Exchange) recall(ctx context.Context, from authority.Node, g greeting, hello []byte) error {
	i := g.incarnation
	var known ledger.Life
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		known, err = r.Life(from)
		return err
	})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if known.Incarnation == i && len(known.Rival) == 0 {
		return nil
	}
	var refusal error
	var after func()
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		known, err := tx.Life(from)
		switch {
		case fault.Is(err, fault.NotFound):
			after, err = e.reborn(tx, ledger.Life{Node: from, Incarnation: i, Hello: hello}, i.Counter > 1)
			return err
		case err != nil:
			return err
		case i.Counter > known.Incarnation.Counter:
			after, err = e.reborn(tx, ledger.Life{Node: from, Incarnation: i, Hello: hello}, true)
			return err
		case i.Counter < known.Incarnation.Counter:
			refusal = oldIncarnation(from)
			return nil
		case i == known.Incarnation && len(known.Rival) == 0:
			return nil
		case i != known.Incarnation && g.hello.GetState() == stateRecovering:
			refusal = oldIncarnation(from) // it has drawn no line yet, and begins another one when it is shown this one
			return nil
		}
		refusal = twoIncarnations(from)
		if i == known.Incarnation || len(known.Rival) > 0 {
			return nil
		}
		known.Rival = hello
		if err := tx.PutLife(known); err != nil {
			return err
		}
		_, err = tx.PutProof(ledger.Proof{Kind: codeTwo, Node: from, About: incarnationText(known.Incarnation), First: known.Hello, Second: hello, Time: e.Clock()})
		if err != nil {
			return err
		}
		return second(tx.Append(e.event(codeTwo, nodeActor, message.Key{}, message.DigestOf(hello), from.String())))
	})
	if err != nil {
		return err
	}
	if after != nil {
		after()
	}
	return refusal
}

func oldIncarnation(from authority.Node) error {
	return fault.New(fault.Denied, codeOldIncarnation, opGreet, "the node was restored since: this is its old life: "+from.String())
}

func twoIncarnations(from authority.Node) error {
	return fault.New(fault.Denied, codeTwo, opGreet, "two machines run as this node: "+from.String()).
		WithHint("telephone its state: one of them has to go, and the other to begin again")
}

// ofLife refuses a receipt that an old life of a node has given since it was known here to be over. One from before is as
// good as ever, whoever shows it: a restored node answers a repeat with it. PROTOCOL 8.2, 9.7.
func (e *Exchange) ofLife(ctx context.Context, r message.Receipt) error {
	var known ledger.Life
	err := e.Ledger.View(ctx, func(rd ledger.Reader) error {
		var err error
		known, err = rd.Life(r.Node)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil && r.Incarnation.Counter < known.Incarnation.Counter && r.Time.After(known.Since.Add(message.MaxAhead)) {
		err = oldIncarnation(r.Node)
	}
	return err
}

// reborn records a node's incarnation. To one that has begun anew is told again what its old life had confirmed.
func (e *Exchange) reborn(tx ledger.Tx, l ledger.Life, anew bool) (after func(), err error) {
	l.Since = e.Clock()
	if err := tx.PutLife(l); err != nil {
		return nil, err
	}
	if anew && e.Reborn != nil {
		if after, err = e.Reborn(tx, l.Node); err != nil {
			return nil, err
		}
	}
	return after, second(tx.Append(e.event("incarnation-known", nodeActor, message.Key{}, message.DigestOf(l.Hello), l.Node.String()+" "+incarnationText(l.Incarnation))))
}

// Newer is the hello to show a node whose own was refused for its incarnation; nil where it was for something else.
// PROTOCOL 9.7.
func (e *Exchange) Newer(ctx context.Context, from authority.Node, refused []byte) []byte {
	h, err := e.helloOf(refused, from)
	if err != nil {
		return nil
	}
	var known ledger.Life
	err = e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		known, err = r.Life(from)
		return err
	})
	switch {
	case err != nil, h.incarnation.Counter > known.Incarnation.Counter:
		return nil
	case h.incarnation == known.Incarnation:
		return known.Rival // nil where there is none
	}
	return known.Hello
}

// greeting is a hello whose signature was verified.
type greeting struct {
	hello       *formatv1.Hello
	incarnation message.Incarnation
}

// helloOf verifies that a node signed a hello about itself in this network, whenever that was.
func (e *Exchange) helloOf(signed []byte, node authority.Node) (greeting, error) {
	payload, signer, err := seal.VerifyNode(signed, authority.ForHello, e.Directory.Load().At(e.Clock()).NodeKey)
	if err != nil {
		return greeting{}, err
	}
	g := greeting{hello: new(formatv1.Hello)}
	if err := canonical.Unmarshal(payload, g.hello, message.MaxReceipt); err != nil {
		return greeting{}, err
	}
	if g.incarnation, err = message.ParseIncarnation(g.hello.GetIncarnation()); err != nil {
		return greeting{}, err
	}
	switch {
	case g.hello.GetNetwork() != e.Directory.Load().NetworkID():
		return greeting{}, fault.New(fault.Invalid, "wrong-network", opGreet, "the peer belongs to another network")
	case signer != node || g.hello.GetNode() != node.String():
		return greeting{}, fault.New(fault.Invalid, "wrong-node", opGreet, "the hello was made by or for another node")
	}
	return g, nil
}

// Shown takes a hello that a peer shows as this node's own, of another incarnation. It counts only if this node's key signed
// it. PROTOCOL 9.7.
func (e *Exchange) Shown(ctx context.Context, by authority.Node, hello []byte) error {
	g, err := e.helloOf(hello, e.Node)
	if err != nil {
		return err
	}
	return e.learnt(ctx, by, g.incarnation, hello)
}

// learnt holds another incarnation of this node, which its own key has signed for, against the one that runs. One that is
// over records so before it tells, and does so for good. PROTOCOL 9.7.
func (e *Exchange) learnt(ctx context.Context, by authority.Node, i message.Incarnation, proof []byte) error {
	if i == e.Incarnation || i.Counter < e.Incarnation.Counter {
		return nil
	}
	var over error
	err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		r, err := tx.Recovery()
		if err != nil {
			return err
		}
		kind := codeReplaced
		switch {
		case r.State == ledger.Recovering:
			kind, r.Higher = CodeNewer, max(r.Higher, i.Counter)
			over = fault.New(fault.Retry, CodeNewer, opGreet, "this incarnation's number was taken by another restored machine; the node begins another")
		case i.Counter == e.Incarnation.Counter:
			kind = codeTwo
			r.Stopped, r.Proof, over = codeTwo, proof, ledger.Replaced(codeTwo)
		default:
			r.Stopped, r.Proof, over = codeReplaced, proof, ledger.Replaced(codeReplaced)
		}
		if err := tx.PutRecovery(r); err != nil {
			return err
		}
		return second(tx.Append(e.event(kind, nodeActor, message.Key{}, message.DigestOf(proof), incarnationText(i)+" shown by "+by.String())))
	})
	if err != nil {
		return err
	}
	// If the machine stops here the next start finds that it is over.
	e.stop(over)
	return over
}

// stop ends the exchange for good.
func (e *Exchange) stop(why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.standing.stopped != nil {
		return
	}
	e.standing.stopped = why
	close(e.over)
	e.Log.Error("this incarnation is over", zap.String("code", fault.CodeOf(why)), zap.String("incarnation", incarnationText(e.Incarnation)), zap.Error(why))
}

// meetWithin is how long one other node may take over a greeting at the start; meetMost how many are greeted then.
const (
	meetWithin = 10 * time.Second
	meetMost   = 3
)

// meet greets a few others after the start, though there may be nothing to send: a life that is over hears of it at once.
func (e *Exchange) meet(ctx context.Context) {
	if e.Peers == nil {
		return
	}
	met := 0
	for _, n := range e.others() {
		if len(n.Endpoints) == 0 {
			continue
		}
		one, cancel := context.WithTimeout(ctx, meetWithin)
		err := e.Peers.Meet(one, n)
		cancel()
		if err == nil {
			met++
		}
		if met >= meetMost || ctx.Err() != nil || e.ended() {
			return
		}
	}
}

func (e *Exchange) ended() bool {
	select {
	case <-e.over:
		return true
	default:
		return false
	}
}

func incarnationText(i message.Incarnation) string { return fmt.Sprintf("%d-%x", i.Counter, i.Random) }

// heardState makes what waits for a node due at once when it has recovered.
func (e *Exchange) heardState(from authority.Node, state string) {
	e.mu.Lock()
	was := e.away[from]
	e.away[from] = state == stateRecovering
	e.mu.Unlock()
	if was && state == stateNormal {
		e.Reachable(from)
	}
}

// others are the other nodes in good standing.
func (e *Exchange) others() []directory.NodeEntry {
	var all []directory.NodeEntry
	for _, n := range e.Directory.Load().At(e.Clock()).Nodes() {
		if n.Node != e.Node && n.Status == directory.Active {
			all = append(all, n)
		}
	}
	return all
}
