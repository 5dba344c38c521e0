package exchange

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// Receive takes one envelope from another node and returns the signed receipt, which is on stable storage together with
// the message (P1, P3). A repeat returns the same receipt bytes (P2). Errors are unsigned and store nothing, save the
// two headers of a conflict. PROTOCOL 8.3, 10.3.
func (e *Exchange) Receive(ctx context.Context, from authority.Node, envelope []byte) ([]byte, error) {
	if err := e.Ready(); err != nil {
		return nil, err
	}
	view := e.Directory.Load().At(e.Clock())
	parsed, err := seal.ParseEnvelope(envelope)
	if err != nil {
		return nil, err
	}
	env, err := parsed.Verify(view.AuthorityKey)
	if err != nil {
		return nil, err
	}
	if err := e.belongs(from, env.Header); err != nil {
		return nil, err
	}
	// Before the standing of sender and key is asked: what was receipted stays receipted, whatever was revoked since.
	if receipt, err := e.known(ctx, env); receipt != nil || err != nil {
		return receipt, err
	}
	if err := e.admit(view, env.Header); err != nil {
		return nil, err
	}
	a, err := e.examine(ctx, view, env)
	if err != nil {
		return nil, err
	}
	receipt, err := e.commitArrival(ctx, env, a)
	if err != nil {
		return nil, err
	}
	// If the machine stops here, the sender asks again and known() answers with the same bytes.
	e.tell()
	if env.Header.Kind.IsAlert() && e.Alerts != nil {
		e.Alerts.Admitted(env.Header)
	}
	return receipt, nil
}

const (
	opReceive = "receive message"
	// wrongAddressee is the rejection of a node that serves none of the recipients. PROTOCOL 8.4.
	wrongAddressee = "wrong-addressee"
)

// belongs checks that the verified header is of this network and came from a node of its sender's state.
func (e *Exchange) belongs(from authority.Node, h message.Header) error {
	const op = opReceive
	if h.Network != e.Directory.Load().NetworkID() {
		return fault.New(fault.Invalid, "wrong-network", op, "the message belongs to another network")
	}
	if from.State() != h.Sender.State() {
		return fault.New(fault.Denied, "wrong-node", op, "the sending node does not belong to the sender's state")
	}
	return nil
}

// admit checks a new arrival against the current directory and the clock. Nothing is stored yet.
func (e *Exchange) admit(view directory.View, h message.Header) error {
	const op = opReceive
	for _, r := range h.Required {
		if err := view.CheckArrival(r.Key); err != nil {
			return err
		}
	}
	if err := view.CheckAuthority(h.Sender); err != nil {
		return err
	}
	if h.Created.After(e.Clock().Add(message.MaxAhead)) {
		return fault.New(fault.Retry, "future", op, "the message is dated more than 5 minutes in the future").
			WithHint("one of the two clocks is wrong")
	}
	if len(e.addressees(view, h)) == 0 && h.Position > e.Directory.Load().Position() {
		return fault.New(fault.Retry, "directory-behind", op, "the sender's directory is newer than the one here")
	}
	return nil
}

// known answers a repeat with the stored receipt, and keeps the proof when the same ID comes with other bytes.
// PROTOCOL 5.8, 8.2.
func (e *Exchange) known(ctx context.Context, env seal.Envelope) ([]byte, error) {
	var r ledger.Receipt
	err := e.Ledger.View(ctx, func(rd ledger.Reader) error {
		var err error
		r, err = rd.ReceiptFor(env.Header.Key())
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if r.Digest == env.Header.Digest {
		return newest(r), nil
	}
	return nil, e.conflict(ctx, env, r.Digest)
}

func newest(r ledger.Receipt) []byte {
	if len(r.Complete) > 0 {
		return r.Complete
	}
	return r.Received
}

// conflict stores the second signed header as proof that the sender signed two messages with one ID.
func (e *Exchange) conflict(ctx context.Context, env seal.Envelope, first message.Digest) error {
	header, signatures := env.Proof()
	err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		kept, err := tx.Conflicts(env.Header.Key())
		if err != nil || len(kept) > 0 {
			return err // two signed headers prove it; more only fill the disk
		}
		err = tx.PutConflict(ledger.Conflict{Key: env.Header.Key(), Digest: env.Header.Digest, Header: header, Signatures: signatures, Time: e.Clock()})
		if err != nil {
			return err
		}
		return second(tx.Append(e.event("conflict", nodeActor, env.Header.Key(), env.Header.Digest, first.String())))
	})
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "same-id", "receive message", "another message with this ID was received before; both signed headers are kept")
}

// arrival is what examination found: accepted with content, or rejected with a code that the sender's own signature
// makes final.
type arrival struct {
	served  []message.Recipient
	code    string
	content seal.Content
}

// examine opens the message and judges it. A returned error is passing or unsigned; a fault that the sender's verified
// signature covers becomes a code. PROTOCOL 8.4.
func (e *Exchange) examine(ctx context.Context, view directory.View, env seal.Envelope) (arrival, error) {
	a := arrival{served: e.addressees(view, env.Header)}
	if err := e.waiting(view, env.Header); err != nil {
		return arrival{}, err
	}
	switch {
	case len(a.served) == 0:
		a.code = wrongAddressee
		a.served = firstOther(env.Header)
		return a, nil
	case !env.Header.Expires.After(e.Clock()):
		a.code = "expired"
		return a, nil
	}
	content, err := env.Open(ctx, e.Keys, a.served[0].Key)
	switch {
	case fault.Is(err, fault.NotFound):
		a.code = "unknown-sealing-key"
	case fault.Is(err, fault.Invalid), fault.Is(err, fault.TooLarge):
		a.code = codeOf(err)
	case err != nil:
		return arrival{}, err
	default:
		a.content = content
		if env.Header.Kind.IsAlert() {
			a.code, err = e.judgeAlert(env.Header, content)
			return a, err
		}
		a.code = e.wellFormed(env.Header, content)
	}
	return a, nil
}

// codeOf never is empty: an empty code would mean that the message is accepted.
func codeOf(err error) string {
	if code := fault.CodeOf(err); code != "" {
		return code
	}
	return "malformed-body"
}

// judgeAlert leaves a message of an alert to those who know them.
func (e *Exchange) judgeAlert(h message.Header, c seal.Content) (string, error) {
	if e.Alerts == nil {
		return "unknown-kind", nil
	}
	return e.Alerts.Judge(h, c)
}

// firstOther is the recipient that a rejection speaks for when none is served here. PROTOCOL 8.4.
func firstOther(h message.Header) []message.Recipient {
	for _, r := range h.Recipients {
		if r.Authority != h.Sender {
			return []message.Recipient{r}
		}
	}
	return h.Recipients[:1] // the parser wants two different recipients, so this is not reached
}

// wellFormed is the code of what is wrong with an opened message, or empty.
func (e *Exchange) wellFormed(h message.Header, c seal.Content) string {
	want := map[message.Kind]string{
		message.KindRequest: itemRequest, message.KindAcknowledge: itemAcknowledgement, message.KindReply: itemAnswer,
		message.KindRefuse: itemRefusal, message.KindClose: itemClosing,
	}[h.Kind]
	if len(c.Items) == 0 || c.Items[0].Type != want {
		return "wrong-item"
	}
	for _, it := range c.Items {
		if err := boundItem(it); err != nil {
			return codeOf(err)
		}
	}
	var asked message.Compose
	for _, it := range c.Items {
		if err := readItem(it, &asked); err != nil {
			return codeOf(err)
		}
	}
	if h.Kind == message.KindRequest {
		if _, err := authority.ParseRequestKind(asked.Request.GetKind()); err != nil {
			return codeOf(err)
		}
	}
	return ""
}

// commitArrival is the one fact of a reception: message, receipt, case and events, or the rejection alone.
func (e *Exchange) commitArrival(ctx context.Context, env seal.Envelope, a arrival) ([]byte, error) {
	var receipt []byte
	err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		if r, err := tx.ReceiptFor(env.Header.Key()); err == nil {
			receipt = newest(r) // another road was quicker
			if r.Digest != env.Header.Digest {
				return fault.New(fault.Conflict, "same-id", "receive message", "another message with this ID was received before")
			}
			return nil
		}
		code := a.code
		if code == "" {
			var err error
			if code, err = e.place(tx, env, a); err != nil {
				return err
			}
		}
		var err error
		receipt, err = e.putReceipt(ctx, tx, env, a.served, code)
		return err
	})
	return receipt, err
}

// place stores an accepted message and moves or begins its case. A code is returned where the conversation forbids it.
func (e *Exchange) place(tx ledger.Tx, env seal.Envelope, a arrival) (string, error) {
	h := env.Header
	if h.Kind.IsAlert() {
		return e.placeAlert(tx, env, a)
	}
	cases := make([]ledger.Case, 0, len(a.served))
	for _, r := range a.served {
		c, code, err := e.caseOf(tx, h, a.content, r.Authority)
		if err != nil || code != "" {
			return code, err
		}
		cases = append(cases, c)
	}
	if _, err := tx.PutMessage(recordOf(h, env.Bytes, ledger.In, e.Clock())); err != nil {
		return "", err
	}
	if err := e.expectAttachments(tx, h); err != nil {
		return "", err
	}
	for _, c := range cases {
		if _, err := tx.PutCase(c); err != nil {
			return "", err
		}
	}
	return "", nil
}

// placeAlert stores an accepted message of an alert.
func (e *Exchange) placeAlert(tx ledger.Tx, env seal.Envelope, a arrival) (string, error) {
	h := env.Header
	var to []authority.Name
	for _, r := range a.served {
		to = append(to, r.Authority)
	}
	if code, err := e.Alerts.Admit(tx, h, a.content, to); err != nil || code != "" {
		return code, err
	}
	if _, err := tx.PutMessage(recordOf(h, env.Bytes, ledger.In, e.Clock())); err != nil {
		return "", err
	}
	return "", e.expectAttachments(tx, h)
}

// caseOf begins or moves the case of one addressed authority, without writing it.
func (e *Exchange) caseOf(tx ledger.Tx, h message.Header, content seal.Content, own authority.Name) (ledger.Case, string, error) {
	if h.Kind == message.KindRequest {
		// A conversation has one request, whichever of our authorities it went to.
		others, err := tx.CasesOf(h.Conversation)
		if err != nil || len(others) > 0 {
			return ledger.Case{}, "conversation-exists", err
		}
		return e.newCase(h, content, own), "", nil
	}
	c, err := tx.Case(h.Conversation, own)
	if fault.Is(err, fault.NotFound) {
		return c, "unknown-conversation", nil
	}
	if err != nil {
		return c, "", err
	}
	if again, err := e.acknowledged(tx, h); err != nil || again {
		return c, "wrong-state", err
	}
	c, code := e.follow(c, h, content)
	return c, code, nil
}

// acknowledged reports whether a second acknowledgement has come: one person takes a request on, once.
func (e *Exchange) acknowledged(tx ledger.Tx, h message.Header) (bool, error) {
	if h.Kind != message.KindAcknowledge {
		return false, nil
	}
	all, err := tx.MessagesOf(h.Conversation)
	return slices.ContainsFunc(all, func(m ledger.Message) bool { return m.Kind == message.KindAcknowledge && m.Key.Sender == h.Sender }), err
}

func (e *Exchange) newCase(h message.Header, content seal.Content, own authority.Name) ledger.Case {
	asked := message.Compose{}
	for _, it := range content.Items {
		_ = readItem(it, &asked) // wellFormed has read the same items without error
	}
	kind, _ := authority.ParseRequestKind(asked.Request.GetKind()) // as above
	now := e.Clock()
	return ledger.Case{
		Conversation: h.Conversation, Own: own, Peer: h.Sender, Side: message.Requested,
		Reference: trusted(asked.Request.GetReference(), h.Sender, own), RequestKind: kind, Category: h.Category, Urgency: h.Urgency,
		Status: h.Status, State: message.Delivered, Title: asked.Request.GetTitle(), Created: h.Created, Changed: now,
		Due: now.Add(h.Urgency.AnswerWithin()), Attachments: len(h.Attachments),
	}
}

// trusted is a reference that can only be the sender's: officers name requests by it, so one that looks like another
// state's is dropped.
func trusted(ref string, sender, own authority.Name) string {
	rest, ok := strings.CutPrefix(ref, referencePrefix(sender, own))
	if !ok || strings.Trim(rest, "0123456789-") != "" {
		return ""
	}
	return ref
}

// follow moves a case by a message of the other side. A late acknowledgement is kept without moving anything: it was
// overtaken by the answer it announced.
func (e *Exchange) follow(c ledger.Case, h message.Header, content seal.Content) (ledger.Case, string) {
	if c.Peer != h.Sender {
		return c, "unknown-conversation"
	}
	other := message.Requested
	if c.Side == message.Requested {
		other = message.Requesting
	}
	next, err := message.Next(c.State, h.Kind, other)
	late := h.Kind == message.KindAcknowledge && other == message.Requested && (c.State == message.Answered || c.State == message.Refused || c.State == message.Closed)
	switch {
	case err == nil:
		c.State = next
	case !late:
		return c, "wrong-state"
	}
	if steps, err := readSteps(content); err == nil && steps.Acknowledgement != nil {
		c.LocalReference = steps.Acknowledgement.GetLocalReference()
	}
	c.Changed = e.Clock()
	c.Attachments += len(h.Attachments)
	return c, ""
}

// putReceipt fixes the receipt bytes inside the commit of the fact. P2, P3; PROTOCOL 8.1.
func (e *Exchange) putReceipt(ctx context.Context, tx ledger.Tx, env seal.Envelope, served []message.Recipient, code string) ([]byte, error) {
	stage := message.Complete
	switch {
	case code != "":
		stage = message.Rejected
	case len(env.Header.Attachments) > 0:
		stage = message.Received
	}
	signed, err := e.signReceipt(ctx, tx, env.Header, served, stage, code)
	if err != nil {
		return nil, err
	}
	r := ledger.Receipt{Key: env.Header.Key(), Digest: env.Header.Digest, Received: signed}
	if err := tx.PutReceipt(r); err != nil {
		return nil, err
	}
	kind := "received"
	if code != "" {
		kind = "rejected"
	}
	return signed, second(tx.Append(e.event(kind, nodeActor, r.Key, message.DigestOf(signed), code)))
}

func (e *Exchange) signReceipt(ctx context.Context, tx ledger.Tx, h message.Header, served []message.Recipient, stage message.Stage, code string) ([]byte, error) {
	checkpoint, err := tx.Checkpoint()
	if err != nil {
		return nil, err
	}
	r := message.Receipt{
		Network: h.Network, Node: e.Node, Incarnation: e.Incarnation, Message: h.Key(), Digest: h.Digest,
		Time: e.Clock(), Checkpoint: checkpoint,
	}
	for _, s := range served {
		r.Stages = append(r.Stages, message.StageOf{Authority: s.Authority, Stage: stage, Code: code})
	}
	return seal.SignReceipt(ctx, e.Keys, e.NodeKey(), r)
}

// boundItem reads one item of content and holds it to the bounds of what can be shown. Items of types that this version
// does not know are kept and not shown.
func boundItem(it seal.Item) error {
	body := itemBody(it.Type)
	if body == nil {
		return nil
	}
	if err := it.Read(it.Type, body); err != nil {
		return err
	}
	return message.Bounded(body)
}

// itemBody is an empty message of an item's type, nil for an unknown one. PROTOCOL 5.7.
func itemBody(kind string) proto.Message {
	switch kind {
	case itemRequest:
		return new(formatv1.Request)
	case itemAsk:
		return new(formatv1.Ask)
	case itemSubject:
		return new(formatv1.Subject)
	case itemAttachment:
		return new(formatv1.AttachmentNote)
	case itemAcknowledgement:
		return new(formatv1.Acknowledgement)
	case itemAnswer:
		return new(formatv1.Answer)
	case itemRefusal:
		return new(formatv1.Refusal)
	case itemClosing:
		return new(formatv1.Closing)
	}
	return nil
}
