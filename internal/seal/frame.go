package seal

import (
	"bytes"
	"io"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// ParsedFrame is a frame whose size and outer form are checked, and nothing more: no field of it may be believed.
type ParsedFrame struct {
	raw       []byte
	payload   []byte
	signature *formatv1.Signature
}

// Frame is a frame that its publisher has signed. What it seals may still be anything.
type Frame struct {
	Network     string
	Publisher   authority.Node
	Incarnation message.Incarnation
	Epoch       uint64
	// KeyFingerprint names the epoch key that opens it.
	KeyFingerprint message.Digest
	// Chain is the chain hash, which names the alert.
	Chain message.Digest
	// Bytes are the Signed frame as it travels and is stored; never made again. PROTOCOL 1.5.
	Bytes []byte

	sealed []byte
}

// ParseFrame bounds and splits. PROTOCOL 1.3, 7.4.
func ParseFrame(b []byte) (ParsedFrame, error) {
	payload, s, err := splitSigned(b, message.MaxFrame)
	if err != nil {
		return ParsedFrame{}, err
	}
	return ParsedFrame{b, payload, s}, nil
}

// Verify checks the signature, reads the frame, and checks that the publisher it names has signed it. A returned error
// means that nobody's signature covers the fault: the frame is dropped unstored. PROTOCOL 3.4, 7.4.
func (p ParsedFrame) Verify(find NodeKey) (Frame, error) {
	node, err := verifyNode(p.payload, p.signature, authority.ForFrame, find)
	if err != nil {
		return Frame{}, err
	}
	f, err := p.read()
	if err != nil {
		return Frame{}, err
	}
	if f.Publisher != node {
		return Frame{}, notSigned("the frame names another publisher than the node that signed it")
	}
	return f, nil
}

// StoredFrame reads a frame that was verified, or made here, before it was stored. It checks no signature.
func StoredFrame(b []byte) (Frame, error) {
	p, err := ParseFrame(b)
	if err != nil {
		return Frame{}, err
	}
	return p.read()
}

func (p ParsedFrame) read() (Frame, error) {
	var m formatv1.Frame
	err := canonical.Unmarshal(p.payload, &m, message.MaxFrame)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Network: m.GetNetwork(), Epoch: m.GetEpoch(), Bytes: p.raw, sealed: m.GetSealed()}
	if f.Publisher, err = authority.ParseNode(m.GetPublisher()); err != nil {
		return Frame{}, err
	}
	if f.Incarnation, err = message.ParseIncarnation(m.GetIncarnation()); err != nil {
		return Frame{}, err
	}
	if f.KeyFingerprint, err = message.DigestFromBytes(m.GetKeyFingerprint()); err != nil {
		return Frame{}, err
	}
	if f.Chain, err = message.DigestFromBytes(m.GetChain()); err != nil {
		return Frame{}, err
	}
	if f.Epoch == 0 {
		return Frame{}, malformedSigned("epochs count from 1")
	}
	return f, nil
}

func malformedSigned(say string) error {
	return fault.New(fault.Invalid, "malformed", "read signed format", say)
}

// Opened is what a frame sealed, in the place that its publisher gave it. The alert itself is not believed yet.
type Opened struct {
	// Frame is where it came from.
	Frame Frame
	// Salt, Number and Previous give the frame's chain hash, together with Digest. Previous is zero at number 1.
	Salt     []byte
	Number   uint64
	Previous message.Digest
	// Digest is the envelope digest.
	Digest message.Digest

	alert Alert
}

// Open decrypts a verified frame with the epoch key that it names, and recomputes the chain hash. An error is code
// "wrong-key" where the key is another one than the frame names, which says nothing of the frame; all else is covered by
// the publisher's signature ([CoveredBy]). PROTOCOL 5.6, 7.4, 7.5.
func (f Frame) Open(key EpochKey) (Opened, error) {
	if key.IsZero() || key.Fingerprint() != f.KeyFingerprint {
		return Opened{}, wrongKey("the frame is sealed to another epoch key")
	}
	o, err := f.open(key)
	return o, coveredBy(ByPublisher, err)
}

func (f Frame) open(key EpochKey) (Opened, error) {
	plain, err := unseal(f.sealed, key)
	if err != nil {
		return Opened{}, err
	}
	o, err := f.unpack(plain)
	if err != nil {
		return Opened{}, err
	}
	if ChainHash(o.Salt, o.Number, o.Previous, o.Digest) != f.Chain {
		return Opened{}, fault.New(fault.Invalid, "wrong-chain", "open alert", "the frame seals another alert than its chain hash names")
	}
	return o, nil
}

// unpack reads what was sealed, padding and all.
func (f Frame) unpack(plain []byte) (Opened, error) {
	b, err := unpad(plain)
	if err != nil {
		return Opened{}, err
	}
	var m formatv1.Alert
	if err := canonical.Unmarshal(b, &m, message.MaxFrame); err != nil {
		return Opened{}, err
	}
	if len(m.GetHeader()) > message.MaxHeader {
		return Opened{}, fault.New(fault.TooLarge, "too-large", "open alert", "the header is larger than 16 KiB")
	}
	if err := countSignatures(m.GetSignatures()); err != nil {
		return Opened{}, err
	}
	o := Opened{Frame: f, Salt: m.GetSalt(), Number: m.GetNumber(), Digest: message.DigestOf(m.GetHeader())}
	o.alert = Alert{header: m.GetHeader(), signatures: m.GetSignatures(), content: m.GetContent()}
	if o.Previous, err = link(o.Number, o.Salt, m.GetPrevious()); err != nil {
		return Opened{}, err
	}
	return o, nil
}

// unseal opens an age file with an epoch key, reading no more than a frame can hold.
func unseal(sealed []byte, key EpochKey) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), key)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "cannot-open", "open alert", "the alert does not open with its epoch key")
	}
	plain, err := io.ReadAll(io.LimitReader(r, message.MaxFrame+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "cannot-open", "open alert", "the sealed alert is damaged")
	}
	return plain, nil
}

// Verify checks the authority's signatures as [Parsed.Verify] does, then reads the header, then that it belongs in this
// frame (an audience, the frame's network, a sender of the publisher's state), then that the content is the one the
// header commits to. The caller still compares audience and subject with epoch and road. PROTOCOL 5.4, 5.5, 7.4.
func (o Opened) Verify(find SigningKey) (Alert, error) {
	owners, err := verifyHeader(o.alert.header, o.alert.signatures, find)
	if err != nil {
		return Alert{}, coveredBy(ByPublisher, err)
	}
	h, err := message.ParseHeader(o.alert.header)
	if err == nil {
		err = owned(h, owners, len(o.alert.signatures))
	}
	if err != nil {
		return Alert{}, coveredBy(ByPublisher, err)
	}
	return o.read(h)
}

// Stored is the alert of a frame whose alert was verified, or made here, before it was stored. It checks no signature.
func (o Opened) Stored() (Alert, error) {
	h, err := message.ParseHeader(o.alert.header)
	if err != nil {
		return Alert{}, err
	}
	return o.read(h)
}

// read fits header, frame and content together.
func (o Opened) read(h message.Header) (Alert, error) {
	const op = "verify alert"
	switch {
	case h.Audience == nil:
		return Alert{}, coveredBy(ByPublisher, unaddressed(op))
	case h.Network != o.Frame.Network:
		return Alert{}, coveredBy(ByPublisher, fault.New(fault.Invalid, "wrong-network", op, "the alert belongs to another network than its frame"))
	case h.Sender.State() != o.Frame.Publisher.State():
		return Alert{}, coveredBy(ByPublisher, foreign(op))
	}
	c, err := parseContent(o.alert.content, message.MaxFrame)
	if err == nil {
		err = committed(c, h)
	}
	if err != nil {
		// The authority signed the commitment alone: whoever framed it may have put another content beside it.
		return Alert{}, coveredBy(ByPublisher, err)
	}
	if err := attached(c, h); err != nil {
		return Alert{}, coveredBy(ByAuthority, err)
	}
	a := o.alert
	a.Header, a.Content = h, c
	return a, nil
}
