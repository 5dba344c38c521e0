package operator

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// realm makes a directory of several states by real statements.
type realm struct {
	t  testing.TB
	s  *directory.Snapshot
	ca []byte
}

func newRealm(t testing.TB) *realm {
	_, ca := identity(t, "localhost")
	return &realm{t, snapshot(t), ca.Raw}
}

func (r *realm) draft() directory.Draft {
	return directory.Draft{Snapshot: r.s, Created: time.Now().Add(-time.Hour), Random: rand.Reader}
}

func (r *realm) say(payload []byte, err error, signers string) {
	r.t.Helper()
	r.s = apply(r.t, r.s, payload, err, signers)
}

// admit takes in a state with one node, its key named after it.
func (r *realm) admit(code string) {
	r.t.Helper()
	payload, err := r.draft().AdmitState(state(code), &formatv1.AdmitState{
		Keys:      []*formatv1.Key{directory.DeclareKey(directory.PurposeState, public(code), time.Time{})},
		Threshold: 1, CaCertificates: [][]byte{r.ca}, NoteVerbale: "NV " + code,
	})
	r.say(payload, err, "steward:s-1 steward:s-2 state:"+code)
	home := node(code + "/node/primary")
	payload, err = r.draft().DeclareNode(home, &formatv1.DeclareNode{
		Keys: []*formatv1.Key{directory.DeclareKey(directory.PurposeSign, public(home.String()), time.Time{}), sealKey(r.t)}, Versions: []uint32{1}, NoteVerbale: "NV",
	})
	r.say(payload, err, r.designating(code))
}

func (r *realm) designating(code string) string {
	if code == "mx" {
		return "state:mx-1 state:mx-2 verify:s-1 countersign:s-2"
	}
	return "state:" + code + " verify:s-1 countersign:s-2"
}

// declare adds an authority, whose body says what else there is.
func (r *realm) declare(who string, body *formatv1.DeclareAuthority) {
	r.t.Helper()
	n := name(who)
	if len(body.GetNames()) == 0 {
		body.Names = []*formatv1.Text{{Language: "en", Value: "Authority " + who}}
	}
	if body.GetType() == "" {
		body.Type = "police"
	}
	body.Node, body.NoteVerbale = n.State().String()+"/node/primary", "NV 9/2026"
	body.Keys = []*formatv1.Key{directory.DeclareKey(directory.PurposeSign, public(who), time.Time{}), sealKey(r.t)}
	payload, err := r.draft().DeclareAuthority(n, body)
	r.say(payload, err, r.designating(n.State().String()))
}

func state(s string) authority.State {
	out, err := authority.ParseState(s)
	if err != nil {
		panic(err)
	}
	return out
}

func requests(categories ...string) []*formatv1.Competence {
	return []*formatv1.Competence{{Function: "requests", Categories: categories}}
}

// caribbean is mx with jm, which has a desk, a hidden authority and a contact point, and bb, which has designated none.
func caribbean(t testing.TB) *realm {
	r := newRealm(t)
	r.admit("jm")
	r.admit("bb")
	r.declare("jm/jcf", &formatv1.DeclareAuthority{
		Competences: requests("drugs"), Languages: []string{"en"}, Website: "https://jcf.example", Acronym: "JCF", Parent: "jm/spy",
		Names: []*formatv1.Text{{Language: "en", Value: "Jamaica Constabulary Force"}, {Language: "es", Value: "Policía de Jamaica"}},
		Desks: []*formatv1.Desk{{Slug: "duty", TimeZone: "America/Jamaica", Hours: []string{"mo-fr 08:00-17:00"}, Languages: []string{"en"}, Holidays: []string{"2027-01-01"}}},
		Requirements: []*formatv1.Requirement{
			{Needs: []*formatv1.Text{{Language: "en", Value: "a case number"}}},
			{Kind: "vehicle-registry", Needs: []*formatv1.Text{{Language: "en", Value: "the plate"}, {Language: "es", Value: "la placa"}}, TypicalDays: 3},
		},
	})
	r.declare("jm/npc", &formatv1.DeclareAuthority{Type: "npc", Competences: requests("firearms")})
	r.declare("jm/spy", &formatv1.DeclareAuthority{Hidden: true, Competences: requests("drugs")})
	r.declare("mx/cni", &formatv1.DeclareAuthority{Hidden: true, Competences: requests("drugs")})
	r.declare("bb/rbpf", &formatv1.DeclareAuthority{Competences: requests("firearms")})
	payload, err := r.draft().DesignateContactPoint(name("jm/npc"), "NV 10/2026")
	r.say(payload, err, r.designating("jm"))
	payload, err = r.draft().Notice(name("jm/jcf"), &formatv1.Notice{Availability: "emergency", Start: time.Now().Add(-time.Minute).Unix(), Fallback: "jm/spy", Text: "hurricane"})
	r.say(payload, err, "state:jm")
	payload, err = r.draft().DeclareInstruments(state("jm"), []string{"untoc", "cifta"})
	r.say(payload, err, "state:jm")
	payload, err = r.draft().DeclareInstruments(state("mx"), []string{"untoc", "uncac"})
	r.say(payload, err, "state:mx-1 state:mx-2")
	return r
}

func (r *realm) open() *house {
	return open(r.t, func(c *Config) { c.Directory = mapped{r.s} })
}

func authorities(all []*operatorv1.AuthorityInfo) string {
	var names []string
	for _, a := range all {
		names = append(names, a.GetName())
	}
	return strings.Join(names, " ")
}

func TestWhoDoIAsk(t *testing.T) {
	r := caribbean(t)
	h := r.open()
	ana := h.client(h.login("ana"))
	find := func(in *operatorv1.FindAuthorityRequest) *operatorv1.FindAuthorityResponse {
		t.Helper()
		out, err := ana.Directory.FindAuthority(t.Context(), in)
		h.must(err)
		return out
	}
	out := find(&operatorv1.FindAuthorityRequest{State: "jm", Kind: "vehicle-registry", Category: "drugs.trafficking", Language: "es", Zone: "America/Argentina/Buenos_Aires"})
	if authorities(out.GetAuthorities()) != "jm/jcf" || out.GetCategory().GetTitle() == "drugs.trafficking" {
		t.Fatalf("found %v", out)
	}
	a := out.GetAuthorities()[0]
	if len(a.GetRequirements()) != 1 || a.GetRequirements()[0].GetNeeds() != "la placa" || a.GetRequirements()[0].GetTypicalDays() != 3 {
		t.Errorf("requirements = %v", a.GetRequirements())
	}
	if len(a.GetInstruments()) != 1 || a.GetInstruments()[0].GetCode() != "untoc" || !strings.Contains(a.GetInstruments()[0].GetTitle(), "Naciones Unidas") || a.GetInstrumentsKnown() != "declared" {
		t.Errorf("instruments = %v, %s", a.GetInstruments(), a.GetInstrumentsKnown())
	}
	if n := a.GetNotice(); n.GetAvailability() != "emergency" || n.GetText() != "hurricane" || !n.GetInForce() {
		t.Errorf("notice = %v", n)
	}
	o := a.GetDesks()[0].GetOpening()
	if !slices.Contains([]string{"open", "closed"}, o.GetStatus()) || o.GetChanges() == 0 || o.GetZone() != "America/Argentina/Buenos_Aires" ||
		!strings.HasSuffix(o.GetThere(), "-05:00") || !strings.HasSuffix(o.GetHere(), "-03:00") {
		t.Errorf("opening = %v", o)
	}
	if a.GetNoteVerbale() != "NV 9/2026" || a.GetWebsite() != "https://jcf.example" || a.GetConfirmed() == 0 || a.GetStaleSince() != 0 || a.GetPosition() == 0 {
		t.Errorf("designation = %v", a)
	}
	// What an entry says of a hidden authority of its own state is not repeated to another.
	if text := out.String(); strings.Contains(text, "jm/spy") {
		t.Errorf("the hidden authority is named: %s", text)
	}
	// A kind without requirements of its own has those for all.
	out = find(&operatorv1.FindAuthorityRequest{State: "jm", Kind: "identify-person", Category: "drugs.trafficking"})
	if q := out.GetAuthorities()[0].GetRequirements(); len(q) != 1 || q[0].GetNeeds() != "a case number" {
		t.Errorf("general requirements = %v", q)
	}
}

func TestWhoIsNeverADeadEnd(t *testing.T) {
	r := caribbean(t)
	h := r.open()
	ana := h.client(h.login("ana"))
	for _, c := range []struct{ state, fallback, who string }{
		{"jm", "designated", "jm/npc"}, {"bb", "other", "bb/rbpf"}, {"", "designated", "jm/npc"},
	} {
		out, err := ana.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{State: c.state, Category: "cyber.ransomware"})
		h.must(err)
		if len(out.GetAuthorities()) != 0 || out.GetFallback() != c.fallback || authorities(out.GetContactPoints()) != c.who {
			t.Errorf("%q: %v", c.state, out)
		}
	}
	_, err := ana.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{State: "zz"})
	h.refused(err, fault.NotFound, "unknown-entry")
	_, err = ana.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{State: "jm", Zone: "../etc/passwd"})
	h.refused(err, fault.Invalid, "unknown-zone")
	_, err = ana.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{State: "jm", Zone: "Local"})
	h.refused(err, fault.Invalid, "unknown-zone")
}

// TestHiddenAuthorities are shown to their own state alone. PROTOCOL 4.12.
func TestHiddenAuthorities(t *testing.T) {
	h := caribbean(t).open()
	ana := h.client(h.login("ana"))
	found, err := ana.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{Category: "drugs.trafficking"})
	h.must(err)
	if got := authorities(found.GetAuthorities()); got != "jm/jcf mx/cni mx/fgr" {
		t.Errorf("found %s", got)
	}
	list, err := ana.Directory.ListEntries(t.Context(), &operatorv1.ListEntriesRequest{})
	h.must(err)
	if got := authorities(list.GetAuthorities()); got != "bb/rbpf jm/jcf jm/npc mx/cni mx/fgr" {
		t.Errorf("listed %s", got)
	}
	if strings.Contains(list.String(), "jm/spy") {
		t.Error("the list names the hidden authority of another state")
	}
	known, err := ana.Directory.GetEntry(t.Context(), &operatorv1.GetEntryRequest{Name: "jm/spy"})
	if err != nil || !known.GetAuthority().GetHidden() {
		t.Errorf("who knows the name may ask: %v, %v", known, err)
	}
}

func TestListFilters(t *testing.T) {
	r := caribbean(t)
	payload, err := r.draft().Suspend(directory.OfAuthority(name("bb/rbpf")), time.Now().Add(time.Hour), "test")
	r.say(payload, err, "state:bb")
	h := r.open()
	ana := h.client(h.login("ana"))
	list := func(in *operatorv1.ListEntriesRequest) *operatorv1.ListEntriesResponse {
		t.Helper()
		out, err := ana.Directory.ListEntries(t.Context(), in)
		h.must(err)
		return out
	}
	states := func(out *operatorv1.ListEntriesResponse) string {
		var all []string
		for _, s := range out.GetStates() {
			all = append(all, s.GetName())
		}
		return strings.Join(all, " ")
	}
	if out := list(&operatorv1.ListEntriesRequest{Missing: "contact-point"}); states(out) != "bb mx" || len(out.GetAuthorities())+len(out.GetNodes()) != 0 {
		t.Errorf("missing contact points: %v", out)
	}
	if out := list(&operatorv1.ListEntriesRequest{Stale: true}); states(out) != "" {
		t.Errorf("stale: %v", out)
	}
	if out := list(&operatorv1.ListEntriesRequest{Status: "suspended"}); states(out) != "bb" || authorities(out.GetAuthorities()) != "bb/rbpf" {
		t.Errorf("suspended: %v", out)
	}
	whole := list(&operatorv1.ListEntriesRequest{})
	if s := whole.GetStates()[1]; s.GetName() != "jm" || s.GetContactPoint() != "jm/npc" || s.GetTitle() != "Jamaica" || len(s.GetInstruments()) != 2 || !s.GetInstrumentsDeclared() {
		t.Errorf("state = %v", s)
	}
	// 184 days on, all that mx, jm and bb said is stale; jm confirms its own. PROTOCOL 4.9.
	h.ahead.Store(int64(184 * 24 * time.Hour))
	ana = h.client(h.login("ana"))
	if out := list(&operatorv1.ListEntriesRequest{Stale: true, State: "bb"}); states(out) != "bb" || authorities(out.GetAuthorities()) != "bb/rbpf" || len(out.GetNodes()) != 1 || out.GetAuthorities()[0].GetStaleSince() == 0 {
		t.Errorf("stale after half a year: %v", out)
	}
	for code, in := range map[string]*operatorv1.ListEntriesRequest{
		"unknown-status": {Status: "gone"}, "unknown-filter": {Missing: "sleep"}, "two-filters": {Missing: "contact-point", Stale: true}, "malformed-cursor": {Cursor: "x"},
	} {
		_, err := ana.Directory.ListEntries(t.Context(), in)
		h.refused(err, fault.Invalid, code)
	}
}

// TestListPages: whatever the limit, the pages together are the list.
func TestListPages(t *testing.T) {
	r := caribbean(t)
	h := r.open()
	ana := h.client(h.login("ana"))
	whole, err := ana.Directory.ListEntries(t.Context(), &operatorv1.ListEntriesRequest{})
	h.must(err)
	for limit := uint32(1); limit <= 6; limit++ {
		in, got := &operatorv1.ListEntriesRequest{Limit: limit}, &operatorv1.ListEntriesResponse{}
		for range 20 {
			out, err := ana.Directory.ListEntries(t.Context(), in)
			h.must(err)
			if len(out.GetAuthorities()) > int(limit) {
				t.Fatalf("a page of %d has %d", limit, len(out.GetAuthorities()))
			}
			got.States, got.Authorities, got.Nodes = append(got.States, out.GetStates()...), append(got.Authorities, out.GetAuthorities()...), append(got.Nodes, out.GetNodes()...)
			if in.Cursor = out.GetNextCursor(); in.Cursor == "" {
				break
			}
		}
		if authorities(got.GetAuthorities()) != authorities(whole.GetAuthorities()) || len(got.GetStates()) != len(whole.GetStates()) || len(got.GetNodes()) != len(whole.GetNodes()) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	found, err := ana.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{Category: "drugs.trafficking", Limit: 2})
	h.must(err)
	rest, err := ana.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{Category: "drugs.trafficking", Limit: 2, Cursor: found.GetNextCursor()})
	h.must(err)
	if authorities(found.GetAuthorities()) != "jm/jcf mx/cni" || authorities(rest.GetAuthorities()) != "mx/fgr" || rest.GetNextCursor() != "" {
		t.Errorf("pages of who: %v, %v", found, rest)
	}
}

// cardBox gives a card that claims to be somebody's, and counts how often the hub was asked.
type cardBox struct {
	card  directory.Card
	err   error
	asked int
}

func (b *cardBox) Card(ctx context.Context, _ directory.Hash) (directory.Card, error) {
	if b.err != nil {
		if ctx.Err() == nil {
			b.asked++
		}
		return directory.Card{}, b.err
	}
	return b.card, nil
}

// TestCards: a card is a desk's only if it says so itself, and a hub that does not answer is asked once. PROTOCOL 4.8.
func TestCards(t *testing.T) {
	r := newRealm(t)
	r.admit("jm")
	hash := make([]byte, 32)
	hash[0] = 1
	r.declare("jm/jcf", &formatv1.DeclareAuthority{Competences: requests(), Desks: []*formatv1.Desk{
		{Slug: "duty", Card: hash}, {Slug: "night", Card: hash}, {Slug: "third", Card: hash}}})
	box := &cardBox{card: directory.Card{Authority: name("jm/jcf"), Desk: "night", Phone: "+1 876", Phone24x7: "+1 877"}}
	h := open(t, func(c *Config) { c.Directory, c.Contacts = mapped{r.s}, box })
	ana := h.client(h.login("ana"))
	desks := func(in *operatorv1.FindAuthorityRequest) (all []string) {
		out, err := ana.Directory.FindAuthority(t.Context(), in)
		h.must(err)
		for _, d := range out.GetAuthorities()[0].GetDesks() {
			all = append(all, d.GetSlug()+d.GetPhone()+d.GetPhone_24_7())
		}
		return all
	}
	if got := desks(&operatorv1.FindAuthorityRequest{State: "jm"}); strings.Join(got, " ") != "duty night+1 876+1 877 third" {
		t.Errorf("desks = %q", got)
	}
	if got := desks(&operatorv1.FindAuthorityRequest{State: "jm", NoCards: true}); strings.Join(got, " ") != "duty night third" {
		t.Errorf("desks without cards = %q", got)
	}
	box.err = fault.New(fault.Retry, "unreachable", "ask", "no hub")
	desks(&operatorv1.FindAuthorityRequest{State: "jm"})
	if box.asked != 1 {
		t.Errorf("the hub was asked %d times, and answered none", box.asked)
	}
}

// split is a directory whose hub was caught.
type split struct{ mapped }

func (s split) Status() LogStatus {
	st := s.mapped.Status()
	st.Proofs = []LogProof{{ID: "p1", Kind: "fork", Head: []byte("a"), Other: []byte("b"), By: "hub", OtherBy: "jm/node/primary", Agreed: 3, At: time.Now()}}
	st.Omitted = []Omission{{Kind: directory.KindSuspend, Subject: directory.OfState(state("jm")), Since: time.Now()}}
	st.Halted, st.Freshness = fault.New(fault.Conflict, "split", "follow", "two stories"), "degraded"
	return st
}

func TestDirectoryStatusAndCodes(t *testing.T) {
	r := caribbean(t)
	h := open(t, func(c *Config) { c.Directory = split{mapped{r.s}} })
	ana := h.client(h.login("ana"))
	out, err := ana.Directory.GetDirectoryStatus(t.Context(), &operatorv1.GetDirectoryStatusRequest{})
	h.must(err)
	if out.GetConfirmed() != r.s.Position() || out.GetHalted() != "split" || out.GetProofs()[0].GetSecond() != "b" || out.GetOmitted()[0].GetSubject() != "jm" ||
		out.GetStates() != 3 || out.GetMissingContactPoints() != 2 || out.GetAuthorities() != 5 || out.GetFreshness() != "degraded" {
		t.Errorf("status = %v", out)
	}
	status, body := h.call(h.login("ana"), http.MethodGet, "/v1/directory-status", "")
	if status != http.StatusOK || !strings.Contains(body, `"halted":"split"`) {
		t.Errorf("REST: %d %s", status, body)
	}
	status, body = h.call("", http.MethodGet, "/healthz", "")
	if status != http.StatusOK || body != `{"status":"ok","directory":"fresh"}` {
		t.Errorf("health = %d %s", status, body)
	}
	status, body = h.call(h.login("ana"), http.MethodGet, "/v1/codes", "")
	var codes struct {
		Categories []struct{ Code, Status string }
		Registered bool `json:"categories_registered"`
	}
	if err := json.Unmarshal([]byte(body), &codes); status != http.StatusOK || err != nil || len(codes.Categories) < 40 || codes.Registered {
		t.Errorf("codes: %d %v %v", status, err, codes)
	}
}
