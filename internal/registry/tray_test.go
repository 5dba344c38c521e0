package registry_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/registry"
)

// applies is the admission of a state with its own signature alone.
func (n *network) applies(m *member) (payload, signed []byte) {
	n.t.Helper()
	payload, err := n.draft().AdmitState(m.state, &formatv1.AdmitState{
		Keys:      []*formatv1.Key{directory.DeclareKey(directory.PurposeState, m.key.public(), time.Time{})},
		Threshold: 1, CaCertificates: m.ring.CACertificates(), NoteVerbale: "1/26"})
	must(n.t, err)
	return payload, directory.Attach(payload, m.key.sign(directory.RoleState, payload))
}

// drafted is a change of m's node's endpoint, signed as given.
func (n *network) drafted(m *member, endpoint string, by ...directory.Signature) []byte {
	n.t.Helper()
	payload, err := n.draft().RotateNode(m.node, &formatv1.RotateNode{Endpoints: []string{endpoint}})
	must(n.t, err)
	if len(by) == 0 {
		by = []directory.Signature{m.key.sign(directory.RoleState, payload)}
	}
	return directory.Attach(payload, by...)
}

// TestApplication: a stranger with a token leaves the application of a state, stewards see it and sign, it outlives a
// restart, and leaves when it is logged. PROTOCOL 11.12.
func TestApplication(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	ctx := within(t, 60*time.Second)
	jm := n.candidate("jm")
	payload, signed := n.applies(jm)
	first, second := h.client(n.stewards[0]), h.client(n.stewards[1])
	token, expires, err := first.IssueToken(ctx, jm.state)
	must(t, err)
	if left := expires.Sub(n.now()); left < 6*24*time.Hour || left > 7*24*time.Hour {
		t.Errorf("the token is good for %v, want 7 days", left)
	}
	stranger := h.client(newHolder(t))
	must(t, stranger.Deposit(ctx, [][]byte{signed}, nil, token))
	must(t, stranger.Deposit(ctx, [][]byte{signed}, nil, token)) // its answer was lost
	if found := grep(t, h.data, token); found != "" {
		t.Errorf("the token stands in %s", found)
	}
	h.stop()
	n.serve(h.data, h.addr, nil)
	must(t, first.Deposit(ctx, [][]byte{directory.Attach(payload, n.stewards[0].sign(directory.RoleSteward, payload))}, nil, ""))
	got, err := second.Deposits(ctx)
	must(t, err)
	if len(got) != 1 {
		t.Fatalf("%d deposits, want 1", len(got))
	}
	st, err := directory.ParseStatement(got[0].Statement)
	must(t, err)
	if !bytes.Equal(st.Payload(), payload) || len(st.Signatures()) != 2 {
		t.Errorf("the deposit has %d signatures, want the state's and the steward's", len(st.Signatures()))
	}
	all := append(st.Signatures(), n.stewards[1].sign(directory.RoleSteward, payload))
	_, err = second.Propose(ctx, directory.Attach(payload, all...))
	must(t, err)
	if got, err := second.Deposits(ctx); err != nil || len(got) != 0 {
		t.Errorf("%d deposits after it was logged, %v", len(got), err)
	}
}

// grep is the name of a file that holds the text.
func grep(t *testing.T, folder, text string) string {
	t.Helper()
	found := ""
	must(t, filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = path
		}
		return err
	}))
	return found
}

// TestTokens: a token that is wrong, was used, has run out or is another state's leaves nothing. PROTOCOL 11.12.
func TestTokens(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	n.propose = nil
	ctx := within(t, 60*time.Second)
	jm, br := n.candidate("jm"), n.candidate("br")
	_, application := n.applies(jm)
	_, others := n.applies(br)
	steward, stranger := h.client(n.stewards[0]), h.client(newHolder(t))
	issue := func() string {
		token, _, err := steward.IssueToken(ctx, jm.state)
		must(t, err)
		return token
	}
	refused := func(name, token, code string, statement []byte) {
		t.Helper()
		if err := stranger.Deposit(ctx, [][]byte{statement}, nil, token); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", name, err, code)
		}
	}
	token := issue()
	refused("no token", "", "not-allowed", application)
	refused("a wrong one", strings.Repeat("a", 26), "wrong-token", application)
	refused("of another state", token, "wrong-token", others)
	if err := stranger.Deposit(ctx, [][]byte{make([]byte, 1<<20)}, nil, token); err == nil { // cut before it was read
		t.Error("a large deposit of a stranger was taken")
	}
	junk, err := directory.ParseStatement(application)
	must(t, err)
	refused("of a false key", token, "bad-signature", directory.Attach(junk.Payload(), directory.Signature{Algorithm: "ed25519",
		Key: jm.key.public().Fingerprint(), Role: directory.RoleState, Value: mx.key.sign(directory.RoleState, junk.Payload()).Value}))
	must(t, stranger.Deposit(ctx, [][]byte{application}, nil, token)) // still good
	_, second := n.applies(n.candidate("jm"))
	refused("twice", token, "wrong-token", second)
	late := issue()
	n.ahead.Add(int64(7*24*time.Hour + time.Second))
	refused("too late", late, "wrong-token", second)
	n.ahead.Store(0)
	if _, _, err := h.clientOf(mx).IssueToken(ctx, jm.state); fault.CodeOf(err) != "not-allowed" {
		t.Errorf("a token issued by a node: %v", err)
	}
	if got, err := steward.Deposits(ctx); err != nil || len(got) != 1 {
		t.Errorf("%d deposits, %v; want the good one", len(got), err)
	}
}

// TestTray: members leave and see what is theirs, every signature verifies, a state's share is bounded, and what nobody
// signs lapses. PROTOCOL 11.12.
func TestTray(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br")
	mx, br := all[0], all[1]
	n.propose = nil
	ctx := within(t, 60*time.Second)
	node, steward, foreign := h.clientOf(mx), h.client(n.stewards[0]), h.clientOf(br)
	good := n.drafted(mx, "example.org:1")
	must(t, node.Deposit(ctx, [][]byte{good}, nil, ""))
	st, err := directory.ParseStatement(good)
	must(t, err)
	payload := st.Payload()
	application, _ := n.applies(n.candidate("jm"))
	thief, claimed := newHolder(t), n.candidate("ca")
	claimed.key = thief
	forged, _ := n.applies(claimed)
	other := newNetwork(t)
	otherMX := other.candidate("mx")
	other.take(otherMX)
	tests := []struct {
		name, code string
		by         *registry.Client
		statement  []byte
	}{
		{"another state's", "not-allowed", foreign, good},
		{"an application of a state that it invents", "not-allowed", foreign, directory.Attach(forged,
			thief.sign(directory.RoleState, forged), br.key.sign(directory.RoleConsent, forged))},
		{"an application with its consent", "not-allowed", foreign, directory.Attach(application, br.key.sign(directory.RoleConsent, application))},
		{"unsigned", "signers", node, directory.Attach(payload)},
		{"by a stranger's key", "signers", node, n.drafted(mx, "x.org:1", newHolder(t).sign(directory.RoleState, payload))},
		{"by another state", "signers", node, directory.Attach(payload, br.key.sign(directory.RoleState, payload))},
		{"in a role that is not the key's", "signers", node, directory.Attach(payload, mx.key.sign(directory.RoleSteward, payload))},
		{"a signature over something else", "bad-signature", steward, directory.Attach(payload, n.stewards[0].sign(directory.RoleSteward, []byte("x")))},
		{"of another network", "wrong-network", steward, other.drafted(otherMX, "example.org:1")},
		{"garbage", "malformed", node, []byte("garbage")},
	}
	for _, test := range tests {
		if err := test.by.Deposit(ctx, [][]byte{test.statement}, nil, ""); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", test.name, err, test.code)
		}
	}
	if err := node.Deposit(ctx, [][]byte{good}, [][]byte{good}, ""); err == nil {
		t.Error("a card that is none was taken")
	}
	must(t, foreign.Deposit(ctx, [][]byte{n.drafted(br, "example.org:2")}, nil, ""))
	for name, want := range map[string]struct {
		by  *registry.Client
		has int
	}{"its own": {node, 1}, "the other's": {foreign, 1}, "the steward's": {steward, 2}} {
		if got, err := want.by.Deposits(ctx); err != nil || len(got) != want.has {
			t.Errorf("%s: %d deposits, %v; want %d", name, len(got), err, want.has)
		}
	}
	left := 0
	for i := range 70 {
		err := node.Deposit(ctx, [][]byte{n.drafted(mx, fmt.Sprintf("example.org:%d", 1000+i))}, nil, "")
		if err != nil && fault.CodeOf(err) != "too-many" {
			t.Fatal(err)
		}
		if fault.CodeOf(err) == "too-many" {
			left++
		}
	}
	if left != 7 {
		t.Errorf("%d of 71 were refused, want those beyond 64", left)
	}
	if got, err := foreign.Deposits(ctx); err != nil || len(got) != 1 {
		t.Errorf("the other state's after that: %d, %v", len(got), err)
	}
	n.ahead.Add(int64(31 * 24 * time.Hour))
	if got, err := h.client(n.stewards[0]).Deposits(ctx); err != nil || len(got) != 0 {
		t.Errorf("%d deposits after 30 days, %v", len(got), err)
	}
}
