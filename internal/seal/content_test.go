package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// unpadded takes the padding off, padded puts it on.
func unpadded(plain []byte) []byte { return plain[:4+binary.BigEndian.Uint32(plain)] }

func padded(content []byte) []byte {
	out := make([]byte, padme(uint64(4+len(content))))
	binary.BigEndian.PutUint32(out, uint32(len(content)))
	copy(out[4:], content)
	return out
}

// tree is RFC 6962 2.1 written down once more, from the text.
func tree(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		h := sha256.Sum256(append([]byte{0}, leaves[0]...))
		return h[:]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	h := sha256.Sum256(append(append([]byte{1}, tree(leaves[:k])...), tree(leaves[k:])...))
	return h[:]
}

// leavesOf are the leaves of PROTOCOL 5.5, written down once more.
func leavesOf(context []byte, c Content) [][]byte {
	out := [][]byte{[]byte("enlace/v1/leaf/context\n" + string(c.ContextSalt) + string(context))}
	for _, i := range c.Items {
		out = append(out, []byte("enlace/v1/leaf/item\n"+string(i.Salt)+i.Type+"\n"+string(i.Body)))
	}
	for _, a := range c.Attachments {
		leaf := []byte("enlace/v1/leaf/attachment\n" + string(a.Salt) + string(a.Digest[:]))
		out = append(out, binary.BigEndian.AppendUint64(leaf, a.Size))
	}
	return out
}

type commitmentVector struct {
	Name       string           `json:"name"`
	Context    vectortest.Hex   `json:"context"`
	Leaves     []vectortest.Hex `json:"leaves"`
	Commitment vectortest.Hex   `json:"commitment"`
}

// PROTOCOL 5.5.
func TestVectorCommitment(t *testing.T) {
	context := contextOf(t, []string{"jm/jcf"}, "mx/fgr sign").Marshal()
	file := AttachmentKey{Salt: vectortest.Bytes("attachment salt", saltSize), Digest: message.DigestOf([]byte("file")), Size: 4}
	bare := Content{ContextSalt: vectortest.Bytes("context salt", saltSize)}
	var vectors []commitmentVector
	for _, test := range []struct {
		name string
		c    Content
	}{{"no item", bare}, {"two items", someContent(t)}, {"two items and an attachment", someContent(t, file)}, {"two items and three attachments", someContent(t, file, file, file)}} {
		leaves := leavesOf(context, test.c)
		v := commitmentVector{Name: test.name, Context: context, Commitment: tree(leaves)}
		for _, l := range leaves {
			v.Leaves = append(v.Leaves, l)
		}
		if got := test.c.Commitment(context); !bytes.Equal(got[:], v.Commitment) {
			t.Errorf("%s: %s, want %x", test.name, got, v.Commitment)
		}
		vectors = append(vectors, v)
	}
	vectortest.Check(t, "commitment", "leaves as they are before hashing, and the root", []string{"5.5"}, vectors)
}

// Whatever was said, each part of it is in the commitment, and no part can stand for another. PROTOCOL 5.5.
func TestCommitmentCoversEveryPart(t *testing.T) {
	context := []byte("context")
	file := AttachmentKey{Salt: vectortest.Bytes("attachment salt", saltSize), Digest: message.DigestOf([]byte("file")), Size: 4}
	want := someContent(t, file).Commitment(context)
	if got := someContent(t, file).Commitment([]byte("contexT")); got == want {
		t.Error("the context is not committed to")
	}
	for name, change := range map[string]func(*Content){
		"context salt":      func(c *Content) { c.ContextSalt[0]++ },
		"item salt":         func(c *Content) { c.Items[0].Salt[0]++ },
		"item type":         func(c *Content) { c.Items[0].Type = "answer" },
		"item body":         func(c *Content) { c.Items[0].Body[0]++ },
		"order":             func(c *Content) { c.Items[0], c.Items[1] = c.Items[1], c.Items[0] },
		"attachment salt":   func(c *Content) { c.Attachments[0].Salt[0]++ },
		"attachment digest": func(c *Content) { c.Attachments[0].Digest[0]++ },
		"attachment size":   func(c *Content) { c.Attachments[0].Size++ },
		"attachment less":   func(c *Content) { c.Attachments = nil },
	} {
		c := someContent(t, file)
		c.Attachments[0].Salt = bytes.Clone(c.Attachments[0].Salt)
		change(&c)
		if c.Commitment(context) == want {
			t.Errorf("%s is not committed to", name)
		}
	}
}

type padmeVector struct {
	Length uint64 `json:"length"`
	Padme  uint64 `json:"padded"`
}

// PROTOCOL 5.6.
func TestVectorPadme(t *testing.T) {
	var vectors []padmeVector
	for _, n := range []uint64{4, 5, 6, 7, 8, 9, 10, 15, 16, 17, 31, 33, 63, 65, 100, 127, 128, 129, 255, 257, 1000, 1023, 1025, 4100, 65535, 65537, 300_000, 1 << 20} {
		vectors = append(vectors, padmeVector{n, padme(n)})
	}
	vectortest.Check(t, "padme", "length of u32 and Content, and the length it is padded to", []string{"5.6"}, vectors)
}

// PROTOCOL 5.6: the rule written down once more; at most 12 % more, and few lengths.
func TestPadme(t *testing.T) {
	lengths := map[uint64]bool{}
	for n := uint64(4); n <= 1<<17; n++ {
		e := uint64(bits.Len64(n) - 1)
		s := uint64(bits.Len64(e))
		step := uint64(1) << (e - s)
		want := (n + step - 1) / step * step
		got := padme(n)
		if got != want || got < n || padme(got) != got || float64(got) > 1.12*float64(n)+1 {
			t.Fatalf("padme(%d) = %d, want %d", n, got, want)
		}
		lengths[got] = true
	}
	if len(lengths) > 300 {
		t.Errorf("%d lengths up to 128 KiB tell more than they should", len(lengths))
	}
}

type bodyVector struct {
	Name    string         `json:"name"`
	Content vectortest.Hex `json:"content"`
	Plain   vectortest.Hex `json:"plaintext"`
}

// PROTOCOL 5.6, 5.7.
func TestVectorBody(t *testing.T) {
	c := someContent(t)
	plain := c.marshal()
	v := bodyVector{"a request with one question", unpadded(plain)[4:], plain}
	got, err := unmarshal(v.Plain)
	if err != nil || !bytes.Equal(got.marshal(), plain) || len(got.Items) != len(c.Items) {
		t.Errorf("reads as %+v, %v", got, err)
	}
	vectortest.Check(t, "body", "the plaintext of a sealed body", []string{"5.6", "5.7"}, []bodyVector{v})
}

// PROTOCOL 5.7: an item is read as what it says it is, in its single form.
func TestItemRead(t *testing.T) {
	ask := Item{Type: "ask", Body: canonical.Marshal(&formatv1.Ask{Number: 1})}
	if err := ask.Read("answer", &formatv1.Answer{}); fault.CodeOf(err) != "wrong-item" {
		t.Errorf("an ask read as an answer: %v, want wrong-item", err)
	}
	ask.Body = append(ask.Body, 0x7a, 1, 'x')
	if err := ask.Read("ask", &formatv1.Ask{}); fault.CodeOf(err) != "unknown-field" {
		t.Errorf("an ask with more in it: %v, want unknown-field", err)
	}
}

// The longest body that may be read has the longest plaintext, and no more is ever read.
func TestLongBody(t *testing.T) {
	c := someContent(t)
	c.Items[0].Body = []byte(strings.Repeat("x", message.MaxSealedBody-5000))
	if got, err := unmarshal(c.marshal()); err != nil || len(got.Items) != 2 {
		t.Errorf("%d items, %v", len(got.Items), err)
	}
}

// FuzzBody: what is read as a body is written back the same; nothing in it goes unread.
func FuzzBody(f *testing.F) {
	f.Add(someContent(f).marshal())
	f.Add(padded(nil))
	f.Add([]byte{0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, plain []byte) {
		c, err := unmarshal(plain)
		if err == nil && !bytes.Equal(c.marshal(), plain) {
			t.Errorf("%x reads as %+v", plain, c)
		}
	})
}
