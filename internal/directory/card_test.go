package directory

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/canonical"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// PROTOCOL 4.8: the log shows a salted hash, and a card is a desk's only if it matches.
func TestCard(t *testing.T) {
	card := Card{Authority: nameOf("mx/fgr"), Desk: "duty", Mailbox: "guardia@fgr.example", Phone: "+52 55 0000 0000",
		Persons: []Person{{Name: "María Núñez", Title: "Fiscal", Contact: "ext. 12"}}}
	salt := bytes.Repeat([]byte{7}, 16)
	b, hash, err := card.Marshal(salt)
	if err != nil {
		t.Fatal(err)
	}
	if want := Hash(sha256.Sum256(append(bytes.Clone(salt), b...))); hash != want {
		t.Errorf("hash %s, want %s", hash, want)
	}
	back, again, err := ParseCard(b)
	if err != nil || again != hash || back.Mailbox != card.Mailbox || back.Persons[0] != card.Persons[0] || back.Authority != card.Authority {
		t.Errorf("read back %+v, %s, %v", back, again, err)
	}
	salt[0]++
	if _, other, _ := card.Marshal(salt); other == hash {
		t.Error("another salt, the same hash")
	}

	w := populated(t)
	body := authorityBody("mx/sat", "mx/node/primary")
	body.Desks[0].Card = hash[:]
	payload, err := w.draft().DeclareAuthority(nameOf("mx/sat"), body)
	st := w.do(payload, err, byMX+designated)
	if got := st.Cards(); len(got) != 1 || got[0] != hash {
		t.Errorf("cards of the statement: %v", got)
	}
	if e, _ := w.view().Authority(nameOf("mx/sat")); e.Desks[0].Card != hash {
		t.Errorf("card of the desk: %s", e.Desks[0].Card)
	}
}

func TestCardRefused(t *testing.T) {
	salt := make([]byte, 16)
	tests := []struct {
		name string
		card Card
		salt []byte
		want string
	}{
		{"short salt", Card{Authority: nameOf("mx/fgr"), Desk: "duty"}, salt[1:], "malformed"},
		{"no authority", Card{Desk: "duty"}, salt, "malformed-name"},
		{"no desk", Card{Authority: nameOf("mx/fgr")}, salt, "malformed-name"},
		{"long telephone", Card{Authority: nameOf("mx/fgr"), Desk: "duty", Phone: strings.Repeat("1", 257)}, salt, "too-long"},
		{"not UTF-8", Card{Authority: nameOf("mx/fgr"), Desk: "duty", Phone: "\xff"}, salt, "malformed-text"},
		{"too large", Card{Authority: nameOf("mx/fgr"), Desk: "duty", Instructions: strings.Repeat("1", MaxCard)}, salt, "too-large"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, _, err := test.card.Marshal(test.salt); code(err) != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func FuzzParseCard(f *testing.F) {
	f.Add(canonical.Marshal(&formatv1.ContactCard{Salt: make([]byte, 16), Authority: "mx/fgr", Desk: "duty", Phone: "+1"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		card, hash, err := ParseCard(b)
		if err != nil {
			return
		}
		var m formatv1.ContactCard
		if err := canonical.Unmarshal(b, &m, MaxCard); err != nil {
			t.Fatal(err)
		}
		if again, other, err := card.Marshal(m.GetSalt()); err != nil || other != hash || !bytes.Equal(again, b) {
			t.Errorf("a card does not come back as it was: %v", err)
		}
	})
}
