package directory

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func categoryOf(s string) authority.Category {
	v, err := authority.ParseCategory(s)
	if err != nil {
		panic(err)
	}
	return v
}

func statesOf(names ...string) []authority.State {
	var all []authority.State
	for _, n := range names {
		all = append(all, stateOf(n))
	}
	return all
}

func listed(members []Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.Authority.String()+" "+m.Node.String())
	}
	return strings.Join(all, ", ")
}

// amend states an authority anew.
func (w *world) amend(name string, change func(*formatv1.DeclareAuthority)) {
	w.t.Helper()
	n := nameOf(name)
	body := authorityBody(name, n.State().String()+"/node/primary")
	if _, known := w.s.Last(OfAuthority(n)); known {
		body.Keys = nil
	}
	change(body)
	payload, err := w.draft().DeclareAuthority(n, body)
	w.do(payload, err, stateKeys(n.State().String())+designated)
}

// members is the audience, or the code of the error.
func (w *world) members(category string, rule Rule, states ...string) string {
	w.t.Helper()
	members, err := w.view().Audience(categoryOf(category), rule, statesOf(states...))
	if err != nil {
		return code(err)
	}
	return listed(members)
}

// PROTOCOL 7.2.
func TestAudience(t *testing.T) {
	w := populated(t)
	w.admit("x-rss")
	w.admit("x-rss-b")
	for _, s := range []string{"x-rss", "x-rss-b"} {
		w.declareNode(s + "/node/primary")
		w.amend(s+"/desk", func(b *formatv1.DeclareAuthority) {
			b.NationalPointOfContact, b.Competences = true, []*formatv1.Competence{{Function: "alerts-in"}}
		})
	}
	w.amend("mx/uif", func(b *formatv1.DeclareAuthority) {
		b.Hidden, b.Competences = true, []*formatv1.Competence{
			{Function: "requests"}, {Function: "alerts-in", Categories: []string{"finance.laundering", "drugs.precursors"}}}
	})
	const (
		jm, mx, uif = "jm/fgr jm/node/primary", "mx/fgr mx/node/primary", "mx/uif mx/node/primary"
		// '-' comes before '/': in order of name, not state by state.
		npc = "x-rss-b/desk x-rss-b/node/primary, x-rss/desk x-rss/node/primary"
	)
	tests := []struct {
		category string
		rule     Rule
		states   []string
		want     string
	}{
		{"drugs.trafficking", ByCategory, nil, jm + ", " + mx + ", " + npc},
		{"drugs.precursors", ByCategory, nil, jm + ", " + mx + ", " + uif + ", " + npc},
		{"drugs", ByCategory, nil, jm + ", " + mx + ", " + npc},
		{"finance.laundering", ByCategory, nil, uif + ", " + npc},
		{"finance.bribery", ByCategory, nil, npc},
		{"finance", ByCategory, nil, npc},
		{"persons.trafficking", ByCategory, nil, npc},
		{"persons.trafficking", ByCategory, []string{"mx"}, "empty-audience"},
		{"drugs.trafficking", ByCategory, []string{"mx"}, mx},
		{"drugs.trafficking", ByCategory, []string{"x-rss", "jm"}, jm + ", x-rss/desk x-rss/node/primary"},
		{"finance.laundering", ByCategory, []string{"jm", "mx"}, uif},
		{"drugs.trafficking", ByCategory, []string{"br", "mx"}, "unknown-state"},
		{"drugs.trafficking", AllNPC, nil, npc},
		{"drugs.trafficking", AllNPC, []string{"x-rss"}, "x-rss/desk x-rss/node/primary"},
		{"drugs.trafficking", AllNPC, []string{"mx"}, "empty-audience"},
		{"drugs.trafficking", "everybody", nil, "audience"},
	}
	for range 2 { // the second time from what is kept
		for _, test := range tests {
			if got := w.members(test.category, test.rule, test.states...); got != test.want {
				t.Errorf("%s %s %v: %s, want %s", test.category, test.rule, test.states, got, test.want)
			}
		}
	}
	if _, err := w.view().Audience(authority.Category{}, ByCategory, nil); code(err) != "audience" {
		t.Errorf("no category: %v, want audience", err)
	}
	if _, err := w.view().Audience(authority.Category{}, AllNPC, nil); err != nil {
		t.Errorf("all points of contact without category: %v", err)
	}
}

// PROTOCOL 7.2: who is barred is no member, logged or seen, and for as long as it lasts; the digest tells.
func TestAudienceWithout(t *testing.T) {
	const jm, mx = "jm/fgr jm/node/primary", "mx/fgr mx/node/primary"
	ends := map[string]func(d Draft) ([]byte, error){
		"authority retired": func(d Draft) ([]byte, error) { return d.Retire(nameOf("mx/fgr"), "") },
		"node revoked":      func(d Draft) ([]byte, error) { return d.RevokeNode(nodeOf("mx/node/primary"), "") },
		"authority suspended": func(d Draft) ([]byte, error) {
			return d.Suspend(OfAuthority(nameOf("mx/fgr")), d.Created.Add(time.Hour), "")
		},
		"node suspended": func(d Draft) ([]byte, error) {
			return d.Suspend(OfNode(nodeOf("mx/node/primary")), d.Created.Add(time.Hour), "")
		},
		"state suspended": func(d Draft) ([]byte, error) { return d.Suspend(OfState(stateOf("mx")), d.Created.Add(time.Hour), "") },
	}
	for name, end := range ends {
		for _, way := range []string{"logged", "seen"} {
			w := populated(t)
			before, err := w.view().Audience(categoryOf("drugs.trafficking"), ByCategory, nil)
			if err != nil || listed(before) != jm+", "+mx {
				t.Fatalf("before: %s, %v", listed(before), err)
			}
			payload, err := end(w.draft())
			if way == "seen" {
				w.see(payload, err, byMX)
			} else {
				w.do(payload, err, byMX)
			}
			after, err := w.view().Audience(categoryOf("drugs.trafficking"), ByCategory, nil)
			if err != nil || listed(after) != jm || MembersDigest(after) == MembersDigest(before) {
				t.Errorf("%s, %s: %s, %v", name, way, listed(after), err)
			}
			if got := w.members("drugs.trafficking", ByCategory, "jm", "mx"); got != jm {
				t.Errorf("%s, %s, a chosen state without member: %s", name, way, got)
			}
			w.now = w.now.Add(time.Hour)
			want := jm
			if strings.HasSuffix(name, "suspended") {
				want += ", " + mx
			}
			if got := w.members("drugs.trafficking", ByCategory); got != want {
				t.Errorf("%s, %s, an hour later: %s, want %s", name, way, got, want)
			}
		}
	}
}

// PROTOCOL 7.2.
func TestMembersDigest(t *testing.T) {
	members := []Member{{nameOf("jm/jcf"), nodeOf("jm/node/a")}, {nameOf("mx/fgr"), nodeOf("mx/node/b")}}
	want := sha256.Sum256([]byte("enlace/v1/members\njm/jcf jm/node/a\nmx/fgr mx/node/b\n"))
	if got := MembersDigest(members); got != want {
		t.Errorf("digest %s, want %x", got, want)
	}
}

// PROTOCOL 7.3: what a publisher attaches is what changes its audience, and a reader comes to the same.
func TestComputeAttaches(t *testing.T) {
	w := populated(t)
	w.amend("mx/uif", func(b *formatv1.DeclareAuthority) {
		b.Competences = []*formatv1.Competence{{Function: "alerts-in", Categories: []string{"finance"}}}
	})
	base := w.s
	suspend := func(subject Subject, term time.Duration, by string) Statement {
		payload, err := Draft{base, w.now, w.draft().Random}.Suspend(subject, w.now.Add(term), "")
		return w.parse(payload, err, by)
	}
	mx, fgr := OfState(stateOf("mx")), OfAuthority(nameOf("mx/fgr"))
	payload, err := w.draft().RevokeKey(mx, public("mx-3").Fingerprint(), "")
	key := w.parse(payload, err, byMX)
	tests := []struct {
		name     string
		open     []Statement
		category string
		attached int
		want     string
	}{
		{"nothing", nil, "drugs", 0, "jm/fgr mx/fgr"},
		{"another audience's", []Statement{suspend(OfAuthority(nameOf("mx/uif")), time.Hour, byMX)}, "drugs", 0, "jm/fgr mx/fgr"},
		{"one", []Statement{suspend(fgr, time.Hour, byMX)}, "drugs", 1, "jm/fgr"},
		{"one subject twice", []Statement{suspend(fgr, time.Hour, byMX), suspend(fgr, 2*time.Hour, stewards)}, "drugs", 1, "jm/fgr"},
		{"over", []Statement{suspend(fgr, time.Second, byMX)}, "drugs", 0, "jm/fgr mx/fgr"},
		{"a key", []Statement{key}, "drugs", 0, "jm/fgr mx/fgr"},
		{"of strangers", []Statement{suspend(fgr, time.Hour, "state:jm-1 state:jm-2")}, "drugs", 0, "jm/fgr mx/fgr"},
		{"nobody left", []Statement{suspend(mx, time.Hour, byMX)}, "finance", 0, "empty-audience"},
	}
	for _, test := range tests {
		at := w.now.Add(time.Minute)
		a, err := Compute(base, test.open, at, categoryOf(test.category), ByCategory, nil)
		if got := names(a.Members) + code(err); got != test.want || (err == nil && len(a.Restrictions) != test.attached) {
			t.Errorf("%s: %s with %d attached, want %s with %d", test.name, got, len(a.Restrictions), test.want, test.attached)
		}
		if err != nil {
			continue
		}
		if a.Position != base.Position() || !a.Time.Equal(at) {
			t.Errorf("%s: computed at %d, %s", test.name, a.Position, a.Time)
		}
		members, err := Recompute(base, a.Restrictions, a.Time, categoryOf(test.category), ByCategory, nil)
		if err != nil || MembersDigest(members) != MembersDigest(a.Members) {
			t.Errorf("%s: recomputed %s, %v", test.name, names(members), err)
		}
	}
}

func names(members []Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.Authority.String())
	}
	return strings.Join(all, " ")
}

// PROTOCOL 7.3: what does not hold is refused, what adds nothing is not.
func TestRecompute(t *testing.T) {
	w := populated(t)
	base := w.s
	payload, err := w.draft().Retire(nameOf("mx/fgr"), "")
	retired := w.parse(payload, err, byMX)
	forged := signed(payload, "state:jm-1 state:jm-2")
	unsigned := signed(payload, "")
	payload, err = w.draft().RevokeKey(OfState(stateOf("mx")), public("mx-2").Fingerprint(), "")
	key := w.parse(payload, err, "state:mx-1 state:mx-3")
	later, err := Draft{base.Skip(), w.now, w.draft().Random}.Retire(nameOf("mx/fgr"), "")
	if err != nil {
		t.Fatal(err)
	}
	spoiled := bytes.Clone(retired.Signed())
	spoiled[len(spoiled)-1] ^= 1
	with, err := Apply(base, retired)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		base     *Snapshot
		attached [][]byte
		want     string
	}{
		{"one", base, [][]byte{retired.Signed()}, "jm/fgr"},
		{"twice", base, [][]byte{retired.Signed(), retired.Signed()}, "jm/fgr"},
		{"logged already", with, [][]byte{retired.Signed()}, "jm/fgr"},
		{"after its signer's key was revoked", base, [][]byte{key.Signed(), retired.Signed()}, "jm/fgr"},
		{"a key alone", base, [][]byte{key.Signed()}, "jm/fgr mx/fgr"},
		{"as many as may be", base, slices.Repeat([][]byte{key.Signed()}, MaxRestrictions), "jm/fgr mx/fgr"},
		{"one more", base, slices.Repeat([][]byte{key.Signed()}, MaxRestrictions+1), "too-many"},
		{"of strangers", base, [][]byte{forged}, "wrong-restriction"},
		{"of nobody", base, [][]byte{unsigned}, "wrong-restriction"},
		{"spoiled", base, [][]byte{spoiled}, "wrong-restriction"},
		{"from beyond the position", base, [][]byte{signed(later, byMX)}, "wrong-restriction"},
		{"an enabling one", base, [][]byte{w.log[1]}, "wrong-restriction"},
		{"no statement", base, [][]byte{nil}, "wrong-restriction"},
	}
	for _, test := range tests {
		members, err := Recompute(test.base, test.attached, w.now, categoryOf("drugs"), ByCategory, nil)
		if got := names(members) + code(err); got != test.want {
			t.Errorf("%s: %s (%v), want %s", test.name, got, err, test.want)
		}
	}
}

// A state that suspends very many of its own on sight keeps itself out of audiences, and nobody else. PROTOCOL 7.3.
func TestComputeBound(t *testing.T) {
	w := populated(t)
	var open []Statement
	for i := range MaxRestrictions + 1 {
		name := fmt.Sprintf("mx/a%d", i)
		w.declareAuthority(name, "mx/node/primary")
	}
	for i := range MaxRestrictions + 1 {
		payload, err := w.draft().Suspend(OfAuthority(nameOf(fmt.Sprintf("mx/a%d", i))), w.now.Add(time.Hour), "")
		open = append(open, w.parse(payload, err, byMX))
	}
	compute := func(open []Statement, states ...string) (Audience, error) {
		return Compute(w.s, open, w.now, categoryOf("drugs"), ByCategory, statesOf(states...))
	}
	if a, err := compute(open[1:]); err != nil || len(a.Restrictions) != MaxRestrictions {
		t.Errorf("%d attached, %v; want %d", len(a.Restrictions), err, MaxRestrictions)
	}
	if _, err := compute(open); code(err) != "too-many" {
		t.Errorf("one more: %v, want too-many", err)
	}
	if a, err := compute(open, "jm"); err != nil || names(a.Members) != "jm/fgr" {
		t.Errorf("without that state: %s, %v", names(a.Members), err)
	}
	payload, err := w.draft().RevokeNode(nodeOf("mx/node/primary"), "")
	if a, err := compute(append(open[2:], w.parse(payload, err, byMX))); err != nil || names(a.Members) != "jm/fgr" {
		t.Errorf("with its node revoked: %s, %v", names(a.Members), err)
	}
}

// plain is the audience by the questions that anyone may ask of a view, with nothing kept.
func plain(v View, category authority.Category, rule Rule, states []authority.State) []Member {
	var all []Member
	for _, e := range v.Authorities() {
		covers := slices.ContainsFunc(e.Competences, func(c Competence) bool {
			return c.Function == "alerts-in" && (len(c.Categories) == 0 ||
				slices.ContainsFunc(c.Categories, func(has authority.Category) bool { return has.Covers(category) }))
		})
		switch {
		case rule == AllNPC && !e.NationalPointOfContact, rule == ByCategory && !covers:
		case len(states) > 0 && !slices.Contains(states, e.Name.State()):
		case v.CheckState(e.Name.State()) != nil, v.CheckAuthority(e.Name) != nil, v.CheckNode(e.Node) != nil:
		default:
			all = append(all, Member{e.Name, e.Node})
		}
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Authority.String(), b.Authority.String()) })
	return all
}

// claim is an audience that a publisher put its name to.
type claim struct {
	Audience
	category authority.Category
	rule     Rule
	states   []authority.State
}

// publisher is a node that reads the log and sees restrictions before they are in it.
type publisher struct {
	history History
	open    []Statement
	current *Snapshot // with what was seen, as a node has it in force
}

func (p *publisher) see(st Statement) {
	if next, err := Restrict(p.current, st); err == nil && next != p.current {
		p.current, p.open = next, append(p.open, st)
	}
}

// read takes a log entry, then does what a restart would do.
func (p *publisher) read(next *Snapshot) {
	p.history.Add(next)
	open := p.open
	p.current, p.open = next, nil
	for _, st := range open {
		p.see(st)
	}
}

// PROTOCOL 7.2, 7.3. Whatever is handed in, in any order, on sight or from the log: what a publisher computes is the
// audience in force at its node, and who follows the same log comes to the same members, later too.
func TestRecomputeAgrees(t *testing.T) {
	w := founded(t)
	for _, s := range []string{"mx", "jm"} {
		w.admit(s)
		w.declareWitness(s + "/node/n0")
		w.declareAuthority(s+"/a0", s+"/node/n0")
	}
	attached, agreed := 0, 0
	story := func(t *rapid.T) {
		p := &publisher{}
		p.read(w.s)
		drafts := []*Snapshot{w.s}
		log := slices.Clone(w.log)
		var history [][]byte
		var claims []claim
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			b := handIn(t, drafts, history, i)
			history = append(history, b)
			st, err := ParseStatement(b)
			if err == nil && st.Restricting() && rapid.IntRange(0, 3).Draw(t, "on sight") > 0 {
				p.see(st)
			} else {
				next, err := Follow(p.history.Newest(), b)
				if code(err) == codeNewerRules {
					break // here every reader halts
				}
				if err != nil {
					next = p.history.Newest().Skip()
				}
				p.read(next)
				log, drafts = append(log, b), append(drafts, next)
			}
			claims = append(claims, p.claim(t)...)
		}
		var reader History
		if err := reader.Fold(entries(log), nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range claims {
			base, ok := reader.At(c.Position)
			if !ok {
				t.Fatalf("position %d of %d is not known any more", c.Position, len(log))
			}
			members, err := Recompute(base, c.Restrictions, c.Time, c.category, c.rule, c.states)
			if err != nil || MembersDigest(members) != MembersDigest(c.Members) {
				t.Fatalf("recomputed %s, %v; want %s", listed(members), err, listed(c.Members))
			}
			agreed++
			attached += len(c.Restrictions)
		}
	}
	enough := func() bool { return agreed >= 100 && attached >= 20 }
	for range 8 { // a hundred stories may, by chance, have few restrictions
		if rapid.Check(t, story); enough() {
			break
		}
	}
	if !enough() {
		t.Errorf("%d audiences with %d restrictions: the test proves little", agreed, attached)
	}
}

// claim computes one audience, unless it is empty, and holds it against the directory in force.
func (p *publisher) claim(t *rapid.T) []claim {
	c := claim{category: categoryOf("drugs.trafficking"), rule: rapid.SampledFrom([]Rule{ByCategory, AllNPC}).Draw(t, "rule")}
	if rapid.Bool().Draw(t, "chosen") {
		c.states = statesOf("mx")
	}
	at := start.Add(time.Duration(rapid.IntRange(0, 62*24).Draw(t, "hours")) * time.Hour)
	var err error
	c.Audience, err = Compute(p.history.Newest(), p.open, at, c.category, c.rule, c.states)
	want := plain(p.current.At(at), c.category, c.rule, c.states)
	if len(want) == 0 {
		if code(err) != "empty-audience" {
			t.Fatalf("nobody is left: %s, %v", listed(c.Members), err)
		}
		return nil
	}
	if err != nil || !slices.Equal(c.Members, want) {
		t.Fatalf("computed %s, %v; in force %s", listed(c.Members), err, listed(want))
	}
	return []claim{c}
}

// The answer for each alert published and each grant received, with 10,000 authorities.
func BenchmarkAudience(b *testing.B) {
	s, err := Fold(nil, entries(large()), nil)
	if err != nil {
		b.Fatal(err)
	}
	drugs := categoryOf("drugs.trafficking")
	w := &world{t: b, s: s, now: start}
	payload, err := w.draft().Suspend(OfState(stateOf("x-s3")), w.now.Add(time.Hour), "")
	st := w.parse(payload, err, stewards)
	members, err := s.At(start).Audience(drugs, ByCategory, nil)
	if err != nil || len(members) != 10_000 {
		b.Fatal(len(members), err)
	}
	some := statesOf("x-s1", "x-s2", "x-s30")
	for name, run := range map[string]func() error{
		"warm":       func() error { _, err := s.At(start).Audience(drugs, ByCategory, nil); return err },
		"of states":  func() error { _, err := s.At(start).Audience(drugs, ByCategory, some); return err },
		"restricted": func() error { _, err := Recompute(s, [][]byte{st.Signed()}, start, drugs, ByCategory, nil); return err },
		"declared": func() error {
			next := *s
			next.roll = &roll{}
			_, err := next.At(start).Audience(drugs, ByCategory, nil)
			return err
		},
		"digest": func() error { MembersDigest(members); return nil },
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				if err := run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
