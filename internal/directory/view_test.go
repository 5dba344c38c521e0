package directory

import (
	"fmt"
	"slices"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

func TestView(t *testing.T) {
	w := populated(t)
	v := w.view()
	if e, ok := v.NodeOf(nameOf("mx/fgr")); !ok || e.Node != nodeOf("mx/node/primary") || e.Versions[0] != 1 {
		t.Errorf("node of mx/fgr: %+v, %t", e, ok)
	}
	if e, ok := v.Authority(nameOf("mx/fgr")); !ok || e.Names[0].Value != "Fiscalía General" || e.Desks[0].Slug != "duty" || len(e.Keys) != 0 {
		t.Errorf("mx/fgr: %+v, %t", e, ok)
	}
	var names []string
	for _, e := range v.States() {
		names = append(names, e.State.String())
	}
	for _, e := range v.Authorities() {
		names = append(names, e.Name.String())
	}
	for _, e := range v.Nodes() {
		names = append(names, e.Node.String())
	}
	if want := []string{"jm", "mx", "jm/fgr", "mx/fgr", "jm/node/primary", "mx/node/primary"}; !slices.Equal(names, want) {
		t.Errorf("listed %v, want %v", names, want)
	}
	if !v.Time().Equal(w.now) || v.Snapshot() != w.s {
		t.Errorf("the view is of %v", v.Time())
	}
}

// P6: who is not in the directory is refused, each with a code.
func TestUnknown(t *testing.T) {
	v := populated(t).view()
	for want, err := range map[string]error{
		"unknown-state":     v.CheckState(stateOf("br")),
		"unknown-authority": v.CheckAuthority(nameOf("mx/none")),
		"unknown-node":      v.CheckNode(nodeOf("mx/node/none")),
	} {
		if code(err) != want || !fault.Is(err, fault.Denied) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, ok := v.NodeOf(nameOf("mx/none")); ok {
		t.Error("a stranger has a node")
	}
	if got := v.Find(Query{State: stateOf("br")}); got != nil {
		t.Errorf("found %v in a state that does not take part", got)
	}
}

// PROTOCOL 4.14: one index for all keys.
func TestHolder(t *testing.T) {
	v := populated(t).view()
	tests := []struct{ key, owner, purpose string }{
		{"s-1", "network", "steward"}, {"log", "network", "log"}, {"mx-1", "mx", "state"},
		{"jm/fgr-sign", "jm/fgr", "sign"}, {"jm/node/primary-sign", "jm/node/primary", "sign"},
	}
	for _, test := range tests {
		h, ok := v.Holder(public(test.key).Fingerprint())
		if !ok || h.Owner.String() != test.owner || string(h.Purpose) != test.purpose || h.Status != KeyActive || h.Public != public(test.key) {
			t.Errorf("%s: %+v, %t", test.key, h, ok)
		}
		if _, ok := v.SigningKey(public(test.key).Fingerprint()); ok != (test.purpose == "sign") {
			t.Errorf("%s signs messages: %t", test.key, ok)
		}
	}
	if got := len(v.Keys(Subject{})); got != 4 {
		t.Errorf("%d keys of the network, want 3 stewards and the log", got)
	}
}

// PROTOCOL 4.12: who answers for a matter.
func TestFind(t *testing.T) {
	w := populated(t)
	hidden := authorityBody("mx/uif", "mx/node/primary")
	hidden.Hidden, hidden.Competences[0].Categories = true, nil
	payload, err := w.draft().DeclareAuthority(nameOf("mx/uif"), hidden)
	w.do(payload, err, byMX+designated)
	category := func(s string) authority.Category {
		c, err := authority.ParseCategory(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	kind, err := authority.ParseRequestKind("identify-person")
	if err != nil {
		t.Fatal(err)
	}
	other, err := authority.ParseRequestKind("preserve-data")
	if err != nil {
		t.Fatal(err)
	}
	both := "[jm/fgr mx/fgr]"
	tests := []struct {
		q    Query
		want string
	}{
		{Query{}, both},
		{Query{Hidden: true}, "[jm/fgr mx/fgr mx/uif]"},
		{Query{State: stateOf("mx")}, "[mx/fgr]"},
		{Query{Category: category("drugs.trafficking")}, both},
		{Query{Category: category("firearms.trafficking")}, both},
		{Query{Category: category("firearms.possession")}, "[]"},
		{Query{Category: category("firearms.possession"), Hidden: true}, "[mx/uif]"},
		{Query{Category: category("drugs"), Function: "alerts-in"}, both},
		// One competence must fit the whole query: that for alerts does not cover firearms.
		{Query{Category: category("firearms.trafficking"), Function: "alerts-in"}, "[]"},
		{Query{Kind: kind}, both},
		{Query{Kind: other}, "[]"},
		{Query{Function: "fiu"}, "[]"},
	}
	check := func(q Query, want string) {
		t.Helper()
		got := []authority.Name{}
		for _, e := range w.view().Find(q) {
			got = append(got, e.Name)
		}
		if s := fmt.Sprint(got); s != want {
			t.Errorf("%+v: %s, want %s", q, s, want)
		}
	}
	for _, test := range tests {
		check(test.q, test.want)
	}
	payload, err = w.draft().Suspend(OfState(stateOf("jm")), w.now.Add(MaxSuspension), "")
	w.see(payload, err, stewards)
	check(Query{}, "[mx/fgr]")
	payload, err = w.draft().Retire(nameOf("mx/fgr"), "")
	w.do(payload, err, byMX)
	check(Query{}, "[]")
}
