package directory

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
)

// carded is a bundle with a node, and an authority whose desk has a contact card.
func carded(t testing.TB, w *world) Bundle {
	t.Helper()
	card, hash, err := Card{Authority: nameOf("mx/sat"), Desk: "duty", Phone: "+000 555 0100"}.Marshal(make([]byte, saltBytes))
	if err != nil {
		t.Fatal(err)
	}
	body := authorityBody("mx/sat", "mx/node/primary")
	body.Desks[0].Card = hash[:]
	node, err := w.draft().DeclareNode(nodeOf("mx/node/second"), nodeBody("mx/node/second"))
	first := w.parse(node, err, byMX)
	sat, err := w.draft().DeclareAuthority(nameOf("mx/sat"), body)
	return Bundle{Statements: []Statement{first, w.parse(sat, err, byMX)}, Cards: [][]byte{card}}
}

func TestBundleComesBack(t *testing.T) {
	b := carded(t, populated(t))
	text := b.Marshal()
	for name, form := range map[string][]byte{
		"as written": text, "line ends of mail": bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), "blank lines around": append([]byte("\n\n"), append(text, '\n', ' ', '\n')...),
	} {
		got, err := ParseBundle(form)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(got.Marshal(), text) {
			t.Errorf("%s: the bundle reads as another", name)
		}
		if cards := got.CardsOf(got.Statements[1]); len(cards) != 1 || !bytes.Equal(cards[0], b.Cards[0]) {
			t.Errorf("%s: the authority has %d cards, want its own", name, len(cards))
		}
		if cards := got.CardsOf(got.Statements[0]); len(cards) != 0 {
			t.Errorf("%s: the node has %d cards, want none", name, len(cards))
		}
	}
}

func TestBundleRefuses(t *testing.T) {
	b := carded(t, populated(t))
	text := string(b.Marshal())
	second := strings.Index(text[1:], "-----BEGIN") + 1
	stray := Bundle{Statements: b.Statements[:1], Cards: b.Cards}
	for name, c := range map[string]struct{ text, code string }{
		"empty":                 {"", "malformed-bundle"},
		"words":                 {"hello", "malformed-bundle"},
		"words between blocks":  {text[:second] + "see below\n" + text[second:], "malformed-bundle"},
		"words before":          {"see below\n" + text, "malformed-bundle"},
		"another kind claimed":  {strings.Replace(text, "Kind: declare-node", "Kind: declare-authority", 1), "malformed-bundle"},
		"another subject":       {strings.Replace(text, "Subject: mx/node/second", "Subject: mx/node/primary", 1), "malformed-bundle"},
		"a header more":         {strings.Replace(text, "Kind: ", "Approved: yes\nKind: ", 1), "malformed-bundle"},
		"first block damaged":   {strings.Replace(text, "-----END", "----END", 1), "malformed-bundle"},
		"cut":                   {text[:len(text)-30], "malformed-bundle"},
		"another block":         {strings.ReplaceAll(text, "ENLACE CARD", "PRIVATE KEY"), "malformed-bundle"},
		"card of nobody":        {string(stray.Marshal()), "stray-card"},
		"card before statement": {text[strings.Index(text, "-----BEGIN ENLACE CARD"):] + text[:strings.Index(text, "-----BEGIN ENLACE CARD")], "malformed-bundle"},
		"too large":             {strings.Repeat(" ", MaxBundle+1), "too-large"},
	} {
		if _, err := ParseBundle([]byte(c.text)); code(err) != c.code {
			t.Errorf("%s: refused with %q (%v), want %q", name, code(err), err, c.code)
		}
	}
}

// What Restate says, drafted and applied again, changes nothing but the place in the chain.
func TestRestateSaysTheSame(t *testing.T) {
	w := populated(t)
	name := nameOf("mx/fgr")
	before, _ := w.view().Authority(name)
	payload, err := w.draft().DeclareAuthority(name, before.Restate())
	w.do(payload, err, byMX+designated)
	after, _ := w.view().Authority(name)
	if got, want := asJSON(t, after.AuthorityDeclaration), asJSON(t, before.AuthorityDeclaration); got != want {
		t.Errorf("restated as\n%s\nwant\n%s", got, want)
	}
	if after.Last == before.Last {
		t.Error("the amendment was not applied")
	}
	node, _ := w.view().Node(nodeOf("mx/node/primary"))
	payload, err = w.draft().DeclareNode(node.Node, node.NodeDeclaration.Restate())
	w.do(payload, err, byMX+designated)
	again, _ := w.view().Node(node.Node)
	if got, want := again.Endpoints, node.Endpoints; len(got) != 1 || got[0] != want[0] {
		t.Errorf("restated endpoints %v, want %v", got, want)
	}
}

func asJSON(t *testing.T, d AuthorityDeclaration) string {
	t.Helper()
	b, err := protojson.MarshalOptions{}.Marshal(d.Restate())
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.ReplaceAll(b, []byte(" "), nil)) // protojson varies its spaces on purpose
}

func TestDraftFromJSON(t *testing.T) {
	w := populated(t)
	end := w.now.Add(time.Hour).Unix()
	for name, c := range map[string]struct {
		kind    Kind
		subject Subject
		body    string
		specs   string
		code    string
	}{
		"retire":        {KindRetire, OfAuthority(nameOf("jm/fgr")), `{"reason":"merged"}`, stateKeys("jm"), ""},
		"suspend":       {KindSuspend, OfState(stateOf("jm")), `{"end":` + time.Unix(end, 0).UTC().Format("150405") + `}`, stewards, "malformed-term"},
		"rotate node":   {KindRotateNode, OfNode(nodeOf("mx/node/primary")), `{"endpoints":["127.0.0.1:9"]}`, byMX, ""},
		"unknown field": {KindRetire, OfAuthority(nameOf("mx/fgr")), `{"why":"merged"}`, byMX, "malformed-body"},
		"wrong subject": {KindRetire, OfState(stateOf("mx")), `{}`, byMX, "wrong-subject"},
		"genesis":       {KindGenesis, Subject{}, `{}`, stewards, "unknown-kind"},
		"no JSON":       {KindRetire, OfAuthority(nameOf("mx/fgr")), `{`, byMX, "malformed-body"},
	} {
		payload, err := w.draft().FromJSON(c.kind, c.subject, []byte(c.body))
		if code(err) != c.code {
			t.Errorf("%s: %q (%v), want %q", name, code(err), err, c.code)
		}
		if err == nil {
			w.do(payload, nil, c.specs)
		}
	}
}

func FuzzParseBundle(f *testing.F) {
	b := carded(f, populated(f))
	f.Add(b.Marshal())
	f.Add(Bundle{Statements: b.Statements[:1]}.Marshal())
	f.Add([]byte("-----BEGIN ENLACE STATEMENT-----\nKind: retire\n\n-----END ENLACE STATEMENT-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ParseBundle(text)
		if err != nil {
			return
		}
		again, err := ParseBundle(got.Marshal())
		if err != nil || !bytes.Equal(again.Marshal(), got.Marshal()) {
			t.Fatalf("a bundle that was read is not read again: %v", err)
		}
	})
}
