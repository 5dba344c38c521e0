package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

const publisher = "mx/node/primary"

func epochKey(t testing.TB, label string) EpochKey {
	t.Helper()
	k, err := ParseEpochKey(vectortest.Bytes(label, epochKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func incarnationOf(label string) message.Incarnation {
	return message.Incarnation{Counter: 1, Random: [8]byte(vectortest.Bytes(label, 8))}
}

func statesOf(t testing.TB, names ...string) []authority.State {
	t.Helper()
	var out []authority.State
	for _, n := range names {
		s, err := authority.ParseState(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// broadcastContext is an alert of mx/fgr to an audience.
func broadcastContext(t testing.TB) message.Context {
	t.Helper()
	c := contextOf(t, nil, "mx/fgr sign")
	c.Kind, c.Recipients = message.KindAlert, nil
	c.Audience = &message.Audience{Rule: message.RuleCategory, States: statesOf(t, "jm", "mx"), Position: 42}
	return c
}

func notice(t testing.TB, size int) Content {
	t.Helper()
	body := canonical.Marshal(&formatv1.AlertNotice{Title: "PLANTED alert, all made up", Details: string(bytes.Repeat([]byte("x"), size))})
	return Content{Items: []Item{{Salt: vectortest.Bytes("notice salt", saltSize), Type: "alert", Body: body}}}
}

// newAlert is the same alert in every process: its randomness is public.
func (w *world) newAlert(t testing.TB, c message.Context, content Content) Alert {
	t.Helper()
	a, err := NewAlert(context.Background(), AlertDraft{c, content}, w, bytes.NewReader(vectortest.Bytes("alert random", saltSize)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func framingOf(t testing.TB) Framing {
	t.Helper()
	return Framing{
		Publisher: nodeOf(t, publisher), NodeKey: signKey(t, publisher+" sign").Fingerprint(), Incarnation: incarnationOf("incarnation"),
		Epoch: 1, Key: epochKey(t, "epoch key"), Number: 1,
	}
}

// frame is the same but for the age file in every process.
func (w *world) frame(t testing.TB, a Alert, f Framing) Framed {
	t.Helper()
	out, err := a.Frame(context.Background(), f, w, bytes.NewReader(vectortest.Bytes("frame random", saltSize)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// oneFrame is the first alert of a chain.
func (w *world) oneFrame(t testing.TB) Framed {
	t.Helper()
	return w.frame(t, w.newAlert(t, broadcastContext(t), notice(t, 10)), framingOf(t))
}

// receive reads a frame as a member does, up to its alert.
func (w *world) receive(b []byte, key EpochKey) (Opened, Alert, error) {
	p, err := ParseFrame(b)
	if err != nil {
		return Opened{}, Alert{}, err
	}
	f, err := p.Verify(w.findNode)
	if err != nil {
		return Opened{}, Alert{}, err
	}
	o, err := f.Open(key)
	if err != nil {
		return Opened{}, Alert{}, err
	}
	a, err := o.Verify(w.find)
	return o, a, err
}

// forgery is a frame taken apart, to be put together again by someone else.
type forgery struct {
	alert *formatv1.Alert
	// plain stands instead of the alert where it is not nil.
	plain []byte
	// chain stands instead of the alert's own chain hash where it is not nil.
	chain []byte
	frame *formatv1.Frame
	// sealed stands instead of the age file where it is not nil.
	sealed []byte
	by     string
}

// forge puts a changed frame together: chain hash, seal and signature are right unless the change is about them.
func (w *world) forge(t testing.TB, change func(*forgery)) []byte {
	t.Helper()
	good, err := StoredFrame(w.oneFrame(t).Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := epochKey(t, "epoch key")
	plain, err := unseal(good.sealed, key)
	if err != nil {
		t.Fatal(err)
	}
	f := &forgery{alert: &formatv1.Alert{}, frame: &formatv1.Frame{}, by: publisher + " sign"}
	if err := canonical.Unmarshal(unpadded(plain)[4:], f.alert, message.MaxFrame); err != nil {
		t.Fatal(err)
	}
	payload, _, err := splitSigned(good.Bytes, message.MaxFrame)
	if err != nil {
		t.Fatal(err)
	}
	if err := canonical.Unmarshal(payload, f.frame, message.MaxFrame); err != nil {
		t.Fatal(err)
	}
	change(f)
	return w.assemble(t, f, key)
}

func (w *world) assemble(t testing.TB, f *forgery, key EpochKey) []byte {
	t.Helper()
	if f.plain == nil {
		f.plain = pad(canonical.Marshal(f.alert))
	}
	if f.chain == nil {
		var previous message.Digest
		copy(previous[:], f.alert.GetPrevious())
		chain := ChainHash(f.alert.GetSalt(), f.alert.GetNumber(), previous, message.DigestOf(f.alert.GetHeader()))
		f.chain = chain[:]
	}
	var err error
	if f.sealed == nil {
		if f.sealed, err = encryptTo(f.plain, key); err != nil {
			t.Fatal(err)
		}
	}
	f.frame.Chain, f.frame.Sealed = f.chain, f.sealed
	b, err := SignNode(context.Background(), w, signKey(t, f.by).Fingerprint(), authority.ForFrame, canonical.Marshal(f.frame))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// resigned puts another header into a forgery, signed by an authority.
func (w *world) resigned(t testing.TB, f *forgery, by string, h message.Header) {
	t.Helper()
	f.alert.Header = h.Marshal()
	f.alert.Signatures = []*formatv1.Signature{w.signature(t, by, authority.ForHeader, f.alert.GetHeader())}
}

// headerFor commits to a content in a context.
func headerFor(c message.Context, content Content) message.Header {
	h := message.Header{Context: c, ContextBytes: c.Marshal(), SealedSize: 10, SealedDigest: message.DigestOf(nil)}
	h.Commitment = content.Commitment(h.ContextBytes)
	return h
}

func (w *world) freshKey(t testing.TB) EpochKey {
	t.Helper()
	k, err := NewEpochKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
