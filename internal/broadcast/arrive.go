package broadcast

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const opArrive = "receive alert"

// Take takes one frame from the bus. Nil: it is stored, held, refused or dropped, and need not come again. A Retry fault:
// the same again later. Who put it on the bus does not matter: what is not signed by its publisher is dropped unstored.
// PROTOCOL 7.4.
func (b *Broadcaster) Take(ctx context.Context, subject string, frame []byte) error {
	_, err := b.take(ctx, subject, frame)
	if err == nil || fault.Is(err, fault.Retry) || ctx.Err() != nil {
		return err
	}
	b.Log.Info("a frame was dropped", zap.String("code", fault.CodeOf(err)), zap.Error(err))
	return nil
}

// TakeFrames takes frames that a node of the publisher's state brings by the direct road, and returns how many of them,
// from the first on, need not come again.
func (b *Broadcaster) TakeFrames(ctx context.Context, from authority.Node, frames []message.CarriedFrame) (int, error) {
	if len(frames) > message.MaxFrames {
		return 0, fault.New(fault.TooLarge, "too-large", opArrive, "more frames come at once than are taken")
	}
	size := 0
	for i, f := range frames {
		if size += len(f.Frame); size > message.MaxCarried && i > 0 {
			return i, nil
		}
		subject, err := message.ParseSubject(f.Subject)
		if err == nil && subject.State() != from.State() {
			err = fault.New(fault.Denied, "wrong-node", opArrive, "the node brings alerts of another state")
		}
		if err == nil {
			err = b.Take(ctx, f.Subject, f.Frame)
		}
		if err != nil {
			return i, after(i, err)
		}
	}
	return len(frames), nil
}

// after is no error once something was taken: the rest comes again.
func after(taken int, err error) error {
	if taken > 0 {
		return nil
	}
	return err
}

// take: bound, verify, find the key, open, verify, judge, commit. It reports whether the frame is held, to be taken again.
// PROTOCOL 7.4.
func (b *Broadcaster) take(ctx context.Context, on string, raw []byte) (bool, error) {
	subject, err := message.ParseSubject(on)
	if err != nil {
		return false, err
	}
	view := b.Directory.Load().At(b.Clock())
	parsed, err := seal.ParseFrame(raw)
	if err != nil {
		return false, err
	}
	f, err := parsed.Verify(view.NodeKey)
	if err != nil {
		return false, dropUnknown(err)
	}
	if f.Publisher == b.Node {
		return false, nil // our own, come round
	}
	if err := b.published(view, subject, f); err != nil {
		return false, err
	}
	k, err := b.keyOf(ctx, f.Publisher, f.KeyFingerprint)
	if fault.Is(err, fault.NotFound) {
		return true, b.hold(ctx, subject, f)
	}
	if err != nil {
		return false, err
	}
	return b.open(ctx, view, subject, f, k)
}

// dropUnknown: a frame whose signer is not known is dropped, not waited for: anyone could send such. If it was real, the
// chain index brings it again.
func dropUnknown(err error) error {
	if fault.CodeOf(err) == "unknown-key" {
		return fault.Wrap(err, fault.Denied, "unknown-key", opArrive, "the frame's signer is not in the directory here")
	}
	return err
}

// published checks that a verified frame is of this network and of the state that the subject names, and that its
// publisher is in good standing now (P7).
func (b *Broadcaster) published(view directory.View, subject message.Subject, f seal.Frame) error {
	if f.Network != view.Snapshot().NetworkID() {
		return fault.New(fault.Invalid, "wrong-network", opArrive, "the frame belongs to another network")
	}
	if f.Publisher.State() != subject.State() {
		return fault.New(fault.Invalid, "wrong-subject", opArrive, "the frame came on the subject of another state than its publisher's")
	}
	return view.CheckNode(f.Publisher)
}

// arrival is a frame opened, on its way into the ledger.
type arrival struct {
	frame   seal.Frame
	subject message.Subject
	chain   ledger.Chain
	opened  seal.Opened
	alert   seal.Alert
	// code refuses the number; the alert may be empty then.
	code string
}

// open opens a frame with its epoch key and stores what it finds.
func (b *Broadcaster) open(ctx context.Context, view directory.View, subject message.Subject, f seal.Frame, k epochKey) (bool, error) {
	if f.Incarnation != k.chain.Incarnation || f.Epoch != k.number {
		return false, fault.New(fault.Invalid, "wrong-key", opArrive, "the frame names another epoch than its key belongs to")
	}
	opened, err := f.Open(k.key)
	if err != nil {
		return false, err // without a number there is nothing to refuse
	}
	a := arrival{frame: f, subject: subject, chain: k.chain, opened: opened}
	a.alert, err = opened.Verify(signingKey(view))
	if err == nil {
		a.code, err = b.judge(view, k, a)
	} else if seal.CoveredBy(err) != seal.ByNobody || fault.Is(err, fault.Denied) {
		// A key that is dead verifies nothing any more: what it signed is refused, or it would stand in the way for ever.
		a.code, err = codeOf(err), nil
	}
	switch {
	case fault.Is(err, fault.Retry):
		return true, b.hold(ctx, subject, f)
	case err != nil:
		return false, err
	}
	return false, b.store(ctx, a)
}

// judge is the code of what is wrong with an alert whose signatures hold, or empty. What may pass is Retry. PROTOCOL 7.4.
func (b *Broadcaster) judge(view directory.View, k epochKey, a arrival) (string, error) {
	h := a.alert.Header
	subject, err := message.SubjectOf(h.Context)
	if err != nil || subject != a.subject {
		return "", fault.New(fault.Invalid, "wrong-subject", opArrive, "the alert came on another subject than its header gives")
	}
	if h.Audience.Rule != k.pack.Audience.Rule || h.Category != k.pack.Category || !slices.Equal(h.Audience.States, k.pack.Audience.States) {
		return "wrong-audience", nil
	}
	if h.Created.After(b.Clock().Add(message.MaxAhead)) {
		return "", fault.New(fault.Retry, "future", opArrive, "the alert is dated more than 5 minutes in the future")
	}
	if !h.Expires.After(b.Clock()) {
		return "expired", nil
	}
	if err := view.CheckAuthority(h.Sender); err != nil {
		if h.Position > view.Snapshot().Position() {
			return "", fault.Wrap(err, fault.Retry, fault.CodeOf(err), opArrive, "the publisher's directory is newer than the one here")
		}
		return fault.CodeOf(err), nil
	}
	// Whoever lost its competence must still be able to call an alert back.
	if h.Kind != message.KindAlertCancel && !view.Competent(h.Sender, "alerts-out", h.Category) {
		if h.Position > view.Snapshot().Position() {
			return "", fault.New(fault.Retry, "directory-behind", opArrive, "the publisher's directory is newer than the one here")
		}
		return "not-competent", nil
	}
	return b.inbox.Examine(a.alert), nil
}

// store is the one fact of an arrival: message, place in the chain, what it means, and the event; or the refusal alone.
func (b *Broadcaster) store(ctx context.Context, a arrival) error {
	added := false
	err := b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		var err error
		added, err = b.place(tx, a)
		return err
	})
	if err != nil {
		return err
	}
	// If the machine stops here, the bus or the publisher repeats the frame, and it is found recorded.
	if added {
		b.inbox.Stored(a.alert)
	}
	return nil
}

// place writes an arrival; it reports whether the alert is new here.
func (b *Broadcaster) place(tx ledger.Tx, a arrival) (bool, error) {
	row, err := tx.Entry(a.chain, a.opened.Number)
	known := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return false, err
	}
	if known && row.State != ledger.EntryKnown {
		return false, nil // on another road before, or passed over and receipted so
	}
	if known && row.Digest != a.opened.Digest {
		return false, b.contradicts(tx, a)
	}
	row = ledger.Entry{Chain: a.chain, Number: a.opened.Number, Digest: a.opened.Digest, Salt: a.opened.Salt, Hash: a.frame.Chain,
		Previous: a.opened.Previous, Subject: a.subject.String(), State: ledger.EntryStored, Code: a.code, Seen: b.Clock()}
	added := false
	if row.Code == "" {
		if added, err = b.keep(tx, a, &row); err != nil {
			return false, err
		}
	}
	if row.Code != "" {
		row.State = ledger.EntryRefused
		if _, err := tx.Append(b.event("alert-refused", a.alert.Header.Key(), a.opened.Digest, row.Code)); err != nil {
			return false, err
		}
	}
	return added, tx.PutEntry(row)
}

// keep stores the alert itself and its meaning; an ID that is taken by another alert becomes a refusal.
func (b *Broadcaster) keep(tx ledger.Tx, a arrival, row *ledger.Entry) (bool, error) {
	h := a.alert.Header
	added, err := tx.PutMessage(recordOf(h, a.frame.Bytes, ledger.In, b.Clock()))
	if fault.CodeOf(err) == "same-id" {
		header, signatures := a.alert.Proof()
		row.Code = "same-id"
		return false, tx.PutConflict(ledger.Conflict{Key: h.Key(), Digest: h.Digest, Header: header, Signatures: signatures, Time: b.Clock()})
	}
	if err != nil || !added {
		return false, err
	}
	if err := b.inbox.Place(tx, a.alert); err != nil {
		return false, err
	}
	return true, second(tx.Append(b.event("alert-received", h.Key(), h.Digest, a.subject.String())))
}

// contradicts keeps the proof that the publisher framed another alert than its index names, and refuses the number.
func (b *Broadcaster) contradicts(tx ledger.Tx, a arrival) error {
	indexes, err := tx.Indexes(a.chain, a.opened.Number, 1)
	if err != nil || len(indexes) == 0 {
		return err
	}
	row, err := tx.Entry(a.chain, a.opened.Number)
	if err != nil {
		return err
	}
	row.State, row.Code = ledger.EntryRefused, "wrong-chain"
	if err := tx.PutEntry(row); err != nil {
		return err
	}
	return b.prove(tx, ledger.Proof{Kind: "chain-entry", Node: a.chain.Publisher, Time: b.Clock(),
		About: a.chain.Audience.String(), First: indexes[0].Signed, Second: a.frame.Bytes})
}
