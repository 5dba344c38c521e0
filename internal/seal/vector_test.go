package seal

import (
	"bytes"
	"context"
	"testing"
	"testing/cryptotest"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/vectortest"
)

type envelopeVector struct {
	Name       string         `json:"name"`
	Signer     string         `json:"signer"`
	Recipients []string       `json:"recipients"`
	Plain      vectortest.Hex `json:"plaintext"`
	Sealed     vectortest.Hex `json:"sealed"`
	Header     vectortest.Hex `json:"header"`
	Digest     vectortest.Hex `json:"envelope_digest"`
	Envelope   vectortest.Hex `json:"envelope"`
}

// recorded is the envelope of the vectors: the same in every process, as fuzz targets want it.
func recorded(t testing.TB) envelopeVector {
	t.Helper()
	var all []envelopeVector
	vectortest.Read(t, "envelope", &all)
	return all[0]
}

// An age file is never the same twice, so the recorded one stays and all else is made again around it. Each recipient's
// identity opens it. PROTOCOL 5.1, 5.4, 5.5, 5.6.
func TestVectorEnvelope(t *testing.T) {
	w := newWorld(t)
	c, content := contextOf(t, []string{"jm/jcf"}, "mx/fgr sign"), someContent(t)
	var sealed []byte
	if vectortest.Updating() {
		cryptotest.SetGlobalRandom(t, 1) // the same age file as long as library and Go stay as they are
		var keys []authority.PublicKey
		for _, r := range c.Recipients {
			keys = append(keys, w.publics[r.Key])
		}
		var err error
		if sealed, err = encrypt(content.marshal(), keys, nil); err != nil {
			t.Fatal(err)
		}
	} else {
		sealed = recorded(t).Sealed
	}
	h := message.Header{Context: c, ContextBytes: c.Marshal(), SealedSize: uint64(len(sealed)), SealedDigest: message.DigestOf(sealed)}
	h.Commitment = content.Commitment(h.ContextBytes)
	env, err := sign(context.Background(), h, sealed, w)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Recipients {
		if _, got, err := w.take(env.Bytes, r.Key); err != nil || !bytes.Equal(got.marshal(), content.marshal()) {
			t.Errorf("%s: %v", r.Authority, err)
		}
	}
	vectortest.Check(t, "envelope", "a whole envelope; a recipient's identity has the label \"<authority> seal\"", []string{"5.1", "5.4", "5.5", "5.6"}, []envelopeVector{{
		Name: "a request with one question", Signer: "mx/fgr sign", Recipients: []string{"jm/jcf", "mx/fgr"},
		Plain: content.marshal(), Sealed: sealed, Header: h.Marshal(), Digest: env.Header.Digest.Bytes(), Envelope: env.Bytes,
	}})
}
