package message

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

func categoryOf(t testing.TB, s string) authority.Category {
	t.Helper()
	c, err := authority.ParseCategory(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
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

// alertContext is an alert to an audience.
func alertContext(t testing.TB) Context {
	t.Helper()
	c := request(t)
	c.Kind, c.Recipients = KindAlert, nil
	c.Audience = &Audience{Rule: RuleCategory, States: statesOf(t, "jm", "mx"), Position: 42}
	return c
}

// The ID is that of the vectors, and each part of it counts. PROTOCOL 7.2.
func TestAudienceID(t *testing.T) {
	var vectors []struct {
		Bytes vectortest.Hex `json:"bytes"`
	}
	vectortest.Read(t, "key-request", &vectors)
	var m formatv1.KeyRequest
	if err := canonical.Unmarshal(vectors[0].Bytes, &m, MaxReceipt); err != nil {
		t.Fatal(err)
	}
	category := categoryOf(t, "drugs.trafficking")
	a := Audience{Rule: RuleCategory, States: statesOf(t, "jm", "mx"), Position: 42}
	if id := a.ID(category); !bytes.Equal(id[:], m.GetAudience()) {
		t.Errorf("ID %s, want %s", id, hex.EncodeToString(m.GetAudience()))
	}
	seen := map[Digest]bool{a.ID(category): true}
	for name, id := range map[string]Digest{
		"another category": a.ID(categoryOf(t, "drugs.precursors")),
		"another rule":     AudienceID(category, RuleAllNPC, a.States),
		"fewer states":     AudienceID(category, RuleCategory, a.States[:1]),
		"all states":       AudienceID(category, RuleCategory, nil),
	} {
		if seen[id] {
			t.Errorf("%s: the same ID", name)
		}
		seen[id] = true
	}
	if a.Position++; !seen[a.ID(category)] {
		t.Error("the position makes another audience of it")
	}
}

// PROTOCOL 7.2: known rules, states in ascending order without repeats, a position, and a category that has a subject.
func TestParseAudience(t *testing.T) {
	many := strings.Split(strings.Repeat("jm ", MaxStates+1), " ")[:MaxStates+1]
	for name, test := range map[string]struct {
		category, rule string
		states         []string
		position       uint64
		code           string
	}{
		"all states":          {"drugs.trafficking", "category", nil, 1, ""},
		"one state":           {"drugs.trafficking", "all-npc", []string{"jm"}, 1, ""},
		"three":               {"drugs.trafficking", "category", []string{"jm", "mx", "x-rss"}, 1, ""},
		"another rule":        {"drugs.trafficking", "everyone", nil, 1, "audience"},
		"no rule":             {"drugs.trafficking", "", nil, 1, "audience"},
		"descending":          {"drugs.trafficking", "category", []string{"mx", "jm"}, 1, "audience"},
		"twice":               {"drugs.trafficking", "category", []string{"jm", "jm"}, 1, "audience"},
		"last two descending": {"drugs.trafficking", "category", []string{"br", "mx", "jm"}, 1, "audience"},
		"no state":            {"drugs.trafficking", "category", []string{"JM"}, 1, "malformed-name"},
		"too many":            {"drugs.trafficking", "category", many, 1, "audience"},
		"no position":         {"drugs.trafficking", "category", nil, 0, "audience"},
		"a group":             {"drugs", "category", nil, 1, "audience"},
	} {
		a, err := ParseAudience(categoryOf(t, test.category), test.rule, test.states, test.position)
		if fault.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
		if err == nil && !slices.Equal(StateNames(a.States), test.states) {
			t.Errorf("%s: states %v", name, a.States)
		}
	}
}

// Whatever the order, sorted states are taken, and they are the same set.
func TestSortStates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[a-z]{2}|x-[a-z]{2,5}`), 0, 20).Draw(t, "states")
		var states []authority.State
		for _, n := range names {
			s, err := authority.ParseState(n)
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, s)
		}
		before := slices.Clone(states)
		sorted := SortStates(states)
		if !ascending(sorted) || !slices.Equal(states, before) {
			t.Fatalf("%v, sorted from %v", sorted, before)
		}
		for _, s := range states {
			if !slices.Contains(sorted, s) {
				t.Fatalf("%v is lost", s)
			}
		}
	})
}

// PROTOCOL 5.2, 5.3, 7.4: an alert kind has an audience or recipients, never both, and feedback has recipients.
func TestAudienceHeader(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Context)
		code   string
	}{
		"alert":                 {func(*Context) {}, ""},
		"update":                {func(c *Context) { c.Kind, c.InReplyTo = KindAlertUpdate, c.Conversation }, ""},
		"cancellation":          {func(c *Context) { c.Kind, c.InReplyTo = KindAlertCancel, c.Conversation }, ""},
		"to all":                {func(c *Context) { c.Audience.States = nil }, ""},
		"without attachments":   {func(c *Context) { c.Attachments = nil }, ""},
		"feedback":              {func(c *Context) { c.Kind, c.InReplyTo = KindAlertFeedback, c.Conversation }, "audience"},
		"request":               {func(c *Context) { c.Kind = KindRequest }, "audience"},
		"with recipients":       {func(c *Context) { c.Recipients = request(t).Recipients }, "audience"},
		"states out of order":   {func(c *Context) { slices.Reverse(c.Audience.States) }, "audience"},
		"group alone":           {func(c *Context) { c.Category = c.Category.Group() }, "audience"},
		"alert that answers":    {func(c *Context) { c.InReplyTo = c.Conversation }, "in-reply-to"},
		"update of nothing":     {func(c *Context) { c.Kind = KindAlertUpdate }, "in-reply-to"},
		"cancelling nothing":    {func(c *Context) { c.Kind = KindAlertCancel }, "in-reply-to"},
		"nobody":                {func(c *Context) { c.Audience = nil }, "recipients"},
		"directed alert":        {func(c *Context) { c.Audience, c.Recipients = nil, request(t).Recipients }, ""},
		"directed update":       {func(c *Context) { *c = directed(t, KindAlertUpdate) }, ""},
		"directed cancellation": {func(c *Context) { *c = directed(t, KindAlertCancel) }, ""},
		"directed feedback":     {func(c *Context) { *c = directed(t, KindAlertFeedback) }, ""},
	} {
		c := alertContext(t)
		test.change(&c)
		h := headerOf(c)
		got, err := ParseHeader(h.Marshal())
		if fault.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
		if err == nil && (!bytes.Equal(got.Context.Marshal(), c.Marshal()) || !bytes.Equal(got.Marshal(), h.Marshal())) {
			t.Errorf("%s reads as %+v", name, got)
		}
		if err == nil && got.Audience != nil && (got.SealedSize != 0 || got.SealedDigest != Digest{}) {
			t.Errorf("%s: an alert to an audience names a sealed body", name)
		}
	}
}

// directed is a message about an alert to recipients.
func directed(t *testing.T, kind Kind) Context {
	c := request(t)
	c.Kind, c.InReplyTo = kind, c.Conversation
	return c
}

// PROTOCOL 7.4: neither size nor digest of a sealed body stands in the header of an alert.
func TestAudienceHeaderNamesNoBody(t *testing.T) {
	digest := DigestOf([]byte("sealed"))
	for name, change := range map[string]func(*formatv1.Header){
		"size":           func(m *formatv1.Header) { m.SealedSize = 5000 },
		"digest":         func(m *formatv1.Header) { m.SealedDigest = digest[:] },
		"digest of zero": func(m *formatv1.Header) { m.SealedDigest = make([]byte, 32) },
	} {
		var m formatv1.Header
		if err := canonical.Unmarshal(headerOf(alertContext(t)).Marshal(), &m, MaxHeader); err != nil {
			t.Fatal(err)
		}
		change(&m)
		if _, err := ParseHeader(canonical.Marshal(&m)); fault.CodeOf(err) != "audience" {
			t.Errorf("%s: %v, want audience", name, err)
		}
	}
}

// What of an alert's kinds begins a conversation, and what may go to an audience. PROTOCOL 5.2, 5.3.
func TestAlertKinds(t *testing.T) {
	for kind, want := range map[Kind][3]bool{
		KindRequest: {false, false, true}, KindReply: {false, false, false}, KindClose: {false, false, false},
		KindAlert: {true, true, true}, KindAlertUpdate: {true, true, false}, KindAlertCancel: {true, true, false}, KindAlertFeedback: {true, false, false},
	} {
		if got := [3]bool{kind.IsAlert(), kind.MayBroadcast(), kind.Begins()}; got != want {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
}
