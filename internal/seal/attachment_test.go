package seal

import (
	"bytes"
	"crypto/rand"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/vectortest"
)

func sealFile(t testing.TB, file []byte) ([]byte, AttachmentKey, message.Attachment) {
	t.Helper()
	var sealed bytes.Buffer
	key, line, err := SealAttachment(&sealed, bytes.NewReader(file), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return sealed.Bytes(), key, line
}

func openFile(sealed []byte, key AttachmentKey) ([]byte, error) {
	r, err := OpenAttachment(bytes.NewReader(sealed), key)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// rootOf is the root of PROTOCOL 6.3, by the tree written down once more.
func rootOf(sealed []byte) []byte {
	var chunks [][]byte
	for chunk := range slices.Chunk(sealed, message.HashChunk) {
		chunks = append(chunks, chunk)
	}
	return tree(chunks)
}

// PROTOCOL 6.1, 6.2, 6.3.
func TestAttachmentRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 100, message.HashChunk - 1, message.HashChunk, message.HashChunk + 1, 3*message.HashChunk + 7} {
		file := vectortest.Bytes("file", size)
		sealed, key, line := sealFile(t, file)
		if line.SealedSize != uint64(len(sealed)) || !bytes.Equal(line.Root[:], rootOf(sealed)) {
			t.Errorf("%d bytes: manifest %+v, want size %d and root %x", size, line, len(sealed), rootOf(sealed))
		}
		if key.Size != uint64(size) || key.Digest != message.DigestOf(file) || len(key.Salt) != saltSize {
			t.Errorf("%d bytes: key %d, %s", size, key.Size, key.Digest)
		}
		got, err := openFile(sealed, key)
		if err != nil || !bytes.Equal(got, file) {
			t.Errorf("%d bytes open as %d bytes, %v", size, len(got), err)
		}
	}
}

// Each file has a key of its own, though it be the same file. PROTOCOL 6.1.
func TestAttachmentKeysAreFresh(t *testing.T) {
	_, one, _ := sealFile(t, []byte("file"))
	sealed, two, _ := sealFile(t, []byte("file"))
	if one.Identity == two.Identity || bytes.Equal(one.Salt, two.Salt) {
		t.Error("two attachments share key or salt")
	}
	if _, err := openFile(sealed, one); fault.CodeOf(err) != "cannot-open" {
		t.Errorf("opened with another's key: %v, want cannot-open", err)
	}
}

// What is not the file that was committed to is never whole. PROTOCOL 6.2.
func TestAttachmentRefuses(t *testing.T) {
	file := vectortest.Bytes("file", 3*65536+5) // four segments of the age format
	sealed, key, _ := sealFile(t, file)
	other, _, _ := sealFile(t, file)
	head := len(sealed) - len(file) - 4*16
	with := func(change func(*AttachmentKey)) AttachmentKey {
		k := key
		change(&k)
		return k
	}
	swapped := bytes.Clone(sealed)
	segment := 65536 + 16
	copy(swapped[head:], sealed[head+segment:head+2*segment])
	copy(swapped[head+segment:], sealed[head:head+segment])
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, test := range map[string]struct {
		sealed []byte
		key    AttachmentKey
		code   string
	}{
		"nothing":           {nil, key, "cannot-open"},
		"junk":              {[]byte("junk"), key, "cannot-open"},
		"cut in the header": {sealed[:head/2], key, "cannot-open"},
		"cut in a segment":  {sealed[:len(sealed)-1], key, "cannot-open"},
		"cut at a segment":  {sealed[:head+2*segment], key, "cannot-open"},
		"a byte more":       {append(bytes.Clone(sealed), 0), key, "cannot-open"},
		"a byte changed":    {flipped, key, "cannot-open"},
		"segments swapped":  {swapped, key, "cannot-open"},
		"another file":      {other, key, "cannot-open"},
		"malformed key":     {sealed, with(func(k *AttachmentKey) { k.Identity = "none" }), "malformed-key"},
		"other digest":      {sealed, with(func(k *AttachmentKey) { k.Digest[0]++ }), "wrong-attachment"},
		"larger promised":   {sealed, with(func(k *AttachmentKey) { k.Size++ }), "wrong-attachment"},
		"smaller promised":  {sealed, with(func(k *AttachmentKey) { k.Size-- }), "wrong-attachment"},
	} {
		if _, err := openFile(test.sealed, test.key); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
}

// PROTOCOL 6.3: chunks in another order, one changed, or cut have another root; how the bytes came does not matter.
func TestChunkHash(t *testing.T) {
	for _, chunks := range []int{1, 2, 3, 4, 5, 7, 8, 9} {
		sealed := vectortest.Bytes("sealed", chunks*message.HashChunk-11)
		whole := NewChunkHash()
		_, _ = whole.Write(sealed)
		slow := NewChunkHash()
		if _, err := io.Copy(onlyWriter{slow}, iotest.HalfReader(bytes.NewReader(sealed))); err != nil {
			t.Fatal(err)
		}
		want := rootOf(sealed)
		if got, same := whole.Root(), slow.Root(); !bytes.Equal(got[:], want) || same != got || whole.Size() != uint64(len(sealed)) {
			t.Errorf("%d chunks: %s and %s, want %x", chunks, got, same, want)
		}
	}
	sealed := vectortest.Bytes("sealed", 3*message.HashChunk)
	reordered := slices.Concat(sealed[message.HashChunk:2*message.HashChunk], sealed[:message.HashChunk], sealed[2*message.HashChunk:])
	doubled := slices.Concat(sealed, sealed[2*message.HashChunk:])
	for name, other := range map[string][]byte{"reordered": reordered, "cut": sealed[:2*message.HashChunk], "last chunk twice": doubled} {
		h := NewChunkHash()
		_, _ = h.Write(other)
		if got := h.Root(); bytes.Equal(got[:], rootOf(sealed)) {
			t.Errorf("%s: the same root", name)
		}
	}
	empty := NewChunkHash().Root()
	if !bytes.Equal(empty[:], tree([][]byte{nil})) {
		t.Errorf("nothing has root %s", empty)
	}
}

type onlyWriter struct{ io.Writer }

// A file that cannot be read or written leaves no key behind.
func TestSealAttachmentFails(t *testing.T) {
	for name, test := range map[string]struct {
		dst    io.Writer
		src    io.Reader
		random io.Reader
	}{
		"source breaks": {io.Discard, iotest.ErrReader(io.ErrUnexpectedEOF), rand.Reader},
		"disk breaks":   {brokenWriter{}, strings.NewReader("file"), rand.Reader},
		"no randomness": {io.Discard, strings.NewReader("file"), failing{}},
	} {
		if key, line, err := SealAttachment(test.dst, test.src, test.random); !fault.Is(err, fault.Internal) || key.Identity != "" || line.SealedSize != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

type attachmentVector struct {
	Label string         `json:"label"`
	Size  int            `json:"sealed_size"`
	Root  vectortest.Hex `json:"root"`
}

// PROTOCOL 6.3. The bytes stand for an age file: the root does not look into it.
func TestVectorAttachment(t *testing.T) {
	var vectors []attachmentVector
	for _, size := range []int{1, 1000, message.HashChunk, message.HashChunk + 1, 5*message.HashChunk + 1} {
		b := vectortest.Bytes("sealed attachment", size)
		h := NewChunkHash()
		_, _ = h.Write(b)
		root := h.Root()
		vectors = append(vectors, attachmentVector{"sealed attachment", size, root.Bytes()})
		if !bytes.Equal(root[:], rootOf(b)) {
			t.Errorf("%d bytes: root %s, want %x", size, root, rootOf(b))
		}
	}
	vectortest.Check(t, "attachment", "manifest lines of files whose bytes are Bytes(label, sealed_size)", []string{"6.3"}, vectors)
}

// FuzzOpenAttachment: only the bytes that were sealed open to the end. The body of the recorded envelope is an age file
// like any other.
func FuzzOpenAttachment(f *testing.F) {
	good := recorded(f)
	key := AttachmentKey{Identity: vectortest.Identity("jm/jcf seal").String(), Digest: message.DigestOf(good.Plain), Size: uint64(len(good.Plain))}
	f.Add([]byte(good.Sealed))
	f.Add([]byte(good.Sealed[:len(good.Sealed)-1]))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := openFile(b, key); err == nil && !bytes.Equal(got, good.Plain) {
			t.Errorf("a file nobody sealed: %x", got)
		}
	})
}
