package torture

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// good is a history and what officers see of it, with no promise broken: a request with a file, its answer, and an alert.
func good() ([]Said, Seen) {
	file := File{"file-0.bin", 5, "f00d"}
	said := []Said{
		{ID: "m1", Case: "c1", Kind: "REQUEST", From: "mx", To: "jm", Content: "asked", Files: []File{file}, Acknowledged: true},
		{ID: "m2", Case: "c1", Kind: "REPLY_FINAL", From: "jm", To: "mx", Content: "told", Acknowledged: true},
		{ID: "a1", Case: "c2", Kind: "ALERT", From: "mx", Content: "beware", Acknowledged: true},
		{Case: "c1", Kind: "CLOSE", From: "mx", To: "jm", Content: "thanks"},
	}
	complete := []Receipt{{"COMPLETE", true}}
	sent := Step{ID: "m1", Kind: "REQUEST", From: "mx", Digest: "d1", Content: "asked", Delivery: "COMPLETE", Receipts: complete}
	told := Step{ID: "m2", Kind: "REPLY_FINAL", From: "jm", Digest: "d2", Content: "told", Delivery: "COMPLETE", Receipts: complete}
	bare := func(s Step) Step { s.Delivery, s.Receipts = "", nil; return s }
	alert := Step{ID: "a1", Kind: "ALERT", From: "mx", Digest: "d3"}
	return said, Seen{
		Views: map[string]View{
			"mx": {
				"c1": {ID: "c1", Status: "ANSWERED", Listed: 1, Steps: []Step{sent, bare(told)}, Files: []Shown{{Message: "m1", File: file, Read: "f00d", Complete: true}}},
				"c2": {ID: "c2", Status: "ISSUED", Listed: 1, Content: "beware", Steps: []Step{alert}, Holders: map[string]string{"jm": "RECEIVED", "br": "RECEIVED"}},
			},
			"jm": {
				"c1": {ID: "c1", Status: "ANSWERED", Listed: 1, Steps: []Step{bare(sent), told}, Files: []Shown{{Message: "m1", File: file, Read: "f00d", Complete: true}}},
				"c2": {ID: "c2", Status: "ISSUED", Listed: 1, Content: "beware", Steps: []Step{alert}},
			},
			"br": {"c2": {ID: "c2", Status: "ISSUED", Listed: 1, Content: "beware", Steps: []Step{alert}}},
		},
		Expired: func(string) bool { return false }, MayBeLost: func(Said) bool { return false },
	}
}

// TestCheck breaks each rule in turn.
func TestCheck(t *testing.T) {
	type change struct {
		name, want string
		break_     func(views map[string]View, seen *Seen)
	}
	step := func(state, id string, i int, f func(*Step)) func(map[string]View, *Seen) {
		return func(v map[string]View, _ *Seen) {
			c := v[state][id]
			c.Steps = slices.Clone(c.Steps)
			f(&c.Steps[i])
			v[state][id] = c
		}
	}
	whole := func(state, id string, f func(*Case)) func(map[string]View, *Seen) {
		return func(v map[string]View, _ *Seen) {
			c := v[state][id]
			c.Steps, c.Files, c.Holders = slices.Clone(c.Steps), slices.Clone(c.Files), maps.Clone(c.Holders)
			f(&c)
			v[state][id] = c
		}
	}
	for _, test := range []change{
		{"as it should be", "", func(map[string]View, *Seen) {}},
		{"gone at its sender", "lost at mx: m1", func(v map[string]View, _ *Seen) { delete(v["mx"], "c1") }},
		{"gone with its machine, and not returned", "unreturned at mx: m1", func(v map[string]View, s *Seen) {
			s.MayBeLost = func(s Said) bool { return s.ID == "m1" }
			delete(v["mx"], "c1")
		}},
		{"gone at its receiver", "receipt at mx: m1", func(v map[string]View, _ *Seen) { delete(v["jm"], "c1") }},
		{"twice in the list", "twice at jm: c1", whole("jm", "c1", func(c *Case) { c.Listed = 2 })},
		{"twice at its receiver", "twice at jm: m1", whole("jm", "c1", func(c *Case) { c.Steps = append(c.Steps, c.Steps[0]) })},
		{"nobody wrote it", "unasked at jm: m9", whole("jm", "c1", func(c *Case) { c.Steps = append(c.Steps, Step{ID: "m9", Kind: "CLOSE", From: "mx", Content: "x"}) })},
		{"in doubt, and there", "", func(v map[string]View, s *Seen) {
			for _, state := range []string{"mx", "jm"} {
				whole(state, "c1", func(c *Case) {
					c.Status = "CLOSED"
					st := Step{ID: "m9", Kind: "CLOSE", From: "mx", Content: "thanks", Digest: "d9"}
					if state == "mx" {
						st.Delivery, st.Receipts = "COMPLETE", []Receipt{{"COMPLETE", true}}
					}
					c.Steps = append(c.Steps, st)
				})(v, s)
			}
		}},
		{"other content at its sender", "changed at mx: m1", step("mx", "c1", 0, func(s *Step) { s.Content = "other" })},
		{"other content at its receiver", "changed at jm: m1", step("jm", "c1", 0, func(s *Step) { s.Content = "other" })},
		{"another envelope", "changed at mx: m1", step("jm", "c1", 0, func(s *Step) { s.Digest = "d9" })},
		{"from another", "changed at jm: m2", step("jm", "c1", 1, func(s *Step) { s.From = "br" })},
		{"still under way", "pending at mx: m1", step("mx", "c1", 0, func(s *Step) { s.Delivery = "QUEUED" })},
		{"given up too early", "undeliverable at mx: m1", step("mx", "c1", 0, func(s *Step) { s.Delivery = "UNDELIVERABLE" })},
		{"given up, and there", "undeliverable at mx: m1", func(v map[string]View, s *Seen) {
			s.Expired = func(string) bool { return true }
			step("mx", "c1", 0, func(s *Step) { s.Delivery = "UNDELIVERABLE" })(v, s)
		}},
		{"given up in time", "", func(v map[string]View, s *Seen) {
			s.Expired = func(string) bool { return true }
			whole("mx", "c1", func(c *Case) { c.Status, c.Steps = "UNDELIVERABLE", c.Steps[:1]; c.Steps[0].Delivery = "UNDELIVERABLE" })(v, s)
			delete(v["jm"], "c1")
			s.MayBeLost = func(s Said) bool { return s.ID == "m2" } // it answers what never came
		}},
		{"rejected", "rejected at mx: m1", step("mx", "c1", 0, func(s *Step) { s.Delivery = "REJECTED" })},
		{"no receipt", "receipt at mx: m1", step("mx", "c1", 0, func(s *Step) { s.Receipts = nil })},
		{"a receipt that does not verify", "receipt at mx: m1", step("mx", "c1", 0, func(s *Step) { s.Receipts = []Receipt{{"COMPLETE", false}} })},
		{"file not whole", "file at mx: m1", whole("jm", "c1", func(c *Case) { c.Files[0].Complete = false })},
		{"file missing", "file at mx: m1", whole("jm", "c1", func(c *Case) { c.Files = nil })},
		{"file with other bytes", "file at mx: m1", whole("jm", "c1", func(c *Case) { c.Files[0].Read = "beef" })},
		{"file said to be another", "file at mx: m1", whole("jm", "c1", func(c *Case) { c.Files[0].Digest = "beef" })},
		{"file not given", "file at mx: m1", whole("jm", "c1", func(c *Case) { c.Files[0].Read, c.Files[0].Refused = "", "it is damaged" })},
		{"damaged file not given", "", func(v map[string]View, s *Seen) {
			s.Damaged = map[string]bool{"jm": true}
			whole("jm", "c1", func(c *Case) { c.Files[0].Read, c.Files[0].Refused = "", "it is damaged" })(v, s)
		}},
		{"two ends, two states", "disagree at jm: c1", whole("jm", "c1", func(c *Case) { c.Status = "ACKNOWLEDGED" })},
		{"alert missing", "undelivered at br: a1", func(v map[string]View, _ *Seen) { delete(v["br"], "c2") }},
		{"alert confirmed and missing", "receipt at mx: a1", func(v map[string]View, _ *Seen) { delete(v["br"], "c2") }},
		{"alert not confirmed", "pending at mx: a1", whole("mx", "c2", func(c *Case) { c.Holders["br"] = "PENDING" })},
		{"alert is another", "changed at br: a1", step("br", "c2", 0, func(s *Step) { s.Digest = "d9" })},
		{"alert says other things", "disagree at br: c2", whole("br", "c2", func(c *Case) { c.Content = "relax" })},
		{"alert in another state", "disagree at br: c2", whole("br", "c2", func(c *Case) { c.Status = "CANCELLED" })},
	} {
		t.Run(test.name, func(t *testing.T) {
			said, seen := good()
			test.break_(seen.Views, &seen)
			checkFound(t, Check(said, seen), test.want)
		})
	}
}

func checkFound(t *testing.T, found []Violation, want string) {
	t.Helper()
	if want == "" && len(found) > 0 {
		t.Errorf("found %v where nothing is wrong", found)
	}
	if want != "" && !slices.ContainsFunc(found, func(v Violation) bool { return strings.HasPrefix(v.String(), want) }) {
		t.Errorf("found %v, want %q", found, want)
	}
}

// TestBackwards: what is seen later may be further on, never less far.
func TestBackwards(t *testing.T) {
	for _, test := range []struct {
		seen []string
		want string
	}{
		{[]string{"PENDING_APPROVAL", "QUEUED", "UNDELIVERABLE", "DELIVERED", "ACKNOWLEDGED", "ANSWERED", "CLOSED"}, ""},
		{[]string{"ISSUED", "UPDATED", "UPDATED", "CANCELLED"}, ""},
		{[]string{"QUEUED", "DELIVERED", "COMPLETE"}, ""},
		{[]string{"ACKNOWLEDGED", "DELIVERED", "ANSWERED"}, "backwards at mx: c1"},
		{[]string{"COMPLETE", "DELIVERED"}, "backwards at mx: c1"},
		{[]string{"CANCELLED", "UPDATED"}, "backwards at mx: c1"},
	} {
		h := NewHistory()
		for i, status := range test.seen {
			h.Status(time.Duration(i), "mx", "c1", status)
			h.Status(time.Duration(i), "jm", "c1", "QUEUED")
		}
		checkFound(t, h.Backwards(), test.want)
	}
}

// TestCheckEvidence breaks each rule about the logs in turn.
func TestCheckEvidence(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(logs map[string]Evidence)
	}{
		{"as it should be", "", func(map[string]Evidence) {}},
		{"does not verify", "evidence at jm", func(l map[string]Evidence) { e := l["jm"]; e.Broken = "event 3 is missing"; l["jm"] = e }},
		{"checkpoint gone", "evidence at mx", func(l map[string]Evidence) { delete(l["mx"].Roots, "r1") }},
		{"log shorter than seen", "evidence at mx", func(l map[string]Evidence) { e := l["mx"]; e.Size = 9; l["mx"] = e }},
		{"receipt that nobody issued", "receipt at mx: m1", func(l map[string]Evidence) { delete(l["jm"].Issued, "x1") }},
		{"twice on record", "evidence at jm: received m1", func(l map[string]Evidence) { l["jm"].Recorded["received m1"] = 2 }},
		{"not on record at its sender", "evidence at mx: m1", func(l map[string]Evidence) { delete(l["mx"].Recorded, "submitted m1") }},
		{"not on record at its receiver", "evidence at jm: m1", func(l map[string]Evidence) { delete(l["jm"].Recorded, "received m1") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := NewHistory()
			h.Say(Said{ID: "m1", Case: "c1", Kind: "REQUEST", From: "mx", To: "jm", Acknowledged: true})
			h.Root(SeenRoot{"mx", 10, "r1"})
			h.Root(SeenRoot{"mx", 2, zeroRoot})
			logs := map[string]Evidence{
				"mx": {State: "mx", Size: 12, Roots: map[string]uint64{"r1": 8, "r2": 11}, Recorded: map[string]int{"submitted m1": 1, "receipted m1": 1}, Held: map[string]string{"x1": "m1"}},
				"jm": {State: "jm", Size: 5, Recorded: map[string]int{"received m1": 1}, Issued: map[string]string{"x1": "m1"}},
			}
			test.change(logs)
			checkFound(t, CheckEvidence(h, logs, nil), test.want)
		})
	}
}

// TestPlan: a seed says it all, and three minutes meet every kind.
func TestPlan(t *testing.T) {
	a, b := Plan(7, 7, states()), Plan(7, 7, states())
	if !slices.Equal(a, b) {
		t.Error("one seed gave two plans")
	}
	if slices.Equal(a, Plan(8, 7, states())) {
		t.Error("two seeds gave one plan")
	}
	met := byKind(a)
	for _, s := range shares() {
		if met[s.kind] == 0 {
			t.Errorf("seven rounds bring no %s", s.kind)
		}
	}
	for _, f := range favour(a, []string{faultWipe}, states(), 7) {
		if f.Kind == faultWipe && f.Machine != hubName {
			t.Errorf("%v befalls a machine without a bus", f)
		}
	}
}

// TestShrink: of all faults those are left without which nothing fails.
func TestShrink(t *testing.T) {
	plan := Plan(3, 4, states())
	needed := []Fault{plan[5], plan[21]}
	fails := func(p []Fault) bool {
		return !slices.ContainsFunc(needed, func(f Fault) bool { return !slices.Contains(p, f) })
	}
	got, runs := Shrink(plan, fails, func() bool { return false })
	if !slices.Equal(got, needed) {
		t.Errorf("left\n%swant\n%s", lines(got), lines(needed))
	}
	if runs > 60 {
		t.Errorf("it took %d runs", runs)
	}
	if same, _ := Shrink(plan, fails, func() bool { return true }); !slices.Equal(same, plan) {
		t.Error("without time the plan is left as it is")
	}
}
