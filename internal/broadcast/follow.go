package broadcast

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	// patience is how long a number that an index has named is left to the bus, which the index may have overtaken.
	patience = 1500 * time.Millisecond
	// expectFor is how long it is left to a bus that says it is under way.
	expectFor = 30 * time.Second
)

// readIndex takes a chain index and answers it with what is known here: the cumulative receipt, and what is missing.
// PROTOCOL 7.5, 8.5.
func (b *Broadcaster) readIndex(ctx context.Context, c seal.Control, body []byte, answer *message.ControlAnswer) (act, error) {
	x, err := seal.VerifyChainIndex(body, b.Directory.Load().At(b.Clock()).NodeKey)
	if err != nil {
		return act{}, err
	}
	if x.Publisher != c.From || x.Network != c.Network {
		return act{}, fault.New(fault.Invalid, "wrong-maker", opControl, "the index is another publisher's than the node that brings it")
	}
	chain := ledger.Chain{Publisher: x.Publisher, Incarnation: x.Incarnation, Audience: x.Audience}
	wait := time.Duration(0)
	if b.Bus.Connected() {
		wait = patience
	}
	if b.Bus.Expecting(x.Publisher.State()) {
		wait = expectFor
	}
	return act{commit: func(tx ledger.Tx) (string, error) {
		w := walk{b: b, tx: tx, x: x, signed: body, chain: chain, now: b.Clock(), wait: wait}
		if err := w.run(); err != nil {
			return "", err
		}
		answer.Missing = w.missing
		var err error
		answer.Cumulative, err = b.cumulative(ctx, tx, w.at)
		return "", err
	}}, nil
}

// walk goes along a chain by an index, in the index's transaction.
type walk struct {
	b      *Broadcaster
	tx     ledger.Tx
	x      seal.ChainIndex
	signed []byte
	chain  ledger.Chain
	now    time.Time
	// wait is how long a number is left to the bus before it is asked for on the direct road.
	wait time.Duration

	at      ledger.Following
	known   map[uint64]ledger.Entry
	missing []message.Numbers
	stopped bool // a number is wanted and not here
	wrong   bool // the index contradicts what was told before
}

func (w *walk) run() error {
	if err := w.begin(); err != nil {
		return err
	}
	if w.wrong {
		return w.contradiction()
	}
	for entry, hash := range w.x.Walk() {
		if err := w.step(entry, hash); err != nil {
			return err
		}
		if w.wrong {
			return w.contradiction()
		}
	}
	if w.x.Last() > w.at.Indexed {
		w.at.Indexed = w.x.Last()
		// Receipts rest on indexes, so those are kept. PROTOCOL 7.5.
		if err := w.tx.PutIndex(ledger.Index{Chain: w.chain, First: w.x.First, Last: w.x.Last(), Signed: w.signed}); err != nil {
			return err
		}
	}
	w.at.Changed = w.now
	return w.tx.PutFollowing(w.at)
}

// begin reads how far this node is, and moves on to where the publisher begins with what is for it.
func (w *walk) begin() error {
	at, err := w.tx.Following(w.chain)
	if fault.Is(err, fault.NotFound) {
		epoch, e := w.tx.NewestEpoch(w.chain)
		if e != nil {
			return fault.Wrap(e, fault.Retry, codeNoEpoch, opControl, "no key of this audience has come yet")
		}
		pack, e := seal.StoredEpochPackage(epoch.Package)
		if e != nil {
			return e
		}
		at, err = ledger.Following{Chain: w.chain, Category: pack.Category, Rule: string(pack.Audience.Rule), First: w.x.First}, nil
	}
	if err != nil {
		return err
	}
	w.at = at
	switch {
	case w.x.First > w.at.Position+1:
		// What lies between was published while this node was no member. From here on the chain is what the publisher says it
		// was, so a receipt over it claims nothing of what came before.
		if err := w.joined(); err != nil {
			return err
		}
		w.at.First, w.at.Position, w.at.Hash = w.x.First, w.x.First-1, w.x.Previous
		w.at.Passed, w.at.Refused = []ledger.Range{{First: 1, Last: w.x.First - 1}}, nil
	case w.x.First == w.at.Position+1 && w.x.Previous != w.at.Hash:
		w.wrong = true
		return nil
	}
	return w.recall()
}

// joined checks that a key has come since the last index, as it does for who becomes a member: else a publisher could
// leap as often as it likes, and leave rows behind each time.
func (w *walk) joined() error {
	epoch, err := w.tx.NewestEpoch(w.chain)
	if err == nil && !w.at.Changed.IsZero() && epoch.Recorded.Before(w.at.Changed) {
		err = fault.New(fault.Retry, "busy", opControl, "the index leaps ahead, and no key came with it")
	}
	return err
}

// recall reads what is known of the numbers of the index.
func (w *walk) recall() error {
	w.known = make(map[uint64]ledger.Entry, len(w.x.Entries))
	for from := w.x.First; from <= w.x.Last(); {
		page, err := w.tx.Entries(w.chain, from, ledger.MaxPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			w.known[e.Number] = e
		}
		from = page[len(page)-1].Number + 1
	}
	return nil
}

// pass adds numbers to those that were not wanted; ranges that touch become one.
func (w *walk) pass(first, last uint64) {
	if n := len(w.at.Passed); n > 0 && w.at.Passed[n-1].Last+1 == first {
		w.at.Passed[n-1].Last = last
		return
	}
	w.at.Passed = append(w.at.Passed, ledger.Range{First: first, Last: last})
}

// step takes one entry of the index.
func (w *walk) step(e seal.ChainEntry, hash message.Digest) error {
	if e.Number <= w.at.Position {
		// Told before: the chain must come out where it did then.
		w.wrong = e.Number == w.at.Position && hash != w.at.Hash
		return nil
	}
	row, ok := w.known[e.Number]
	if ok && row.Digest != e.Digest {
		w.wrong = true
		return nil
	}
	if !ok {
		row = ledger.Entry{Chain: w.chain, Number: e.Number, Digest: e.Digest, Salt: e.Salt, Subject: e.Subject.String(), Seen: w.now}
	}
	before := row.State
	if !ok || row.State == ledger.EntryKnown {
		if err := w.judge(&row, e); err != nil {
			return err
		}
	}
	if row.State != before {
		if err := w.tx.PutEntry(row); err != nil {
			return err
		}
	}
	w.advance(row, hash)
	return nil
}

// judge decides what becomes of a number whose frame is not here.
func (w *walk) judge(row *ledger.Entry, e seal.ChainEntry) error {
	row.State = ledger.EntryKnown
	if w.passes(e) {
		row.State = ledger.EntryPassed
		return nil
	}
	if e.Again == 0 {
		return nil
	}
	// Issued again for others: who has it needs no second copy.
	first, err := w.tx.Entry(w.chain, e.Again)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil && first.State == ledger.EntryStored && first.Digest == e.Digest {
		row.State = ledger.EntryStored
	}
	return err
}

// passes reports whether a number is passed over. While one before it is wanted and not here, nothing is: it may be the
// update of that one, or its end, which this node must have. Nor is more passed over than a receipt can say.
func (w *walk) passes(e seal.ChainEntry) bool {
	if w.stopped || len(w.at.Passed) >= message.MaxRanges {
		return false
	}
	return !w.b.inbox.Wants(directory.Rule(w.at.Rule), e.Subject)
}

// advance moves the position over a number that is decided, as long as none before it is open.
func (w *walk) advance(row ledger.Entry, hash message.Digest) {
	if row.State == ledger.EntryKnown {
		w.stopped = true
		if w.now.Sub(row.Seen) >= w.wait {
			w.miss(row.Number)
		}
		return
	}
	if w.stopped {
		return
	}
	w.at.Position, w.at.Hash = row.Number, hash
	switch row.State {
	case ledger.EntryPassed:
		w.pass(row.Number, row.Number)
	case ledger.EntryRefused:
		w.at.Refused = append(w.at.Refused, ledger.Refusal{Number: row.Number, Code: row.Code})
	}
}

func (w *walk) miss(n uint64) {
	if k := len(w.missing); k > 0 && w.missing[k-1].Last+1 == n {
		w.missing[k-1].Last = n
		return
	}
	w.missing = append(w.missing, message.Numbers{First: n, Last: n})
}

// contradiction keeps the proof that the publisher signed two stories, and takes nothing of the second. PROTOCOL 7.5.
func (w *walk) contradiction() error {
	first, err := w.earlier() // of one chain, one proof is enough
	if err != nil {
		return err
	}
	w.missing = nil
	if w.at, err = w.tx.Following(w.chain); err != nil {
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		w.at = ledger.Following{Chain: w.chain}
	}
	return w.b.prove(w.tx, ledger.Proof{Kind: "chain-index", Node: w.chain.Publisher, Time: w.now,
		About: w.chain.Audience.String(), First: first, Second: w.signed})
}

// earlier is what was signed before about the same numbers: an index, else a frame.
func (w *walk) earlier() ([]byte, error) {
	kept, err := w.tx.Indexes(w.chain, max(min(w.x.First, w.at.Position), 1), 1)
	if err != nil || len(kept) == 0 {
		return nil, err
	}
	return kept[0].Signed, nil
}

// cumulative is the receipt for how far this node is: the one given before, or a new one. PROTOCOL 8.5.
func (b *Broadcaster) cumulative(ctx context.Context, tx ledger.Tx, at ledger.Following) ([]byte, error) {
	if at.Position == 0 || at.Hash == (message.Digest{}) {
		return nil, nil
	}
	if at.ReceiptPosition == at.Position {
		return at.Receipt, nil
	}
	checkpoint, err := tx.Checkpoint()
	if err != nil {
		return nil, err
	}
	r := seal.CumulativeReceipt{
		Network: b.Directory.Load().NetworkID(), Node: b.Node, Incarnation: b.Incarnation, Publisher: at.Chain.Publisher,
		PublisherIncarnation: at.Chain.Incarnation, Audience: at.Chain.Audience, Position: at.Position, ChainHash: at.Hash,
		Time: b.Clock(), Checkpoint: checkpoint,
	}
	for _, p := range at.Passed {
		r.PassedOver = append(r.PassedOver, seal.Range(p))
	}
	for _, f := range at.Refused {
		r.Refused = append(r.Refused, seal.Refusal(f))
	}
	if at.Receipt, err = seal.SignCumulativeReceipt(ctx, b.Keys, b.NodeKey(), r); err != nil {
		return nil, err
	}
	at.ReceiptPosition = at.Position
	if err := tx.PutFollowing(at); err != nil {
		return nil, err
	}
	return at.Receipt, second(tx.Append(b.event("alerts-covered", message.Key{}, message.DigestOf(at.Receipt), at.Chain.Publisher.String())))
}
