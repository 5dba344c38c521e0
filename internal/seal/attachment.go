package seal

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

// AttachmentKey opens one attachment; it travels in the sealed body. PROTOCOL 6.2.
type AttachmentKey struct {
	Salt []byte
	// Digest is SHA-256 of the plaintext file.
	Digest message.Digest
	// Size of the plaintext in bytes.
	Size uint64
	// Identity is the age identity of this attachment alone.
	Identity string
}

// SealAttachment seals a file from src to dst as a stream: constant memory whatever the size. It returns the key for
// the body and the line for the header's manifest. Nothing is durable yet: the caller syncs dst. PROTOCOL 6.1 to 6.3.
func SealAttachment(dst io.Writer, src io.Reader, random io.Reader) (AttachmentKey, message.Attachment, error) {
	none := func(err error, say string) (AttachmentKey, message.Attachment, error) {
		return AttachmentKey{}, message.Attachment{}, fault.Wrap(err, fault.Internal, "", "seal attachment", say)
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return none(err, "no key could be made")
	}
	salt, err := newSalt(random)
	if err != nil {
		return none(err, "no randomness")
	}
	chunks, plain := NewChunkHash(), sha256.New()
	w, err := age.Encrypt(io.MultiWriter(dst, chunks), id.Recipient())
	if err != nil {
		return none(err, "sealing failed")
	}
	n, err := io.CopyBuffer(w, io.TeeReader(io.LimitReader(src, message.MaxAttachment+1), plain), make([]byte, message.HashChunk))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return none(err, "the file could not be read or its sealed copy not written")
	}
	if chunks.Size() > message.MaxAttachment {
		return AttachmentKey{}, message.Attachment{}, fault.New(fault.TooLarge, "too-large", "seal attachment", "an attachment is at most 16 GiB")
	}
	key := AttachmentKey{Salt: salt, Size: uint64(n), Identity: id.String(), Digest: message.Digest(plain.Sum(nil))}
	return key, message.Attachment{SealedSize: chunks.Size(), Root: chunks.Root()}, nil
}

// OpenAttachment returns the plaintext of a sealed attachment as a stream. The last Read fails when the file is not the
// one that was committed to, so a reader believes nothing before io.EOF. PROTOCOL 6.1, 6.2.
func OpenAttachment(sealed io.Reader, key AttachmentKey) (io.Reader, error) {
	id, err := age.ParseHybridIdentity(key.Identity)
	if err != nil {
		return nil, fault.New(fault.Invalid, "malformed-key", "open attachment", "the attachment's key is malformed")
	}
	r, err := age.Decrypt(sealed, id)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "cannot-open", "open attachment", "the attachment does not open with its key")
	}
	return &checked{r: r, hash: sha256.New(), key: key}, nil
}

// checked compares size and digest at the end of the stream.
type checked struct {
	r    io.Reader
	hash hash.Hash
	n    uint64
	key  AttachmentKey
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	c.n += uint64(n)
	if err == io.EOF && (c.n != c.key.Size || !bytes.Equal(c.hash.Sum(nil), c.key.Digest[:])) {
		return n, fault.New(fault.Invalid, "wrong-attachment", "open attachment", "the file is not the one that the sender committed to")
	}
	if err != nil && err != io.EOF {
		return n, fault.Wrap(err, fault.Invalid, "cannot-open", "open attachment", "the attachment is damaged")
	}
	return n, err
}

// ChunkHash computes the root over the 256 KiB chunks of a sealed attachment as it streams by, keeping one hash per
// level of the tree. It is an io.Writer. PROTOCOL 6.3.
type ChunkHash struct {
	chunk  hash.Hash
	inside int
	size   uint64
	count  uint64
	// edge holds the roots of the full subtrees, largest first.
	edge []tlog.Hash
}

// NewChunkHash starts an empty hash.
func NewChunkHash() *ChunkHash {
	c := &ChunkHash{chunk: sha256.New()}
	c.begin()
	return c
}

func (c *ChunkHash) begin() {
	c.chunk.Reset()
	c.chunk.Write([]byte{0}) // RFC 6962 leaf prefix
	c.inside = 0
}

// Write never fails.
func (c *ChunkHash) Write(p []byte) (int, error) {
	n := len(p)
	c.size += uint64(n)
	for len(p) > 0 {
		take := min(len(p), message.HashChunk-c.inside)
		c.chunk.Write(p[:take])
		c.inside += take
		p = p[take:]
		if c.inside == message.HashChunk {
			c.finish()
		}
	}
	return n, nil
}

// finish closes a chunk and merges equal-sized subtrees, as a binary counter carries.
func (c *ChunkHash) finish() {
	h := tlog.Hash(c.chunk.Sum(nil))
	for n := c.count; n&1 == 1; n >>= 1 {
		h = tlog.NodeHash(c.edge[len(c.edge)-1], h)
		c.edge = c.edge[:len(c.edge)-1]
	}
	c.edge = append(c.edge, h)
	c.count++
	c.begin()
}

// Size is how many bytes have been written.
func (c *ChunkHash) Size() uint64 { return c.size }

// Root closes the last, shorter chunk and returns the root. Nothing may be written after it.
func (c *ChunkHash) Root() message.Digest {
	if c.inside > 0 {
		c.finish()
	}
	if len(c.edge) == 0 {
		return message.Digest(tlog.RecordHash(nil))
	}
	h := c.edge[len(c.edge)-1]
	for i := len(c.edge) - 2; i >= 0; i-- {
		h = tlog.NodeHash(c.edge[i], h)
	}
	return message.Digest(h)
}
