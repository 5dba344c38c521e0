package seal

import (
	"bytes"
	"context"
	"io"
	"time"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// ControlKind says what a control envelope carries. PROTOCOL 7.1.
type ControlKind string

// The kinds of this version, with their bodies.
const (
	ControlEpochGrant  ControlKind = "epoch-grant"          // Grant
	ControlKeyRequest  ControlKind = "key-request"          // KeyRequest
	ControlChainIndex  ControlKind = "chain-index"          // Signed ChainIndex
	ControlCumulative  ControlKind = "cumulative-receipt"   // Signed CumulativeReceipt
	ControlCosignature ControlKind = "evidence-cosignature" // Signed EvidenceCosignature
	ControlProbe       ControlKind = "probe"                // none; PROTOCOL 7.6
)

// ParseControlKind reads a kind. Invalid code "unknown-kind".
func ParseControlKind(s string) (ControlKind, error) {
	switch k := ControlKind(s); k {
	case ControlEpochGrant, ControlKeyRequest, ControlChainIndex, ControlCumulative, ControlCosignature, ControlProbe:
		return k, nil
	}
	return "", fault.New(fault.Invalid, "unknown-kind", "read control kind", "this version does not know this kind of control envelope")
}

// ControlDraft is all that a new control envelope is made of.
type ControlDraft struct {
	Network string
	ID      message.ID
	// From is who signs, with NodeKey; To who opens, with Key.
	From, To    authority.Node
	Incarnation message.Incarnation
	Kind        ControlKind
	Created     time.Time
	Expires     time.Time
	// Key is the receiving node's sealing key.
	Key     authority.PublicKey
	NodeKey authority.Fingerprint
	Body    []byte
}

// Control is a control envelope that its sender has signed, or one just made. PROTOCOL 7.1.
type Control struct {
	Network     string
	ID          message.ID
	From, To    authority.Node
	Incarnation message.Incarnation
	// Kind may be one that this version does not know, until Open.
	Kind       ControlKind
	Created    time.Time
	Expires    time.Time
	SealingKey authority.Fingerprint
	// Digest is that of the header bytes: the same (From, ID) with another is a conflict. PROTOCOL 5.8.
	Digest message.Digest
	// Bytes are the envelope as it travels and is stored; never made again. PROTOCOL 1.5.
	Bytes []byte

	header, sealed []byte
	signature      *formatv1.Signature
	rules          controlRules
}

// controlRules are what differs between the envelopes that a call carries and mail.
type controlRules struct {
	known           func(ControlKind) error
	maxAll, maxBody int
}

// calls are those of envelopes that go by a call. PROTOCOL 7.1.
func calls() controlRules {
	return controlRules{func(k ControlKind) error { _, err := ParseControlKind(string(k)); return err }, message.MaxControl, message.MaxSealedBody}
}

// NewControl seals and signs. Known spares parsing keys again; it may be nil. PROTOCOL 7.1.
func NewControl(ctx context.Context, d ControlDraft, signer Signer, known *Recipients) (Control, error) {
	return newControl(ctx, d, signer, known, calls())
}

func newControl(ctx context.Context, d ControlDraft, signer Signer, known *Recipients, rules controlRules) (Control, error) {
	if err := rules.known(d.Kind); err != nil {
		return Control{}, err
	}
	sealed, err := encrypt(pad(d.Body), []authority.PublicKey{d.Key}, known)
	if err != nil {
		return Control{}, err
	}
	if len(sealed) > rules.maxBody {
		return Control{}, fault.New(fault.TooLarge, "too-large", "seal control envelope", "the body is larger than allowed")
	}
	key, digest := d.Key.Fingerprint(), message.DigestOf(sealed)
	header := canonical.Marshal(&formatv1.ControlHeader{
		Version: message.Version, Network: d.Network, Id: d.ID.Bytes(), From: d.From.String(), To: d.To.String(),
		Incarnation: incarnation(d.Incarnation), Kind: string(d.Kind), Created: d.Created.UnixMilli(), Expires: d.Expires.UnixMilli(),
		SealingKey: key[:], SealedSize: uint64(len(sealed)), SealedDigest: digest[:],
	})
	value, err := signer.Sign(ctx, d.NodeKey, authority.ForControl, header)
	if err != nil {
		return Control{}, err
	}
	signature := &formatv1.Signature{Algorithm: authority.Ed25519, Key: d.NodeKey[:], Value: value}
	p, err := splitControl(canonical.Marshal(&formatv1.ControlEnvelope{Header: header, Signatures: []*formatv1.Signature{signature}, Sealed: sealed}), rules)
	if err != nil {
		return Control{}, err
	}
	return p.read()
}

// ParsedControl is a control envelope whose parts are bounded and split, and nothing more.
type ParsedControl struct{ c Control }

// ParseControl bounds and splits. PROTOCOL 1.3, 7.1.
func ParseControl(b []byte) (ParsedControl, error) { return splitControl(b, calls()) }

func splitControl(b []byte, rules controlRules) (ParsedControl, error) {
	var m formatv1.ControlEnvelope
	if err := canonical.Unmarshal(b, &m, rules.maxAll); err != nil {
		return ParsedControl{}, err
	}
	if len(m.GetHeader()) > message.MaxHeader || len(m.GetSealed()) > rules.maxBody {
		return ParsedControl{}, fault.New(fault.TooLarge, "too-large", "read control envelope", "the header or the body is larger than allowed")
	}
	s, err := onlySignature(m.GetSignatures())
	return ParsedControl{Control{Bytes: b, header: m.GetHeader(), sealed: m.GetSealed(), signature: s, rules: rules}}, err
}

// Verify checks the signature, reads the header, then that the sender it names has signed it and that the body is the
// one it names. An error means that nobody's signature covers the fault: nothing is stored, and it is an error of the
// call. PROTOCOL 3.4, 7.1, 8.3.
func (p ParsedControl) Verify(find NodeKey) (Control, error) {
	node, err := verifyNode(p.c.header, p.c.signature, authority.ForControl, find)
	if err != nil {
		return Control{}, err
	}
	c, err := p.read()
	if err != nil {
		return Control{}, err
	}
	if c.From != node {
		return Control{}, notSigned("the header names another sender than the node that signed it")
	}
	return c, nil
}

// StoredControl reads a control envelope that was verified, or made here, before it was stored. It checks no signature.
func StoredControl(b []byte) (Control, error) {
	p, err := ParseControl(b)
	if err != nil {
		return Control{}, err
	}
	return p.read()
}

func (p ParsedControl) read() (Control, error) {
	const op = "read control envelope"
	var m formatv1.ControlHeader
	if err := canonical.Unmarshal(p.c.header, &m, message.MaxHeader); err != nil {
		return Control{}, err
	}
	if m.GetVersion() != message.Version {
		return Control{}, fault.New(fault.Invalid, "unknown-version", op, "this version of the protocol is not known here")
	}
	c := p.c
	c.Network, c.Kind, c.Digest = m.GetNetwork(), ControlKind(m.GetKind()), message.DigestOf(c.header)
	c.Created, c.Expires = time.UnixMilli(m.GetCreated()).UTC(), time.UnixMilli(m.GetExpires()).UTC()
	if err := c.names(&m); err != nil {
		return Control{}, err
	}
	if !c.Expires.After(c.Created) || c.Expires.Sub(c.Created) > message.MaxLife {
		return Control{}, fault.New(fault.Invalid, "expires", op, "a control envelope expires after it was made and within a year")
	}
	if !authority.IsSlug(m.GetKind()) {
		return Control{}, malformedSigned("the kind of a control envelope is a slug")
	}
	digest, err := message.DigestFromBytes(m.GetSealedDigest())
	if err != nil {
		return Control{}, err
	}
	if uint64(len(c.sealed)) != m.GetSealedSize() || message.DigestOf(c.sealed) != digest {
		return Control{}, fault.New(fault.Invalid, "wrong-body", op, "the body is not the one that the header names")
	}
	return c, nil
}

func (c *Control) names(m *formatv1.ControlHeader) error {
	var err error
	if c.ID, err = message.IDFromBytes(m.GetId()); err != nil {
		return err
	}
	if c.From, err = authority.ParseNode(m.GetFrom()); err != nil {
		return err
	}
	if c.To, err = authority.ParseNode(m.GetTo()); err != nil {
		return err
	}
	if c.Incarnation, err = message.ParseIncarnation(m.GetIncarnation()); err != nil {
		return err
	}
	c.SealingKey, err = authority.ParseFingerprint(m.GetSealingKey())
	return err
}

// Open decrypts the body. Errors of kind Invalid and TooLarge are covered by the sender's verified signature and answered
// with a rejection of their code; "unknown-kind" is one of them. PROTOCOL 7.1.
func (c Control) Open(ctx context.Context, opener Opener) ([]byte, error) {
	if err := c.rules.known(c.Kind); err != nil {
		return nil, err
	}
	if !oneStanza(c.sealed) {
		return nil, damaged(nil)
	}
	r, err := opener.Open(ctx, c.SealingKey, bytes.NewReader(c.sealed))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, int64(c.rules.maxBody)+1))
	if err != nil {
		return nil, damaged(err)
	}
	return unpad(plain)
}

func damaged(err error) error {
	return fault.Wrap(err, fault.Invalid, "cannot-open", "open control envelope", "the sealed body is damaged, or sealed to more than one key")
}

// oneStanza: a second one would be a reader that the header does not name.
func oneStanza(sealed []byte) bool {
	header, err := age.ExtractHeader(bytes.NewReader(sealed))
	return err == nil && bytes.Count(header, []byte("\n-> ")) == 1
}

// Proof splits off what shows a third party that the node signed this header: its bytes, and Signed with the signature
// and no payload.
func (c Control) Proof() (header, signature []byte) {
	return c.header, canonical.Marshal(&formatv1.Signed{Signatures: []*formatv1.Signature{c.signature}})
}

// ControlReceipt is what a node says of a control envelope that came to it. It is never shown as a receipt of a message.
// PROTOCOL 7.1.
type ControlReceipt struct {
	Network     string
	Node        authority.Node
	Incarnation message.Incarnation
	From        authority.Node
	ID          message.ID
	// Digest of the header bytes.
	Digest message.Digest
	// Stage is message.Received, or message.Rejected with a Code.
	Stage      message.Stage
	Code       string
	Time       time.Time
	Checkpoint message.Digest
}

// Marshal writes the bytes that the node signs.
func (r ControlReceipt) Marshal() []byte {
	return canonical.Marshal(&formatv1.ControlReceipt{
		Network: r.Network, Node: r.Node.String(), Incarnation: incarnation(r.Incarnation), From: r.From.String(), Id: r.ID.Bytes(),
		Digest: r.Digest[:], Stage: string(r.Stage), Code: r.Code, Time: r.Time.UnixMilli(), Checkpoint: r.Checkpoint[:],
	})
}

func (r ControlReceipt) maker() authority.Node { return r.Node }

func controlReceiptForm() form[ControlReceipt] {
	return form[ControlReceipt]{authority.ForControlReceipt, message.MaxReceipt, parseControlReceipt}
}

// SignControlReceipt makes the receipt bytes that are stored and replayed verbatim.
func SignControlReceipt(ctx context.Context, signer Signer, key authority.Fingerprint, r ControlReceipt) ([]byte, error) {
	return controlReceiptForm().sign(ctx, signer, key, r)
}

// VerifyControlReceipt checks a receipt for a control envelope of ours: signed by the node that it was made for, about
// this envelope and these bytes. PROTOCOL 3.4, 7.1.
func VerifyControlReceipt(signed []byte, c Control, find NodeKey) (ControlReceipt, error) {
	r, err := controlReceiptForm().verify(signed, find)
	if err != nil {
		return ControlReceipt{}, err
	}
	if r.Node != c.To || r.Network != c.Network || r.From != c.From || r.ID != c.ID || r.Digest != c.Digest {
		return ControlReceipt{}, fault.New(fault.Invalid, "wrong-receipt", "verify control receipt", "the receipt is about something else")
	}
	return r, nil
}

func parseControlReceipt(b []byte) (ControlReceipt, error) {
	var m formatv1.ControlReceipt
	err := canonical.Unmarshal(b, &m, message.MaxReceipt)
	if err != nil {
		return ControlReceipt{}, err
	}
	r := ControlReceipt{Network: m.GetNetwork(), Stage: message.Stage(m.GetStage()), Code: m.GetCode(), Time: time.UnixMilli(m.GetTime()).UTC()}
	rejected := r.Stage == message.Rejected && authority.IsSlug(r.Code)
	if received := r.Stage == message.Received && r.Code == ""; !received && !rejected {
		return ControlReceipt{}, malformedSigned("a control receipt says RECEIVED, or REJECTED with a code")
	}
	if r.Node, err = authority.ParseNode(m.GetNode()); err != nil {
		return ControlReceipt{}, err
	}
	if r.Incarnation, err = message.ParseIncarnation(m.GetIncarnation()); err != nil {
		return ControlReceipt{}, err
	}
	if r.From, err = authority.ParseNode(m.GetFrom()); err != nil {
		return ControlReceipt{}, err
	}
	if r.ID, err = message.IDFromBytes(m.GetId()); err != nil {
		return ControlReceipt{}, err
	}
	if r.Digest, err = message.DigestFromBytes(m.GetDigest()); err != nil {
		return ControlReceipt{}, err
	}
	r.Checkpoint, err = message.DigestFromBytes(m.GetCheckpoint())
	return r, err
}
