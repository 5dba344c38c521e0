package seal

import (
	"context"
	"io"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// AlertDraft is all that a new alert to an audience is made of.
type AlertDraft struct {
	// Context with an audience and no recipients; Required names the signing keys.
	Context message.Context
	Content Content
}

// Alert is an alert to an audience: a header that its authority signed and the content that the header commits to. It
// has no place in a chain yet, or any longer: [Alert.Frame] gives it one, and may do so again. PROTOCOL 7.4.
type Alert struct {
	Header  message.Header
	Content Content

	// Bytes as they were signed and committed to; never made again. PROTOCOL 1.5.
	header     []byte
	signatures []*formatv1.Signature
	content    []byte
}

// NewAlert commits to the content and has the header signed. The context's salt is made here; items bring their own.
// An alert whose frame would be too large for its readers is refused here already, code "too-large". PROTOCOL 5.4, 5.5,
// 7.4.
func NewAlert(ctx context.Context, d AlertDraft, signer Signer, random io.Reader) (Alert, error) {
	if d.Context.Audience == nil {
		return Alert{}, unaddressed("make alert")
	}
	salt, err := newSalt(random)
	if err != nil {
		return Alert{}, err
	}
	d.Content.ContextSalt = salt
	h := message.Header{Context: d.Context, ContextBytes: d.Context.Marshal()}
	h.Commitment = d.Content.Commitment(h.ContextBytes)
	a := Alert{Content: d.Content, header: h.Marshal(), content: d.Content.canonical()}
	if a.Header, err = message.ParseHeader(a.header); err != nil {
		return Alert{}, err // what no reader takes is not signed
	}
	if a.signatures, err = signHeader(ctx, a.Header, a.header, signer); err != nil {
		return Alert{}, err
	}
	if len(a.plain(make([]byte, saltSize), 1<<63, a.Header.Commitment)) > message.MaxSealedBody {
		return Alert{}, fault.New(fault.TooLarge, "too-large", "make alert", "the alert is larger than 1 MiB").
			WithHint("move long material into an attachment")
	}
	return a, nil
}

func unaddressed(operation string) error {
	return fault.New(fault.Invalid, "audience", operation, "an alert in a frame has an audience; a directed one travels in an envelope")
}

// Proof splits off what shows a third party that the authority signed this header: its bytes, and Signed with the
// signatures and no payload.
func (a Alert) Proof() (header, signatures []byte) {
	return a.header, canonical.Marshal(&formatv1.Signed{Signatures: a.signatures})
}

// plain is what a frame seals: the alert under its salt and number, padded. The first alert names none before it.
// PROTOCOL 5.6, 7.4.
func (a Alert) plain(salt []byte, number uint64, previous message.Digest) []byte {
	m := &formatv1.Alert{Header: a.header, Signatures: a.signatures, Content: a.content, Salt: salt, Number: number}
	if number > 1 {
		m.Previous = previous.Bytes()
	}
	return pad(canonical.Marshal(m))
}

// Framing is an alert's place: whose chain, which epoch, which number.
type Framing struct {
	Publisher authority.Node
	// NodeKey is the publisher's signing key.
	NodeKey     authority.Fingerprint
	Incarnation message.Incarnation
	Epoch       uint64
	Key         EpochKey
	// Number counts from 1 in the chain; Previous is the chain hash of the number before, zero at the first.
	Number   uint64
	Previous message.Digest
}

// Framed is a frame just made.
type Framed struct {
	// Bytes are the Signed frame: one for each number, on every road. PROTOCOL 7.4.
	Bytes []byte
	// Salt is the 32 bytes that a chain index tells.
	Salt []byte
	// Chain is the chain hash of this number.
	Chain message.Digest
}

// Frame seals the alert once to the epoch key and has the node sign it. Nothing is durable yet. PROTOCOL 7.4, 7.5.
func (a Alert) Frame(ctx context.Context, f Framing, signer Signer, random io.Reader) (Framed, error) {
	const op = "frame alert"
	if f.Epoch == 0 || f.Number == 0 || (f.Number == 1) != (f.Previous == message.Digest{}) {
		return Framed{}, fault.New(fault.Internal, "", op, "an alert is numbered from 1, and all but the first name the one before")
	}
	if a.Header.Sender.State() != f.Publisher.State() {
		return Framed{}, foreign(op)
	}
	salt, err := newSalt(random)
	if err != nil {
		return Framed{}, err
	}
	sealed, err := encryptTo(a.plain(salt, f.Number, f.Previous), f.Key)
	if err != nil {
		return Framed{}, err
	}
	out := Framed{Salt: salt, Chain: ChainHash(salt, f.Number, f.Previous, a.Header.Digest)}
	fingerprint := f.Key.Fingerprint()
	out.Bytes, err = SignNode(ctx, signer, f.NodeKey, authority.ForFrame, canonical.Marshal(&formatv1.Frame{
		Network: a.Header.Network, Publisher: f.Publisher.String(), Incarnation: incarnation(f.Incarnation), Epoch: f.Epoch,
		KeyFingerprint: fingerprint[:], Chain: out.Chain[:], Sealed: sealed,
	}))
	if err == nil && len(out.Bytes) > message.MaxFrame {
		return Framed{}, fault.New(fault.TooLarge, "too-large", op, "the frame is larger than an envelope may be")
	}
	return out, err
}

func foreign(operation string) error {
	return fault.New(fault.Invalid, "wrong-node", operation, "an alert is published by a node of its sender's state")
}

func incarnation(i message.Incarnation) *formatv1.Incarnation {
	return &formatv1.Incarnation{Counter: i.Counter, Random: i.Random[:]}
}
