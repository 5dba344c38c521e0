package broadcast_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// wireGoal is what an alert of 1 kB may take on the wire, whatever its audience.
const wireGoal = 2500

// An alert is sealed once for everyone: 10 recipients or 300, it is the same size. PROTOCOL 7.4.
func TestSizeOnTheWire(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	body := strings.Repeat("made-up. ", 113) // with the notice's other fields about 1 kB
	sizes := map[int]int{}
	for _, recipients := range []int{10, 300} {
		jm.grow(recipients - 2)
		r := mx.prepare()
		if len(r.Members) != recipients {
			t.Fatalf("the audience has %d members, want %d", len(r.Members), recipients)
		}
		a := mx.publish(message.Routine, body)
		sizes[recipients] = len(mx.frame(a).Frame)
		t.Logf("%d recipients: %d bytes", recipients, sizes[recipients])
	}
	if sizes[10] > wireGoal || sizes[300] > sizes[10]+16 {
		t.Errorf("sizes on the wire: %v, want at most %d for both", sizes, wireGoal)
	}
	w.eventually("jm takes the key of 300", func() bool { _, g := jm.grantFrom(mx); return len(g.Package) > 0 })
}

// grow declares authorities until the side has so many, the first one among them.
func (s *side) grow(to int) {
	w := s.w
	w.t.Helper()
	entry, _ := w.current.Load().At(w.now()).State(s.name.State())
	for n := len(entry.Authorities); n <= to; n++ {
		name, err := authority.ParseName(fmt.Sprintf("%s/unit-%d", s.name.State(), n))
		w.must(err)
		pub, _, err := ed25519.GenerateKey(rand.Reader)
		w.must(err)
		id, err := age.GenerateHybridIdentity()
		w.must(err)
		sealing, err := authority.ParsePublicKey(authority.AgeHybrid, []byte(id.Recipient().String()))
		w.must(err)
		payload, err := w.draft().DeclareAuthority(name, &formatv1.DeclareAuthority{
			Names: []*formatv1.Text{{Language: "en", Value: "Unit"}}, Type: "police", Node: s.node.String(), NoteVerbale: "test", Languages: []string{"en"},
			Competences: []*formatv1.Competence{{Function: "alerts-in"}},
			Keys: []*formatv1.Key{directory.DeclareKey(directory.PurposeSign, public(w.t, pub), time.Time{}),
				directory.DeclareKey(directory.PurposeSeal, sealing, time.Time{})},
		})
		w.must(err)
		w.declare(payload, s)
	}
}
