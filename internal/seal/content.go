package seal

import (
	"encoding/binary"
	"io"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

const saltSize = 32

// Labels of the leaves, so that no leaf can be shown as one of another sort. PROTOCOL 5.5.
const (
	contextLeaf    = "enlace/v1/leaf/context\n"
	itemLeaf       = "enlace/v1/leaf/item\n"
	attachmentLeaf = "enlace/v1/leaf/attachment\n"
)

// Content is what a sealed body holds.
type Content struct {
	ContextSalt []byte
	Items       []Item
	Attachments []AttachmentKey
}

// Item is one separately provable piece of content: a type and the canonical bytes of the message that it names.
type Item struct {
	Salt []byte
	Type string
	Body []byte
}

// NewItem makes a salted item of a content message. PROTOCOL 5.5.
func NewItem(kind string, body proto.Message, random io.Reader) (Item, error) {
	salt, err := newSalt(random)
	return Item{Salt: salt, Type: kind, Body: canonical.Marshal(body)}, err
}

func newSalt(random io.Reader) ([]byte, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "seal", "no randomness")
	}
	return salt, nil
}

// Read decodes the item's body, refusing another type or form. PROTOCOL 5.7.
func (i Item) Read(kind string, into proto.Message) error {
	if i.Type != kind {
		return fault.New(fault.Invalid, "wrong-item", "read item", "the item is of another type")
	}
	return canonical.Unmarshal(i.Body, into, message.MaxSealedBody)
}

// Commitment is the Merkle root over the salted leaves. PROTOCOL 5.5.
func (c Content) Commitment(context []byte) message.Digest {
	leaves := make([]tlog.Hash, 0, 1+len(c.Items)+len(c.Attachments))
	leaves = append(leaves, leaf(contextLeaf, c.ContextSalt, context))
	for _, i := range c.Items {
		leaves = append(leaves, leaf(itemLeaf, i.Salt, []byte(i.Type+"\n"), i.Body))
	}
	for _, a := range c.Attachments {
		leaves = append(leaves, leaf(attachmentLeaf, a.Salt, a.Digest[:], binary.BigEndian.AppendUint64(nil, a.Size)))
	}
	return message.Digest(root(leaves))
}

func leaf(label string, parts ...[]byte) tlog.Hash {
	data := []byte(label)
	for _, p := range parts {
		data = append(data, p...)
	}
	return tlog.RecordHash(data)
}

// root is the RFC 6962 2.1 tree hash.
func root(leaves []tlog.Hash) tlog.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	return tlog.NodeHash(root(leaves[:k]), root(leaves[k:]))
}

// marshal writes the padded plaintext of the sealed body. PROTOCOL 5.6.
func (c Content) marshal() []byte { return pad(c.canonical()) }

// canonical writes the content in its single form.
func (c Content) canonical() []byte {
	m := &formatv1.Content{ContextSalt: c.ContextSalt}
	for _, i := range c.Items {
		m.Items = append(m.Items, &formatv1.Item{Salt: i.Salt, Type: i.Type, Body: i.Body})
	}
	for _, a := range c.Attachments {
		m.Attachments = append(m.Attachments, &formatv1.AttachmentKey{Salt: a.Salt, Digest: a.Digest[:], Size: a.Size, Identity: a.Identity})
	}
	return canonical.Marshal(m)
}

// pad puts a length before b and zeros behind it, up to the Padmé length. PROTOCOL 5.6.
func pad(b []byte) []byte {
	out := make([]byte, padme(uint64(4+len(b))))
	binary.BigEndian.PutUint32(out, uint32(len(b)))
	copy(out[4:], b)
	return out
}

// padme is the Padmé length (Nikitin et al., PETS 2019): at most 12 % more, and only O(log log) bits of the length leak.
func padme(n uint64) uint64 {
	if n < 2 {
		return n
	}
	e := bits.Len64(n) - 1
	s := bits.Len64(uint64(e))
	mask := uint64(1)<<(e-s) - 1
	return (n + mask) &^ mask
}

// unpad takes off what pad put on. Padding must be Padmé and zero: what a reader is not shown must not exist.
// PROTOCOL 5.6.
func unpad(plain []byte) ([]byte, error) {
	if len(plain) < 4 {
		return nil, malformed("the sealed body is empty")
	}
	n := uint64(binary.BigEndian.Uint32(plain))
	if n > uint64(len(plain)-4) || padme(4+n) != uint64(len(plain)) {
		return nil, malformed("the sealed body is not padded as it should be")
	}
	for _, b := range plain[4+n:] {
		if b != 0 {
			return nil, malformed("the padding of the sealed body is not zero")
		}
	}
	return plain[4 : 4+n], nil
}

// unmarshal reads a padded plaintext.
func unmarshal(plain []byte) (Content, error) {
	b, err := unpad(plain)
	if err != nil {
		return Content{}, err
	}
	return parseContent(b, message.MaxSealedBody)
}

// parseContent reads a content in its single form.
func parseContent(b []byte, limit int) (Content, error) {
	var m formatv1.Content
	if err := canonical.Unmarshal(b, &m, limit); err != nil {
		return Content{}, err
	}
	return contentOf(&m)
}

func contentOf(m *formatv1.Content) (Content, error) {
	c := Content{ContextSalt: m.GetContextSalt()}
	if len(m.GetItems()) > message.MaxItems || len(m.GetAttachments()) > message.MaxAttachments {
		return Content{}, malformed("the sealed body has more parts than allowed")
	}
	ok := len(c.ContextSalt) == saltSize
	for _, i := range m.GetItems() {
		// A type with a line end in it could share its leaf with another type and body.
		ok = ok && len(i.GetSalt()) == saltSize && authority.IsSlug(i.GetType())
		c.Items = append(c.Items, Item{i.GetSalt(), i.GetType(), i.GetBody()})
	}
	for _, a := range m.GetAttachments() {
		d, err := message.DigestFromBytes(a.GetDigest())
		ok = ok && err == nil && len(a.GetSalt()) == saltSize
		c.Attachments = append(c.Attachments, AttachmentKey{a.GetSalt(), d, a.GetSize(), a.GetIdentity()})
	}
	if !ok {
		return Content{}, malformed("a salt, digest or item type in the sealed body is malformed")
	}
	return c, nil
}

func malformed(say string) error {
	return fault.New(fault.Invalid, "malformed-body", "read sealed body", say)
}
