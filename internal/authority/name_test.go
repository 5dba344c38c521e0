package authority

import (
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// forms are the parsers, each giving back the text it has read.
func forms() map[string]func(string) (string, error) {
	return map[string]func(string) (string, error){
		"state":        func(s string) (string, error) { v, err := ParseState(s); return v.String(), err },
		"authority":    func(s string) (string, error) { v, err := ParseName(s); return v.String(), err },
		"node":         func(s string) (string, error) { v, err := ParseNode(s); return v.String(), err },
		"category":     func(s string) (string, error) { v, err := ParseCategory(s); return v.String(), err },
		"request-kind": func(s string) (string, error) { v, err := ParseRequestKind(s); return v.String(), err },
		"lane":         func(s string) (string, error) { v, err := ParseLane(s); return v.String(), err },
		"language":     func(s string) (string, error) { v, err := ParseLanguage(s); return v.String(), err },
	}
}

type nameVector struct {
	Form  string `json:"form"`
	Text  string `json:"text"`
	Valid bool   `json:"valid"`
}

func nameVectors() []nameVector {
	long := strings.Repeat("a", 32)
	var out []nameVector
	add := func(form string, valid bool, texts ...string) {
		for _, text := range texts {
			out = append(out, nameVector{form, text, valid})
		}
	}
	add("state", true, "mx", "zz", "x-rss", "x-a-1", "x-"+long)
	add("state", false, "", "m", "MX", "mex", "m1", "x-", "x--a", "x-a-", "x-a--b", "x-"+long+"a", "mx ", "mx\n", "mé", "hub")
	add("authority", true, "mx/fgr", "x-rss/ops", "mx/a", "mx/1", "mx/"+long, "mx/node-1")
	add("authority", false, "", "mx", "mx/", "/fgr", "mx/node", "mx/fgr/x", "mx//fgr", "MX/fgr", "mx/FGR", "mx/-a", "mx/a-", "mx/a--b", "mx/a_b", "mx/a.b", "mx/"+long+"a", "mx/..", "mx/fgr ")
	add("node", true, "mx/node/primary", "x-rss/node/a", "mx/node/node")
	add("node", false, "", "mx/node", "mx/node/", "mx/nodes/a", "mx/node/a/b", "mx/node/A", "/node/a", "mex/node/a", "mx/node/..")
	add("category", true, "drugs", "drugs.trafficking", "drugs.new-substances", "ab.cd", strings.Repeat("a", 24)+"."+strings.Repeat("b", 24))
	add("category", false, "", "a", "drugs.", ".trafficking", "drugs.a", "drugs.x.y", "Drugs", "drugs.*", "drugs.>", "dr ugs", strings.Repeat("a", 25), "ab."+strings.Repeat("b", 25))
	add("request-kind", true, "identify-person", "other", "a")
	add("request-kind", false, "", "Identify", "identify_person", "identify person", long+"a")
	add("lane", true, "immediate", "urgent", "routine", "bulk")
	add("lane", false, "", "IMMEDIATE", "slow")
	add("language", true, "es", "en", "pt", "fr", "ht")
	add("language", false, "", "ES", "spa", "e1")
	return out
}

// PROTOCOL 2.1, 2.2, 2.3, 2.4, 2.5, 2.8.
func TestVectorNames(t *testing.T) {
	vectors := nameVectors()
	for _, v := range vectors {
		got, err := forms()[v.Form](v.Text)
		if v.Valid && (err != nil || got != v.Text) {
			t.Errorf("%s %q = %q, %v; want it read", v.Form, v.Text, got, err)
		}
		if !v.Valid && (fault.CodeOf(err) != "malformed-name" || !fault.Is(err, fault.Invalid) || got != "") {
			t.Errorf("%s %q = %q, %v; want malformed-name and no value", v.Form, v.Text, got, err)
		}
	}
	vectortest.Check(t, "names", "names that are read, and texts that are not", []string{"2.1", "2.2", "2.3", "2.4", "2.5", "2.8"}, vectors)
}

// What is refused may be hostile or personal: the error does not say it again.
func TestRefusalsDoNotRepeatTheInput(t *testing.T) {
	const input = "PLANTED marker/../"
	for form, parse := range forms() {
		if _, err := parse(input); err == nil || strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestParts(t *testing.T) {
	name, node := mustName(t, "x-rss/ops"), mustNode(t, "x-rss/node/second")
	if name.State().String() != "x-rss" || name.Slug() != "ops" {
		t.Errorf("authority %v has state %v and slug %q", name, name.State(), name.Slug())
	}
	if node.State().String() != "x-rss" || node.Slug() != "second" || node.State() != name.State() {
		t.Errorf("node %v has state %v and slug %q", node, node.State(), node.Slug())
	}
	if !(Name{}).IsZero() || !(Node{}).IsZero() || !(State{}).IsZero() || !(Category{}).IsZero() || name.IsZero() || node.IsZero() {
		t.Error("zero values are not told from names")
	}
}

// PROTOCOL 2.5.
func TestCovers(t *testing.T) {
	for _, test := range []struct {
		has, wants string
		covers     bool
	}{
		{"drugs", "drugs.trafficking", true},
		{"drugs", "drugs", true},
		{"drugs.trafficking", "drugs.trafficking", true},
		{"drugs.trafficking", "drugs", false},
		{"drugs.trafficking", "drugs.precursors", false},
		{"drug", "drugs.trafficking", false},
		{"drugs", "firearms.trafficking", false},
	} {
		has, wants := mustCategory(t, test.has), mustCategory(t, test.wants)
		if got := has.Covers(wants); got != test.covers {
			t.Errorf("%s covers %s = %v, want %v", has, wants, got, test.covers)
		}
	}
	if (Category{}).Covers(mustCategory(t, "drugs")) {
		t.Error("no category covers a category")
	}
	if got := mustCategory(t, "drugs.trafficking").Group().String(); got != "drugs" {
		t.Errorf("group = %s", got)
	}
}

// FuzzNames: what is read is read as it is, no text has two forms of name, and nothing is long.
func FuzzNames(f *testing.F) {
	for _, v := range nameVectors() {
		f.Add(v.Text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		who := 0
		for form, parse := range forms() {
			got, err := parse(s)
			if err != nil {
				continue
			}
			if got != s || len(s) > 80 || strings.ContainsAny(s, " \t\r\n*>%\\") {
				t.Errorf("%s reads %q as %q", form, s, got)
			}
			if form == "authority" || form == "node" || form == "state" {
				who++
			}
		}
		if who > 1 {
			t.Errorf("%q is more than one of state, authority and node", s)
		}
	})
}

func mustName(t testing.TB, s string) Name {
	t.Helper()
	n, err := ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustNode(t testing.TB, s string) Node {
	t.Helper()
	n, err := ParseNode(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustCategory(t testing.TB, s string) Category {
	t.Helper()
	c, err := ParseCategory(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
