package message

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Version is the protocol version of the formats in this package. PROTOCOL 1.4.
const Version = 1

// Digest identifies bytes: SHA-256. The digest of an envelope is that of its header bytes. PROTOCOL 1.1, 5.1.
type Digest [sha256.Size]byte

// DigestOf computes SHA-256.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// Bytes is a copy.
func (d Digest) Bytes() []byte { return append([]byte(nil), d[:]...) }

// String is 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// DigestFromBytes reads 32 bytes.
func DigestFromBytes(b []byte) (Digest, error) {
	var d Digest
	if len(b) != len(d) {
		return d, bad("malformed", "a digest is 32 bytes")
	}
	copy(d[:], b)
	return d, nil
}

// Recipient is one addressed authority with the sealing key used and its place in the age header.
type Recipient struct {
	Authority authority.Name
	Key       authority.Fingerprint
	Stanza    uint32
}

// Attachment is one line of the manifest.
type Attachment struct {
	SealedSize uint64
	Root       Digest
}

// RequiredSignature names a signature that must be present and valid, so that none can be stripped.
type RequiredSignature struct {
	Algorithm string
	Key       authority.Fingerprint
}

// Context is every header field but commitment, sealed digest and size. PROTOCOL 5.2.
type Context struct {
	Network      string
	ID           ID
	Conversation ID
	InReplyTo    ID
	Kind         Kind
	Sender       authority.Name
	// Recipients of a directed message, its sender among them; empty where there is an Audience.
	Recipients []Recipient
	// Audience of an alert to a category; nil in a directed message.
	Audience *Audience
	Category authority.Category
	Urgency  Urgency
	Status   OperationalStatus
	Created  time.Time
	Expires  time.Time
	Position uint64
	Approval Approval
	// Retrospective: approval follows within 24 h.
	Retrospective bool
	Attachments   []Attachment
	Required      []RequiredSignature
	RelatedTo     []ID
}

// Header is the signed part of an envelope, or of an alert to an audience.
type Header struct {
	Context
	// ContextBytes are the signed bytes of Context; the commitment covers them.
	ContextBytes []byte
	Commitment   Digest
	// SealedSize and SealedDigest are zero where there is an audience: no sealed body stands beside the header.
	SealedSize   uint64
	SealedDigest Digest
	// Digest is the envelope digest, SHA-256 of the header bytes.
	Digest Digest
}

// Key is the inbox key: one message, whatever road it took. PROTOCOL 5.8.
type Key struct {
	Sender authority.Name
	ID     ID
}

// Key is the header's inbox key.
func (h Header) Key() Key { return Key{h.Sender, h.ID} }

// RecipientsBut lists the addressed authorities without the sender.
func (c Context) RecipientsBut(sender authority.Name) []authority.Name {
	var out []authority.Name
	for _, r := range c.Recipients {
		if r.Authority != sender {
			out = append(out, r.Authority)
		}
	}
	return out
}

// Addresses reports whether name is among the recipients.
func (c Context) Addresses(name authority.Name) bool {
	for _, r := range c.Recipients {
		if r.Authority == name {
			return true
		}
	}
	return false
}

// Marshal writes the signed bytes of a context. PROTOCOL 5.2.
func (c Context) Marshal() []byte {
	m := &formatv1.Context{
		Version: Version, Network: c.Network, Id: c.ID.Bytes(), Conversation: c.Conversation.Bytes(),
		InReplyTo: c.InReplyTo.Bytes(), Kind: string(c.Kind), Sender: c.Sender.String(), Category: c.Category.String(),
		Urgency: string(c.Urgency), Status: string(c.Status), Created: c.Created.UnixMilli(), Expires: c.Expires.UnixMilli(),
		Position: c.Position, Approval: string(c.Approval), Retrospective: c.Retrospective,
	}
	for _, r := range c.Recipients {
		m.Recipients = append(m.Recipients, &formatv1.Recipient{Authority: r.Authority.String(), SealingKey: r.Key[:], Stanza: r.Stanza})
	}
	if c.Audience != nil {
		m.Audience = c.Audience.message()
	}
	for _, a := range c.Attachments {
		m.Attachments = append(m.Attachments, &formatv1.Attachment{SealedSize: a.SealedSize, Root: a.Root.Bytes()})
	}
	for _, r := range c.Required {
		m.RequiredSignatures = append(m.RequiredSignatures, &formatv1.RequiredSignature{Algorithm: r.Algorithm, Key: r.Key[:]})
	}
	for _, id := range c.RelatedTo {
		m.RelatedTo = append(m.RelatedTo, id.Bytes())
	}
	return canonical.Marshal(m)
}

// Marshal writes the header bytes that are signed. ContextBytes are carried as they are. PROTOCOL 1.5, 5.1.
// A header with an audience has neither size nor digest of a sealed body. PROTOCOL 7.4.
func (h Header) Marshal() []byte {
	m := &formatv1.Header{Context: h.ContextBytes, Commitment: h.Commitment.Bytes()}
	if h.Audience == nil {
		m.SealedSize, m.SealedDigest = h.SealedSize, h.SealedDigest.Bytes()
	}
	return canonical.Marshal(m)
}

// ParseHeader reads header bytes whose signature has been verified, and checks all that needs no directory and no
// clock. Who expects an envelope refuses a header with an audience, and who expects an alert one without: the parser
// takes both. PROTOCOL 5.1, 5.2, 5.3, 7.4.
func ParseHeader(b []byte) (Header, error) {
	var m formatv1.Header
	if err := canonical.Unmarshal(b, &m, MaxHeader); err != nil {
		return Header{}, err
	}
	c, err := ParseContext(m.GetContext())
	if err != nil {
		return Header{}, err
	}
	h := Header{Context: c, ContextBytes: m.GetContext(), SealedSize: m.GetSealedSize(), Digest: DigestOf(b)}
	if h.Commitment, err = DigestFromBytes(m.GetCommitment()); err != nil {
		return Header{}, err
	}
	if c.Audience != nil {
		if m.GetSealedSize() != 0 || len(m.GetSealedDigest()) != 0 {
			return Header{}, bad("audience", "an alert to an audience has no sealed body, and its header names none")
		}
		return h, nil
	}
	if h.SealedDigest, err = DigestFromBytes(m.GetSealedDigest()); err != nil {
		return Header{}, err
	}
	if h.SealedSize == 0 || h.SealedSize > MaxSealedBody {
		return Header{}, fault.New(fault.TooLarge, "too-large", "read header", "the sealed body has a size beyond the limit")
	}
	return h, nil
}

// ParseContext reads the signed bytes of a context. PROTOCOL 1.4, 5.2, 5.3.
func ParseContext(b []byte) (Context, error) {
	var m formatv1.Context
	if err := canonical.Unmarshal(b, &m, MaxHeader); err != nil {
		return Context{}, err
	}
	if m.GetVersion() != Version {
		return Context{}, bad("unknown-version", "this version of the protocol is not known here")
	}
	c := Context{
		Network: m.GetNetwork(), Position: m.GetPosition(), Retrospective: m.GetRetrospective(),
		Created: time.UnixMilli(m.GetCreated()).UTC(), Expires: time.UnixMilli(m.GetExpires()).UTC(),
	}
	for _, step := range []func(*formatv1.Context, *Context) error{readIDs, readWords, readAudience, readRecipients, readManifest, readRequired} {
		if err := step(&m, &c); err != nil {
			return Context{}, err
		}
	}
	return c, checkContext(&m, c)
}

func readIDs(m *formatv1.Context, c *Context) error {
	var err error
	if c.ID, err = IDFromBytes(m.GetId()); err != nil {
		return err
	}
	if c.Conversation, err = IDFromBytes(m.GetConversation()); err != nil {
		return err
	}
	if len(m.GetInReplyTo()) > 0 {
		if c.InReplyTo, err = IDFromBytes(m.GetInReplyTo()); err != nil {
			return err
		}
	}
	for _, b := range m.GetRelatedTo() {
		id, err := IDFromBytes(b)
		if err != nil {
			return err
		}
		c.RelatedTo = append(c.RelatedTo, id)
	}
	return nil
}

func readWords(m *formatv1.Context, c *Context) error {
	var err error
	if c.Kind, err = ParseKind(m.GetKind()); err != nil {
		return err
	}
	if c.Sender, err = authority.ParseName(m.GetSender()); err != nil {
		return err
	}
	if c.Category, err = authority.ParseCategory(m.GetCategory()); err != nil {
		return err
	}
	if c.Urgency, err = ParseUrgency(m.GetUrgency()); err != nil {
		return err
	}
	if c.Status, err = ParseOperationalStatus(m.GetStatus()); err != nil {
		return err
	}
	c.Approval, err = ParseApproval(m.GetApproval())
	return err
}

// readRecipients wants two or more in a directed message and none beside an audience. PROTOCOL 5.2.
func readRecipients(m *formatv1.Context, c *Context) error {
	if c.Audience != nil {
		if len(m.GetRecipients()) > 0 {
			return bad("audience", "a message goes to recipients or to an audience, not to both")
		}
		return nil
	}
	if n := len(m.GetRecipients()); n < 2 || n > MaxRecipients {
		return bad("recipients", fmt.Sprintf("a directed message has 2 to %d recipients, its sender among them", MaxRecipients))
	}
	seen := make(map[authority.Name]bool, len(m.GetRecipients()))
	for i, r := range m.GetRecipients() {
		name, err := authority.ParseName(r.GetAuthority())
		if err != nil {
			return err
		}
		key, err := authority.ParseFingerprint(r.GetSealingKey())
		if err != nil {
			return err
		}
		if seen[name] || r.GetStanza() != uint32(i) {
			return bad("recipients", "a recipient stands twice or not in the order of its stanza")
		}
		seen[name] = true
		c.Recipients = append(c.Recipients, Recipient{name, key, r.GetStanza()})
	}
	if !seen[c.Sender] {
		return bad("recipients", "the sender is not among the recipients")
	}
	return nil
}

func readManifest(m *formatv1.Context, c *Context) error {
	if len(m.GetAttachments()) > MaxAttachments {
		return fault.New(fault.TooLarge, "too-large", "read header", "there are more attachments than allowed")
	}
	for _, a := range m.GetAttachments() {
		root, err := DigestFromBytes(a.GetRoot())
		if err != nil {
			return err
		}
		if a.GetSealedSize() == 0 || a.GetSealedSize() > MaxAttachment {
			return fault.New(fault.TooLarge, "too-large", "read header", "an attachment has a size beyond the limit")
		}
		c.Attachments = append(c.Attachments, Attachment{a.GetSealedSize(), root})
	}
	return nil
}

func readRequired(m *formatv1.Context, c *Context) error {
	if n := len(m.GetRequiredSignatures()); n == 0 || n > MaxSignatures {
		return bad("required-signatures", "a header names at least one signature it requires")
	}
	seen := make(map[authority.Fingerprint]bool, len(m.GetRequiredSignatures()))
	for _, r := range m.GetRequiredSignatures() {
		key, err := authority.ParseFingerprint(r.GetKey())
		if err != nil {
			return err
		}
		if seen[key] {
			// Else a foreign signature could take the place that the second mention leaves free.
			return bad("required-signatures", "a header requires one signature twice")
		}
		seen[key] = true
		c.Required = append(c.Required, RequiredSignature{r.GetAlgorithm(), key})
	}
	return nil
}

func checkContext(m *formatv1.Context, c Context) error {
	if c.Kind.Begins() != c.InReplyTo.IsZero() {
		return bad("in-reply-to", "a request or an alert answers nothing, and every other message names the one it belongs to")
	}
	if !c.Expires.After(c.Created) || c.Expires.Sub(c.Created) > MaxLife {
		return bad("expires", "a message expires after it was made and within a year")
	}
	if len(m.GetExtensions()) > MaxItems {
		return fault.New(fault.TooLarge, "too-large", "read header", "there are more extensions than allowed")
	}
	return nil
}

func bad(code, say string) error { return fault.New(fault.Invalid, code, "read header", say) }
