package exchange

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// Outgoing is a directed message of an alert, as the room that keeps alerts composes it.
type Outgoing struct {
	From authority.Name
	// To are 1 to 63 authorities, From not among them.
	To           []authority.Name
	Kind         message.Kind
	Conversation message.ID
	InReplyTo    message.ID
	Category     authority.Category
	Urgency      message.Urgency
	Status       message.OperationalStatus
	Approval     message.Approval
	// Expires is zero for the default by urgency.
	Expires  time.Time
	Items    []seal.Item
	Keys     []seal.AttachmentKey
	Manifest []message.Attachment
}

// Parcel is a message of ours, sealed and signed, with the nodes it goes to. Nothing of it is stored yet.
type Parcel struct {
	envelope seal.Envelope
	nodes    []authority.Node
	// Freshness of the directory it was addressed by.
	Freshness string
}

// Header is the signed header.
func (p Parcel) Header() message.Header { return p.envelope.Header }

// Compose looks the parties up in the directory of now, seals and signs. Retry "directory-stale" and those of a party
// without keys or node; Denied where a party may not receive.
func (e *Exchange) Compose(ctx context.Context, o Outgoing) (Parcel, error) {
	if n := len(o.To); n == 0 || n >= message.MaxRecipients {
		return Parcel{}, fault.New(fault.Invalid, "recipients", "send message", "a directed message goes to 1 to 63 authorities")
	}
	return e.compose(ctx, outgoing{
		from: o.From, to: o.To, kind: o.Kind, conversation: o.Conversation, inReplyTo: o.InReplyTo, category: o.Category,
		urgency: o.Urgency, status: o.Status, approval: o.Approval, expires: o.Expires, items: o.Items, keys: o.Keys, manifest: o.Manifest,
	})
}

// Commit records a message of ours, a delivery for each other node and the event, in the caller's transaction. After the
// transaction Told makes it leave.
func (e *Exchange) Commit(tx ledger.Tx, a Actor, p Parcel) error {
	h := p.envelope.Header
	if _, err := tx.PutMessage(recordOf(h, p.envelope.Bytes, ledger.Out, e.Clock())); err != nil {
		return err
	}
	for _, node := range p.nodes {
		// The delivery starts at once from memory; Next is when the ledger reminds of it if that did not happen.
		err := tx.PutDelivery(ledger.Delivery{
			Key: h.Key(), Node: node, State: ledger.Queued, Next: e.Clock().Add(scanEvery), Lane: h.Urgency.Lane(), Expires: h.Expires,
		})
		if err != nil {
			return err
		}
	}
	return second(tx.Append(e.event("submitted", a.Account, h.Key(), h.Digest, string(h.Kind))))
}

// Told starts the delivery of what was committed. If the machine stops before, the outbox has it and start-up delivers
// it.
func (e *Exchange) Told(p Parcel) {
	e.tell()
	for _, node := range p.nodes {
		e.deliveries.fresh(p.envelope, node)
	}
}

// OpenMessage opens a stored directed message with the key of one of its recipients that this node serves.
func (e *Exchange) OpenMessage(ctx context.Context, own authority.Name, m ledger.Message) (message.Header, seal.Content, error) {
	env, content, err := e.openStored(ctx, own, m)
	return env.Header, content, err
}

// outgoing is what every message of ours is made of.
type outgoing struct {
	from         authority.Name
	to           []authority.Name
	kind         message.Kind
	conversation message.ID
	inReplyTo    message.ID
	category     authority.Category
	urgency      message.Urgency
	status       message.OperationalStatus
	approval     message.Approval
	expires      time.Time
	items        []seal.Item
	keys         []seal.AttachmentKey
	manifest     []message.Attachment
}

// compose looks the parties up in the current directory, seals and signs. Authorised at send time against the current
// snapshot, never against a copied list (P7).
func (e *Exchange) compose(ctx context.Context, o outgoing) (Parcel, error) {
	if err := e.Ready(); err != nil {
		return Parcel{}, err
	}
	now := e.Clock()
	freshness, since := e.Directory.Freshness(now)
	if freshness == "stale" {
		return Parcel{}, fault.New(fault.Retry, "directory-stale", "send message",
			"the directory was last confirmed "+since.UTC().Format(time.RFC3339)+", too long ago to address anyone by it").WithHint("`enlace doctor` says what keeps the hub away")
	}
	snapshot := e.Directory.Load()
	party, err := e.parties(snapshot.At(now), o)
	if err != nil {
		return Parcel{}, err
	}
	id, err := message.NewID(now, e.Random)
	if err != nil {
		return Parcel{}, err
	}
	expires := o.expires
	if expires.IsZero() {
		expires = now.Add(o.urgency.ExpiresWithin())
	}
	draft := seal.Draft{
		Context: message.Context{
			Network: snapshot.NetworkID(), ID: id, Conversation: o.conversation, InReplyTo: o.inReplyTo, Kind: o.kind, Sender: o.from,
			Recipients: party.recipients, Category: o.category, Urgency: o.urgency, Status: o.status,
			Created: now, Expires: expires, Position: snapshot.Position(), Approval: o.approval, Attachments: o.manifest,
			Required: []message.RequiredSignature{{Algorithm: authority.Ed25519, Key: party.signing}},
		},
		Content: seal.Content{Items: o.items, Attachments: o.keys},
		Keys:    party.sealing,
		Known:   &e.recipients,
	}
	env, err := seal.New(ctx, draft, e.Keys, e.Random)
	if err != nil {
		return Parcel{}, err
	}
	// Nothing is committed that a receiver, or we ourselves later, could not read.
	if _, err := message.ParseHeader(env.Header.Marshal()); err != nil {
		return Parcel{}, err
	}
	return Parcel{env, party.nodes, freshness}, nil
}

// party is what the directory says of the ends.
type party struct {
	// nodes are those of the recipients, each once, without our own: what is for us is here.
	nodes      []authority.Node
	signing    authority.Fingerprint
	recipients []message.Recipient
	sealing    []authority.PublicKey
}

func (e *Exchange) parties(view directory.View, o outgoing) (party, error) {
	var p party
	known := map[authority.Node]bool{e.Node: true}
	for _, name := range o.to {
		if err := p.add(view, name); err != nil {
			return party{}, err
		}
		node, ok := view.NodeOf(name)
		if !ok {
			return party{}, fault.New(fault.Retry, "no-node", "send message", "the directory names no node for "+name.String())
		}
		if !known[node.Node] {
			known[node.Node] = true
			p.nodes = append(p.nodes, node.Node)
		}
	}
	if err := p.add(view, o.from); err != nil {
		return party{}, err
	}
	signing, ok := view.Newest(directory.OfAuthority(o.from), directory.PurposeSign)
	if !ok {
		return party{}, fault.New(fault.Retry, "no-signing-key", "send message", "the directory has no valid signing key for "+o.from.String())
	}
	p.signing = signing.Fingerprint
	return p, nil
}

// add makes an authority the next recipient.
func (p *party) add(view directory.View, name authority.Name) error {
	if err := view.CheckAuthority(name); err != nil {
		return err
	}
	key, ok := view.SealingKey(name)
	if !ok {
		return fault.New(fault.Retry, "no-sealing-key", "send message", "the directory has no valid sealing key for "+name.String())
	}
	p.recipients = append(p.recipients, message.Recipient{Authority: name, Key: key.Fingerprint(), Stanza: uint32(len(p.recipients))})
	p.sealing = append(p.sealing, key)
	return nil
}

// ReceiptTime is when the newest receipt of a delivery was signed, verified against the directory of now; zero where
// there is none that holds.
func (e *Exchange) ReceiptTime(h message.Header, d ledger.Delivery) time.Time {
	signed := newest(ledger.Receipt{Received: d.Receipt, Complete: d.CompleteReceipt})
	if len(signed) == 0 {
		return time.Time{}
	}
	r, err := seal.VerifyReceipt(signed, h, e.Directory.Load().At(e.Clock()).NodeKey)
	if err != nil {
		return time.Time{}
	}
	return r.Time
}
