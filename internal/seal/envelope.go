package seal

import (
	"bytes"
	"context"
	"io"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Signer signs with the private key of a fingerprint, bound to a purpose.
type Signer interface {
	Sign(ctx context.Context, key authority.Fingerprint, purpose authority.Purpose, payload []byte) ([]byte, error)
}

// Opener opens an age file with the private sealing key of a fingerprint. Kind Retry when the keyring is away.
type Opener interface {
	Open(ctx context.Context, key authority.Fingerprint, sealed io.Reader) (io.Reader, error)
}

// SigningKey is a public key as the directory knows it, with its owner. Unknown keys are Retry code "unknown-key"
// (the directory may be behind), revoked ones Denied code "revoked".
type SigningKey func(authority.Fingerprint) (authority.Name, authority.PublicKey, error)

// Draft is all that a new envelope is made of.
type Draft struct {
	// Context with recipients in order, their keys named; Required names the signing keys.
	Context message.Context
	Content Content
	// Keys are the recipients' sealing keys, in the order of Context.Recipients.
	Keys []authority.PublicKey
	// Known spares parsing keys again; may be nil.
	Known *Recipients
}

// Envelope is a verified envelope, or one just made.
type Envelope struct {
	Header message.Header
	// Sealed is the age file.
	Sealed []byte
	// Bytes are the envelope as it travels and is stored; never made again. PROTOCOL 1.5.
	Bytes []byte
}

// New seals and signs a draft. The context's salt is made here; items bring their own.
func New(ctx context.Context, d Draft, signer Signer, random io.Reader) (Envelope, error) {
	if d.Context.Audience != nil {
		return Envelope{}, broadcast("seal message")
	}
	salt, err := newSalt(random)
	if err != nil {
		return Envelope{}, err
	}
	d.Content.ContextSalt = salt
	sealed, err := encrypt(d.Content.marshal(), d.Keys, d.Known)
	if err != nil {
		return Envelope{}, err
	}
	if len(sealed) > message.MaxSealedBody {
		return Envelope{}, fault.New(fault.TooLarge, "too-large", "seal message", "the message is larger than 1 MiB").
			WithHint("move long material into an attachment")
	}
	h := message.Header{Context: d.Context, ContextBytes: d.Context.Marshal(), SealedSize: uint64(len(sealed)), SealedDigest: message.DigestOf(sealed)}
	h.Commitment = d.Content.Commitment(h.ContextBytes)
	return sign(ctx, h, sealed, signer)
}

func encrypt(plain []byte, keys []authority.PublicKey, known *Recipients) ([]byte, error) {
	recipients := make([]age.Recipient, 0, len(keys))
	for _, k := range keys {
		r, err := known.parse(k)
		if err != nil {
			return nil, err
		}
		recipients = append(recipients, r)
	}
	return encryptTo(plain, recipients...)
}

func encryptTo(plain []byte, recipients ...age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipients...)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "seal message", "sealing failed")
	}
	return out.Bytes(), nil
}

func sign(ctx context.Context, h message.Header, sealed []byte, signer Signer) (Envelope, error) {
	header := h.Marshal()
	if len(header) > message.MaxHeader {
		return Envelope{}, fault.New(fault.TooLarge, "too-large", "seal message", "the header is larger than 16 KiB")
	}
	h.Digest = message.DigestOf(header)
	signatures, err := signHeader(ctx, h, header, signer)
	if err != nil {
		return Envelope{}, err
	}
	m := &formatv1.Envelope{Header: header, Signatures: signatures, Sealed: sealed}
	return Envelope{Header: h, Sealed: sealed, Bytes: canonical.Marshal(m)}, nil
}

// signHeader makes every signature that the header requires. PROTOCOL 5.4.
func signHeader(ctx context.Context, h message.Header, header []byte, signer Signer) ([]*formatv1.Signature, error) {
	var out []*formatv1.Signature
	for _, r := range h.Required {
		value, err := signer.Sign(ctx, r.Key, authority.ForHeader, header)
		if err != nil {
			return nil, err
		}
		out = append(out, &formatv1.Signature{Algorithm: r.Algorithm, Key: r.Key[:], Value: value})
	}
	return out, nil
}

// Parsed is an envelope whose parts are bounded and split, and nothing more: no field of its header may be believed.
type Parsed struct {
	raw        []byte
	header     []byte
	signatures []*formatv1.Signature
	sealed     []byte
}

// ParseEnvelope bounds and splits. PROTOCOL 1.3, 5.1.
func ParseEnvelope(b []byte) (Parsed, error) {
	var m formatv1.Envelope
	if err := canonical.Unmarshal(b, &m, message.MaxEnvelope); err != nil {
		return Parsed{}, err
	}
	if len(m.GetHeader()) > message.MaxHeader || len(m.GetSealed()) > message.MaxSealedBody {
		return Parsed{}, fault.New(fault.TooLarge, "too-large", "read envelope", "the header or the body is larger than allowed")
	}
	if err := countSignatures(m.GetSignatures()); err != nil {
		return Parsed{}, err
	}
	return Parsed{b, m.GetHeader(), m.GetSignatures(), m.GetSealed()}, nil
}

// Verify checks every signature with keys that the directory knows, then reads the header, then checks that the sender
// owns the keys, that no required signature is missing, and that the body is the one the header names. PROTOCOL 5.4.
//
// Errors of kind Invalid are faults of transport or forgery: nobody's signature covers the fault, so nothing is stored.
func (p Parsed) Verify(find SigningKey) (Envelope, error) {
	owners, err := verifyHeader(p.header, p.signatures, find)
	if err != nil {
		return Envelope{}, err
	}
	h, err := message.ParseHeader(p.header)
	if err != nil {
		return Envelope{}, err
	}
	if err := owned(h, owners, len(p.signatures)); err != nil {
		return Envelope{}, err
	}
	if h.Audience != nil {
		return Envelope{}, broadcast("verify envelope")
	}
	if uint64(len(p.sealed)) != h.SealedSize || message.DigestOf(p.sealed) != h.SealedDigest {
		return Envelope{}, fault.New(fault.Invalid, "wrong-body", "verify envelope", "the body is not the one that the header names")
	}
	return Envelope{Header: h, Sealed: p.sealed, Bytes: p.raw}, nil
}

// broadcast refuses a header with an audience in an envelope: it names no sealed body, so nothing would tie one to it.
// PROTOCOL 5.2.
func broadcast(operation string) error {
	return fault.New(fault.Invalid, "audience", operation, "a directed message has no audience; an alert to one travels in a frame")
}

func countSignatures(all []*formatv1.Signature) error {
	if n := len(all); n == 0 || n > message.MaxSignatures {
		return fault.New(fault.Invalid, "bad-signature", "read envelope", "an envelope carries 1 to 8 signatures")
	}
	return nil
}

// verifyHeader checks every signature over header bytes with keys that the directory knows, and returns their owners.
// PROTOCOL 5.4.
func verifyHeader(header []byte, signatures []*formatv1.Signature, find SigningKey) (map[authority.Fingerprint]authority.Name, error) {
	owners := make(map[authority.Fingerprint]authority.Name, len(signatures))
	for _, s := range signatures {
		key, err := authority.ParseFingerprint(s.GetKey())
		if err != nil {
			return nil, err
		}
		owner, public, err := find(key)
		if err != nil {
			return nil, err
		}
		if s.GetAlgorithm() != public.Algorithm() || s.GetRole() != "" {
			return nil, forged("a signature names another algorithm or role than its key has")
		}
		if err := public.Verify(authority.ForHeader, header, s.GetValue()); err != nil {
			return nil, err
		}
		owners[key] = owner
	}
	return owners, nil
}

// owned checks that the signatures are exactly the required ones and all the sender's.
func owned(h message.Header, owners map[authority.Fingerprint]authority.Name, signatures int) error {
	if len(owners) != signatures || len(h.Required) != signatures {
		return forged("the signatures are not exactly those that the header requires")
	}
	for _, r := range h.Required {
		owner, ok := owners[r.Key]
		if !ok || r.Algorithm != authority.Ed25519 {
			return forged("a signature that the header requires is missing")
		}
		if owner != h.Sender {
			return forged("the header names a sender who does not own the signing key")
		}
	}
	return nil
}

func forged(say string) error {
	return fault.New(fault.Invalid, "bad-signature", "verify envelope", say)
}

// Open decrypts the body with one recipient's key and recomputes the commitment. Errors of kind Invalid mean that the
// sender's own signature covers the fault: the body was not made for this header. PROTOCOL 5.5, 5.6.
func (e Envelope) Open(ctx context.Context, opener Opener, key authority.Fingerprint) (Content, error) {
	r, err := opener.Open(ctx, key, bytes.NewReader(e.Sealed))
	if err != nil {
		return Content{}, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, message.MaxSealedBody+1))
	if err != nil {
		return Content{}, fault.Wrap(err, fault.Invalid, "cannot-open", "open message", "the sealed body is damaged")
	}
	c, err := unmarshal(plain)
	if err != nil {
		return Content{}, err
	}
	if err := committed(c, e.Header); err != nil {
		return Content{}, err
	}
	if err := attached(c, e.Header); err != nil {
		return Content{}, err
	}
	return c, nil
}

// committed checks that a content was made for a header. PROTOCOL 5.5.
func committed(c Content, h message.Header) error {
	if c.Commitment(h.ContextBytes) != h.Commitment {
		return fault.New(fault.Invalid, "wrong-commitment", "open message", "the sealed body was not made for this header")
	}
	return nil
}

func attached(c Content, h message.Header) error {
	if len(c.Attachments) != len(h.Attachments) {
		return fault.New(fault.Invalid, "wrong-commitment", "open message", "the body and the header name different attachments")
	}
	return nil
}

// Stored reads an envelope that was verified, or made here, before it was stored. It checks no signature.
func Stored(b []byte) (Envelope, error) {
	p, err := ParseEnvelope(b)
	if err != nil {
		return Envelope{}, err
	}
	h, err := message.ParseHeader(p.header)
	if err == nil && h.Audience != nil {
		return Envelope{}, broadcast("read envelope")
	}
	return Envelope{Header: h, Sealed: p.sealed, Bytes: b}, err
}

// Proof splits off what shows a third party that the sender signed this header: its bytes, and Signed with the
// signatures and no payload.
func (e Envelope) Proof() (header, signatures []byte) {
	p, err := ParseEnvelope(e.Bytes)
	if err != nil {
		return nil, nil
	}
	return p.header, canonical.Marshal(&formatv1.Signed{Signatures: p.signatures})
}
