package message

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

const networkID = "5f0c5d0f3f9f0a0f6a6b9d7c4f1e2d3c5f0c5d0f3f9f0a0f6a6b9d7c4f1e2d3c"

func nameOf(t testing.TB, s string) authority.Name {
	t.Helper()
	n, err := authority.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func fingerprintOf(t testing.TB, algorithm, label string) authority.Fingerprint {
	t.Helper()
	public := vectortest.Public(label)
	if algorithm == authority.AgeHybrid {
		public = []byte(vectortest.Identity(label).Recipient().String())
	}
	k, err := authority.ParsePublicKey(algorithm, public)
	if err != nil {
		t.Fatal(err)
	}
	return k.Fingerprint()
}

// request is a context with every field in use that a request has.
func request(t testing.TB) Context {
	t.Helper()
	category, err := authority.ParseCategory("drugs.trafficking")
	if err != nil {
		t.Fatal(err)
	}
	return Context{
		Network: networkID, ID: idOf(t, "message"), Conversation: idOf(t, "conversation"), Kind: KindRequest, Sender: nameOf(t, "mx/fgr"),
		Recipients: []Recipient{
			{nameOf(t, "jm/jcf"), fingerprintOf(t, authority.AgeHybrid, "jm/jcf seal"), 0},
			{nameOf(t, "mx/fgr"), fingerprintOf(t, authority.AgeHybrid, "mx/fgr seal"), 1},
		},
		Category: category, Urgency: Urgent, Status: Exercise, Created: made, Expires: made.Add(30 * 24 * time.Hour), Position: 42,
		Approval: TwoPerson, Retrospective: true,
		Attachments: []Attachment{{SealedSize: 300_000, Root: DigestOf([]byte("root"))}},
		Required:    []RequiredSignature{{authority.Ed25519, fingerprintOf(t, authority.Ed25519, "mx/fgr sign")}},
		RelatedTo:   []ID{idOf(t, "related")},
	}
}

func headerOf(c Context) Header {
	return Header{Context: c, ContextBytes: c.Marshal(), Commitment: DigestOf([]byte("commitment")), SealedSize: 5000, SealedDigest: DigestOf([]byte("sealed"))}
}

type headerVector struct {
	Name    string         `json:"name"`
	Context vectortest.Hex `json:"context"`
	Header  vectortest.Hex `json:"header"`
	Digest  vectortest.Hex `json:"envelope_digest"`
}

// PROTOCOL 1.1, 1.5, 5.1, 5.2.
func TestVectorHeader(t *testing.T) {
	reply := request(t)
	reply.ID, reply.Kind, reply.InReplyTo, reply.Sender = idOf(t, "reply"), KindReply, request(t).ID, nameOf(t, "jm/jcf")
	reply.Attachments, reply.RelatedTo, reply.Retrospective, reply.Approval = nil, nil, false, Single
	var vectors []headerVector
	for name, c := range map[string]Context{"request with an attachment": request(t), "reply": reply} {
		b := headerOf(c).Marshal()
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Digest != DigestOf(b) || !bytes.Equal(h.ContextBytes, c.Marshal()) || !bytes.Equal(h.Marshal(), b) || h.Key() != (Key{c.Sender, c.ID}) {
			t.Errorf("%s: the header does not give back what it was made of", name)
		}
		if !bytes.Equal(h.Context.Marshal(), c.Marshal()) || h.Commitment != DigestOf([]byte("commitment")) || h.SealedSize != 5000 {
			t.Errorf("%s: read %+v", name, h)
		}
		vectors = append(vectors, headerVector{name, c.Marshal(), b, h.Digest.Bytes()})
	}
	if len(vectors) == 2 && vectors[0].Name > vectors[1].Name { // maps have no order
		vectors[0], vectors[1] = vectors[1], vectors[0]
	}
	vectortest.Check(t, "header", "context and header bytes of a request and its reply; labels of keys and IDs are those of the tests",
		[]string{"1.1", "1.5", "5.1", "5.2"}, vectors)
}

func TestRecipients(t *testing.T) {
	c := request(t)
	if got := c.RecipientsBut(c.Sender); len(got) != 1 || got[0].String() != "jm/jcf" {
		t.Errorf("recipients but the sender = %v", got)
	}
	if !c.Addresses(nameOf(t, "jm/jcf")) || !c.Addresses(c.Sender) || c.Addresses(nameOf(t, "jm/other")) {
		t.Error("the header does not know whom it addresses")
	}
}

// contextCase changes one thing of a good context.
type contextCase struct {
	change func(*formatv1.Context)
	code   string
}

func many(n int, add func(i int)) {
	for i := range n {
		add(i)
	}
}

func contextCases() map[string]contextCase {
	str := func(set func(*formatv1.Context, string), code string, value string) contextCase {
		return contextCase{func(m *formatv1.Context) { set(m, value) }, code}
	}
	recipients := func(change func(m *formatv1.Context)) contextCase { return contextCase{change, "recipients"} }
	return map[string]contextCase{
		"version 2":            {func(m *formatv1.Context) { m.Version = 2 }, "unknown-version"},
		"no version":           {func(m *formatv1.Context) { m.Version = 0 }, "unknown-version"},
		"no ID":                {func(m *formatv1.Context) { m.Id = nil }, "malformed-id"},
		"ID of version 4":      {func(m *formatv1.Context) { m.Id[6] = 0x40 }, "malformed-id"},
		"no conversation":      {func(m *formatv1.Context) { m.Conversation = nil }, "malformed-id"},
		"short in-reply-to":    {func(m *formatv1.Context) { m.InReplyTo = []byte{1} }, "malformed-id"},
		"request that answers": {func(m *formatv1.Context) { m.InReplyTo = m.GetConversation() }, "in-reply-to"},
		"answer to nothing":    str(func(m *formatv1.Context, s string) { m.Kind = s }, "in-reply-to", "REPLY_FINAL"),
		"short related":        {func(m *formatv1.Context) { m.RelatedTo = [][]byte{{1}} }, "malformed-id"},
		"no kind":              str(func(m *formatv1.Context, s string) { m.Kind = s }, "unknown-kind", ""),
		"later kind":           str(func(m *formatv1.Context, s string) { m.Kind = s }, "unknown-kind", "RECALL"),
		"malformed sender":     str(func(m *formatv1.Context, s string) { m.Sender = s }, "malformed-name", "mx/node/primary"),
		"malformed category":   str(func(m *formatv1.Context, s string) { m.Category = s }, "malformed-name", "drugs.>"),
		"no category":          str(func(m *formatv1.Context, s string) { m.Category = s }, "malformed-name", ""),
		"unknown urgency":      str(func(m *formatv1.Context, s string) { m.Urgency = s }, "unknown-urgency", "urgent"),
		"unknown status":       str(func(m *formatv1.Context, s string) { m.Status = s }, "unknown-status", "REAL"),
		"no status":            str(func(m *formatv1.Context, s string) { m.Status = s }, "unknown-status", ""),
		"unknown approval":     str(func(m *formatv1.Context, s string) { m.Approval = s }, "unknown-approval", "none"),
		"an audience":          {func(m *formatv1.Context) { m.Audience = &formatv1.Audience{} }, "audience"},

		"no recipient":        recipients(func(m *formatv1.Context) { m.Recipients = nil }),
		"the sender alone":    recipients(func(m *formatv1.Context) { m.Recipients = m.GetRecipients()[1:] }),
		"without the sender":  recipients(func(m *formatv1.Context) { m.Recipients[1].Authority = "jm/other" }),
		"a recipient twice":   recipients(func(m *formatv1.Context) { m.Recipients[0].Authority = "mx/fgr" }),
		"stanza out of order": recipients(func(m *formatv1.Context) { m.Recipients[0].Stanza = 1; m.Recipients[1].Stanza = 0 }),
		"65 recipients":       recipients(tooManyRecipients),
		"malformed recipient": {func(m *formatv1.Context) { m.Recipients[0].Authority = "jm" }, "malformed-name"},
		"short key":           {func(m *formatv1.Context) { m.Recipients[0].SealingKey = []byte{1} }, "malformed-key"},
		"65 attachments":      {tooManyAttachments, "too-large"},
		"empty attachment":    {func(m *formatv1.Context) { m.Attachments[0].SealedSize = 0 }, "too-large"},
		"huge attachment":     {func(m *formatv1.Context) { m.Attachments[0].SealedSize = MaxAttachment + 1 }, "too-large"},
		"short root":          {func(m *formatv1.Context) { m.Attachments[0].Root = []byte{1} }, "malformed"},
		"no signature needed": {func(m *formatv1.Context) { m.RequiredSignatures = nil }, "required-signatures"},
		"9 signatures needed": {tooManySignatures, "required-signatures"},
		"one signature twice": {func(m *formatv1.Context) {
			m.RequiredSignatures = append(m.RequiredSignatures, m.RequiredSignatures[0])
		}, "required-signatures"},
		"short signing key":    {func(m *formatv1.Context) { m.RequiredSignatures[0].Key = []byte{1} }, "malformed-key"},
		"expires when created": {func(m *formatv1.Context) { m.Expires = m.GetCreated() }, "expires"},
		"no expiry":            {func(m *formatv1.Context) { m.Expires = 0 }, "expires"},
		"expires in 2 years":   {func(m *formatv1.Context) { m.Expires = m.GetCreated() + (MaxLife + time.Millisecond).Milliseconds() }, "expires"},
		"expires at the end":   {func(m *formatv1.Context) { m.Expires = 1<<63 - 1 }, "expires"},
		"1,025 extensions":     {tooManyExtensions, "too-large"},
	}
}

func tooManyRecipients(m *formatv1.Context) {
	many(63, func(i int) {
		m.Recipients = append(m.Recipients, &formatv1.Recipient{Authority: "jm/a" + strings.Repeat("b", i%30) + string(rune('c'+i/30)), SealingKey: m.Recipients[0].GetSealingKey(), Stanza: uint32(i + 2)})
	})
}

func tooManyAttachments(m *formatv1.Context) {
	many(64, func(int) { m.Attachments = append(m.Attachments, m.Attachments[0]) })
}

func tooManySignatures(m *formatv1.Context) {
	many(8, func(i int) {
		key := DigestOf([]byte{byte(i)})
		m.RequiredSignatures = append(m.RequiredSignatures, &formatv1.RequiredSignature{Algorithm: authority.Ed25519, Key: key[:]})
	})
}

func tooManyExtensions(m *formatv1.Context) {
	many(MaxItems+1, func(int) { m.Extensions = append(m.Extensions, &formatv1.Extension{Name: "x"}) })
}

// PROTOCOL 1.3, 1.4, 5.2, 5.3.
func TestContextRefuses(t *testing.T) {
	for name, test := range contextCases() {
		var m formatv1.Context
		if err := canonical.Unmarshal(request(t).Marshal(), &m, MaxHeader); err != nil {
			t.Fatal(err)
		}
		test.change(&m)
		c, err := ParseContext(canonical.Marshal(&m))
		if fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v (%v), want %s", name, err, c.ID, test.code)
		}
	}
}

// PROTOCOL 1.4: what a header may add is signed with it and means nothing here; anything else unknown is refused.
func TestExtensions(t *testing.T) {
	var m formatv1.Context
	if err := canonical.Unmarshal(request(t).Marshal(), &m, MaxHeader); err != nil {
		t.Fatal(err)
	}
	m.Extensions = []*formatv1.Extension{{Name: "later", Value: []byte("x")}}
	with := canonical.Marshal(&m)
	h := headerOf(request(t))
	h.ContextBytes = with
	got, err := ParseHeader(h.Marshal())
	if err != nil || !bytes.Equal(got.ContextBytes, with) {
		t.Errorf("with an extension: %v; the bytes are carried: %v", err, bytes.Equal(got.ContextBytes, with))
	}
	if _, err := ParseContext(append(with, 0xf2, 0x3f, 0x01, 'x')); fault.CodeOf(err) != "unknown-field" {
		t.Errorf("with an unknown field: %v", err)
	}
}

// PROTOCOL 1.3, 5.1.
func TestHeaderRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*formatv1.Header)
		code   string
	}{
		"no context":       {func(m *formatv1.Header) { m.Context = nil }, "unknown-version"},
		"short commitment": {func(m *formatv1.Header) { m.Commitment = m.Commitment[1:] }, "malformed"},
		"short digest":     {func(m *formatv1.Header) { m.SealedDigest = m.SealedDigest[1:] }, "malformed"},
		"no body":          {func(m *formatv1.Header) { m.SealedSize = 0 }, "too-large"},
		"huge body":        {func(m *formatv1.Header) { m.SealedSize = MaxSealedBody + 1 }, "too-large"},
		"huge header":      {func(m *formatv1.Header) { m.Context = make([]byte, MaxHeader) }, "too-large"},
	} {
		var m formatv1.Header
		if err := canonical.Unmarshal(headerOf(request(t)).Marshal(), &m, MaxHeader); err != nil {
			t.Fatal(err)
		}
		test.change(&m)
		if _, err := ParseHeader(canonical.Marshal(&m)); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
}

// PROTOCOL 1.3: a header with all that is allowed fits its limit, and an envelope holds the largest of all parts.
func TestLimitsFitEachOther(t *testing.T) {
	c := request(t)
	c.Recipients, c.Attachments, c.Required = nil, nil, nil
	longest := strings.Repeat("z", 29)
	for i := range MaxRecipients {
		name := nameOf(t, "x-"+longest+"abc/"+longest+"-"+string(rune('a'+i/26))+string(rune('a'+i%26)))
		c.Recipients = append(c.Recipients, Recipient{name, authority.Fingerprint(DigestOf([]byte{byte(i)})), uint32(i)})
		c.Attachments = append(c.Attachments, Attachment{MaxAttachment, DigestOf([]byte{byte(i)})})
	}
	for i := range MaxSignatures {
		c.Required = append(c.Required, RequiredSignature{authority.Ed25519, authority.Fingerprint(DigestOf([]byte{byte(i)}))})
	}
	c.Sender = c.Recipients[0].Authority
	b := headerOf(c).Marshal()
	if _, err := ParseHeader(b); err != nil {
		t.Errorf("the largest header (%d bytes): %v", len(b), err)
	}
	e := &formatv1.Envelope{Header: make([]byte, MaxHeader), Sealed: make([]byte, MaxSealedBody)}
	for range MaxSignatures {
		e.Signatures = append(e.Signatures, &formatv1.Signature{Algorithm: authority.Ed25519, Key: make([]byte, 32), Value: make([]byte, 64)})
	}
	if got := proto.Size(e); got > MaxEnvelope {
		t.Errorf("the largest envelope has %d bytes, more than %d", got, MaxEnvelope)
	}
}

func TestDigest(t *testing.T) {
	d := DigestOf([]byte("abc"))
	if d.String() != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("SHA-256 of abc = %s", d)
	}
	b := d.Bytes()
	b[0]++
	if got, err := DigestFromBytes(d.Bytes()); err != nil || got != d {
		t.Errorf("a digest reads as %v, %v", got, err)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(headerOf(request(f)).Marshal())
	f.Add(headerOf(alertContext(f)).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if !bytes.Equal(h.Marshal(), b) || len(b) > MaxHeader || h.Addresses(h.Sender) != (h.Audience == nil) {
			t.Errorf("%x reads as %+v", b, h)
		}
	})
}

func FuzzParseContext(f *testing.F) {
	f.Add(request(f).Marshal())
	f.Add(alertContext(f).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseContext(b)
		if err != nil {
			return
		}
		if again, err := ParseContext(c.Marshal()); err != nil || !bytes.Equal(again.Marshal(), c.Marshal()) {
			t.Errorf("%x reads as %+v, which does not read back: %v", b, c, err)
		}
	})
}
