package policy

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// own is a folder as Load wants it; nil for no folder.
func own(dir string) fs.FS {
	if dir == "" {
		return nil
	}
	return os.DirFS(dir)
}

func mustLoad(t testing.TB, dir string) *Set {
	t.Helper()
	s, err := Load(own(dir))
	if err != nil {
		t.Fatalf("Load(%q): %v", dir, err)
	}
	return s
}

func name(t testing.TB, s string) authority.Name {
	t.Helper()
	n, err := authority.ParseName(s)
	if err != nil {
		t.Fatalf("ParseName(%q): %v", s, err)
	}
	return n
}

func language(t testing.TB, s string) authority.Language {
	t.Helper()
	l, err := authority.ParseLanguage(s)
	if err != nil {
		t.Fatalf("ParseLanguage(%q): %v", s, err)
	}
	return l
}

// ask is a question by a person of mx/fgr about a draft of mx/fgr that rosa wrote.
func ask(t testing.TB, action Action, roles ...string) Question {
	t.Helper()
	return Question{
		Caller: Caller{Name: "ana", Authority: name(t, "mx/fgr"), Roles: roles},
		Action: action,
		Resource: Resource{
			ID: "r1", Owner: name(t, "mx/fgr"), Author: "rosa", Status: "PENDING_APPROVAL", Urgency: "ROUTINE",
			Handling: []string{"H1", "H2"}, FourEyes: true,
		},
		Now: noon,
	}
}

// permitted lists, for each role alone, exactly what it may do to an item of its own authority that somebody else wrote.
var permitted = map[string]string{
	"user": "request:create request:check request:send request:list request:show request:answer request:close " +
		"attachment:add attachment:get directory:read node:status policy:read " +
		"alert:create alert:check alert:publish alert:update alert:cancel alert:list alert:show alert:feedback alert:holders " +
		"subscription:add subscription:list subscription:remove",
	"duty": "request:create request:check request:send request:list request:show request:acknowledge request:answer " +
		"request:close attachment:add attachment:get directory:read node:status policy:read " +
		"alert:list alert:show alert:feedback alert:holders alert:cancel subscription:list",
	"approver": "request:check request:approve request:return request:list request:show request:refuse attachment:get " +
		"directory:read node:status policy:read " +
		"alert:list alert:show alert:check alert:holders alert:approve alert:return alert:cancel " +
		"subscription:list subscription:approve subscription:remove",
	"auditor": "request:list request:show attachment:get directory:read node:status policy:read evidence:read " +
		"alert:list alert:show alert:holders subscription:list",
	"administrator": "directory:read user:manage token:issue token:revoke node:status policy:read node:backup node:diagnose",
	"system":        "",
	"":              "",
	"emperor":       "",
}

func TestRolesMayExactly(t *testing.T) {
	s := mustLoad(t, "")
	for role, want := range permitted {
		for _, a := range Actions() {
			got := s.Decide(ask(t, a, role)).Allowed
			if want := slices.Contains(strings.Fields(want), a.String()); got != want {
				t.Errorf("role %q, %s: allowed %v, want %v", role, a, got, want)
			}
		}
	}
}

// scoped lists what each scope lets a token do.
var scoped = map[string]string{
	"alerts:read":         "alert:list alert:show alert:check alert:holders",
	"alerts:write":        "alert:create alert:check alert:publish alert:update alert:cancel alert:feedback",
	"subscriptions:read":  "subscription:list",
	"subscriptions:write": "subscription:add subscription:remove",
	"requests:read":       "request:list request:show request:check",
	"requests:write":      "request:create request:check request:send request:answer request:close",
	"attachments:read":    "attachment:get",
	"attachments:write":   "attachment:add",
	"directory:read":      "directory:read",
	"node:read":           "node:status",
	"users:write":         "user:manage",
	"evidence:read":       "evidence:read",
	"everything":          "",
}

func TestScopesLimitTokens(t *testing.T) {
	s := mustLoad(t, "")
	for scope, want := range scoped {
		for _, a := range Actions() {
			q := ask(t, a, "system")
			q.Caller.IsToken, q.Caller.Scopes = true, []string{scope}
			got := s.Decide(q).Allowed
			if want := slices.Contains(strings.Fields(want), a.String()); got != want {
				t.Errorf("scope %q, %s: allowed %v, want %v", scope, a, got, want)
			}
			q.Caller.Roles = []string{"system", "approver", "administrator", "duty"}
			if s.Decide(q).Allowed {
				t.Errorf("scope %q, %s: a token with the roles of people was allowed", scope, a)
			}
			q.Caller.IsToken, q.Caller.Roles = false, []string{"user"}
			if a == EvidenceRead && s.Decide(q).Allowed {
				t.Errorf("a person with a token's scope was allowed to %s", a)
			}
		}
	}
}

func TestTwoPersons(t *testing.T) {
	s := mustLoad(t, "")
	cases := []struct {
		what        string
		change      func(*Question)
		want        bool
		reason      string
		obligations []string
	}{
		{"another person approves", func(*Question) {}, true, "approver-decide", nil},
		{"the author approves", func(q *Question) { q.Resource.Author = "ana" }, false, "two-persons", nil},
		{"the author refuses", func(q *Question) { q.Resource.Author, q.Action = "ana", RequestRefuse }, false, "two-persons", nil},
		{"the author, two persons not wanted", func(q *Question) {
			q.Resource.Author, q.Resource.FourEyes = "ana", false
		}, true, "approver-decide", nil},
		{"nobody wrote it", func(q *Question) { q.Resource.Author = "" }, false, "author-known", nil},
		{"refused, and nobody took it on", func(q *Question) {
			q.Resource.Author, q.Action = "", RequestRefuse
		}, false, "acknowledged-first", nil},
		{"refused, nobody took it on, two persons not wanted", func(q *Question) {
			q.Resource.Author, q.Resource.FourEyes, q.Action = "", false, RequestRefuse
		}, true, "approver-decide", nil},
		{"another person refuses", func(q *Question) { q.Action = RequestRefuse }, true, "approver-decide", nil},
		{"an officer who is no approver", func(q *Question) { q.Caller.Roles = []string{"user"} }, false, "no-rule", nil},
		{"author, immediate, mode not set", func(q *Question) {
			q.Resource.Author, q.Resource.Urgency = "ana", "IMMEDIATE"
		}, false, "two-persons", nil},
		{"author, immediate, retrospective", func(q *Question) {
			q.Resource.Author, q.Resource.Urgency, q.Mode = "ana", "IMMEDIATE", Retrospective
		}, true, "author-retrospective", []string{"retrospective-approval"}},
		{"author, urgent, retrospective", func(q *Question) {
			q.Resource.Author, q.Resource.Urgency, q.Mode = "ana", "URGENT", Retrospective
		}, false, "two-persons", nil},
		{"author, no urgency, retrospective", func(q *Question) {
			q.Resource.Author, q.Resource.Urgency, q.Mode = "ana", "", Retrospective
		}, false, "two-persons", nil},
		{"second person, immediate, retrospective", func(q *Question) {
			q.Resource.Urgency, q.Mode = "IMMEDIATE", Retrospective
		}, true, "approver-decide", nil},
		{"author, no approver, immediate, retrospective, two persons not wanted", func(q *Question) {
			q.Caller.Roles, q.Resource.Author, q.Resource.FourEyes = []string{"user"}, "ana", false
			q.Resource.Urgency, q.Mode = "IMMEDIATE", Retrospective
		}, false, "no-rule", nil},
		{"author, no approver, immediate, retrospective", func(q *Question) {
			q.Caller.Roles, q.Resource.Author = []string{"user"}, "ana"
			q.Resource.Urgency, q.Mode = "IMMEDIATE", Retrospective
		}, true, "author-retrospective", []string{"retrospective-approval"}},
		{"author refuses, retrospective", func(q *Question) {
			q.Resource.Author, q.Resource.Urgency, q.Mode, q.Action = "ana", "IMMEDIATE", Retrospective, RequestRefuse
		}, false, "two-persons", nil},
	}
	for _, c := range cases {
		q := ask(t, RequestApprove, "approver")
		c.change(&q)
		got := s.Decide(q)
		ids := reasonIDs(got.Reasons)
		if got.Allowed != c.want || !slices.Contains(ids, c.reason) || !slices.Equal(got.Obligations, c.obligations) {
			t.Errorf("%s: %v because of %v, obliged to %v; want %v because of %s, obliged to %v",
				c.what, got.Allowed, ids, got.Obligations, c.want, c.reason, c.obligations)
		}
	}
}

// An alert is approved by a second person; it is cancelled by one who answers for the desk, the author too, since a wrong
// alert endangers people.
func TestTwoPersonsForAlerts(t *testing.T) {
	s := mustLoad(t, "")
	own := func(q *Question) { q.Resource.Author = "ana" }
	single := func(q *Question) { q.Resource.FourEyes = false }
	for _, c := range []struct {
		what   string
		action Action
		role   string
		change func(*Question)
		want   bool
		reason string
	}{
		{"another approves", AlertApprove, "approver", nil, true, "approver-alerts"},
		{"the author approves", AlertApprove, "approver", own, false, "two-persons"},
		{"the author approves a subscription", SubscriptionApprove, "approver", own, false, "two-persons"},
		{"another approves a subscription", SubscriptionApprove, "approver", nil, true, "approver-subscriptions"},
		{"the author alone, immediate, retrospective", AlertApprove, "user", func(q *Question) {
			q.Resource.Author, q.Resource.Urgency, q.Mode = "ana", "IMMEDIATE", Retrospective
		}, true, "author-retrospective"},
		{"the author alone, urgent, retrospective", AlertApprove, "user", func(q *Question) {
			q.Resource.Author, q.Resource.Urgency, q.Mode = "ana", "URGENT", Retrospective
		}, false, "two-persons"},
		{"an approver cancels", AlertCancel, "approver", nil, true, "approver-alerts"},
		{"an approver cancels their own", AlertCancel, "approver", own, true, "approver-alerts"},
		{"the duty officer cancels", AlertCancel, "duty", nil, true, "duty-alerts"},
		{"an officer cancels", AlertCancel, "user", nil, false, "cancel-answerable"},
		{"an officer cancels their own", AlertCancel, "user", own, false, "cancel-answerable"},
		{"an officer cancels, two persons not wanted", AlertCancel, "user", single, true, "officer-alerts"},
		{"an officer drops what waits for approval", AlertCancel, "user", func(q *Question) {
			q.Resource.Status = "PENDING_APPROVAL"
		}, true, "officer-alerts"},
		{"an officer drops a draft", AlertCancel, "user", func(q *Question) { q.Resource.Status = "DRAFT" }, true, "officer-alerts"},
		{"an administrator cancels", AlertCancel, "administrator", single, false, "no-rule"},
	} {
		q := ask(t, c.action, c.role)
		if c.action == AlertCancel {
			q.Resource.Status = "UPDATED"
		}
		if c.change != nil {
			c.change(&q)
		}
		if got := s.Decide(q); got.Allowed != c.want || !slices.Contains(reasonIDs(got.Reasons), c.reason) {
			t.Errorf("%s: %v because of %v; want %v because of %s", c.what, got.Allowed, reasonIDs(got.Reasons), c.want, c.reason)
		}
	}
	q := ask(t, AlertCancel, "system")
	q.Resource.Status = "ISSUED"
	q.Caller.IsToken, q.Caller.Scopes, q.Resource.FourEyes = true, []string{"alerts:write"}, false
	if got := s.Decide(q); !got.Allowed {
		t.Errorf("a system cancels, two persons not wanted: denied because of %v", reasonIDs(got.Reasons))
	}
}

// ownLimits are the rules that keep other authorities out, by what they keep them from.
var ownLimits = map[kind]string{
	kindRequest: "own-authority", kindAlert: "own-authority-alerts", kindSubscription: "own-authority-subscriptions",
}

func TestOtherAuthoritiesAreClosed(t *testing.T) {
	s := mustLoad(t, "")
	all := []string{"user", "approver", "duty", "administrator"}
	for _, a := range Actions() {
		q := ask(t, a, all...)
		if !s.Decide(q).Allowed && a != EvidenceRead {
			t.Errorf("%s on the own authority: denied, so the test below would prove nothing", a)
		}
		q.Resource.Owner = name(t, "mx/sat")
		limit, ours := ownLimits[actionNames[a].on]
		onAccount := actionNames[a].on == kindAccount
		if got := s.Decide(q); ours && (got.Allowed || !slices.Contains(reasonIDs(got.Reasons), limit)) {
			t.Errorf("%s on another authority: %v because of %v", a, got.Allowed, reasonIDs(got.Reasons))
		}
		if onAccount && !s.Decide(q).Allowed {
			t.Errorf("%s on another authority of the state: denied to an administrator", a)
		}
		q.Resource.Owner = name(t, "br/pf")
		if (ours || onAccount) && s.Decide(q).Allowed {
			t.Errorf("%s on another state: allowed", a)
		}
	}
}

func TestSameStateApprover(t *testing.T) {
	s := mustLoad(t, "")
	for _, a := range Actions() {
		if _, ours := ownLimits[actionNames[a].on]; !ours {
			continue
		}
		q := ask(t, a, "approver")
		q.Mode, q.Resource.Owner = SameState, name(t, "mx/sat")
		want := slices.Contains([]Action{
			RequestList, RequestShow, RequestCheck, AttachmentGet, RequestApprove, RequestReturn,
			AlertList, AlertShow, AlertCheck, AlertApprove, AlertReturn, SubscriptionList, SubscriptionApprove,
		}, a)
		if got := s.Decide(q).Allowed; got != want {
			t.Errorf("%s, waiting for approval in the same state: allowed %v, want %v", a, got, want)
		}
		q.Resource.Status = "DRAFT"
		if s.Decide(q).Allowed {
			t.Errorf("%s, a draft of another authority: allowed", a)
		}
		q.Resource.Status, q.Resource.Owner = "PENDING_APPROVAL", name(t, "br/pf")
		if s.Decide(q).Allowed {
			t.Errorf("%s, another state: allowed", a)
		}
	}
}

func TestAuditorNeverWrites(t *testing.T) {
	s := mustLoad(t, "")
	for _, a := range Actions() {
		got := s.Decide(ask(t, a, "auditor", "user", "approver", "duty", "administrator")).Allowed
		reads := []Action{
			RequestCheck, RequestList, RequestShow, AttachmentGet, DirectoryRead, NodeStatus, PolicyRead, EvidenceRead,
			AlertCheck, AlertList, AlertShow, AlertHolders, SubscriptionList,
		}
		if want := slices.Contains(reads, a); got != want {
			t.Errorf("auditor with every other role, %s: allowed %v, want %v", a, got, want)
		}
	}
}

func TestIncompleteQuestionsAreDenied(t *testing.T) {
	s := mustLoad(t, "")
	breaks := map[string]func(*Question){
		"no name":        func(q *Question) { q.Caller.Name = "" },
		"no authority":   func(q *Question) { q.Caller.Authority = authority.Name{} },
		"no owner":       func(q *Question) { q.Resource.Owner = authority.Name{} },
		"neither":        func(q *Question) { q.Caller.Authority, q.Resource.Owner = authority.Name{}, authority.Name{} },
		"no action":      func(q *Question) { q.Action = 0 },
		"unknown action": func(q *Question) { q.Action = 200 },
		"no time":        func(q *Question) { q.Now = time.Time{} },
		"nothing at all": func(q *Question) { *q = Question{} },
	}
	for what, change := range breaks {
		q := ask(t, RequestShow, "user")
		if !s.Decide(q).Allowed {
			t.Fatalf("the complete question is denied: %v", s.Decide(q))
		}
		change(&q)
		if got := s.Decide(q); got.Allowed || got.Reasons[0].ID != "incomplete-question" {
			t.Errorf("%s: allowed %v because of %v", what, got.Allowed, reasonIDs(got.Reasons))
		}
	}
}

func TestDecisionInWords(t *testing.T) {
	s := mustLoad(t, "")
	q := ask(t, RequestApprove, "user")
	err := s.Decide(q).Refusal(q.Action, language(t, "es"))
	e := fault.As(err)
	if e.Kind != fault.Denied || e.Say != "ninguna regla lo permite a esta persona o sistema" || !strings.Contains(e.Hint, "aprobadores") {
		t.Errorf("Refusal = %v %q, hint %q", e.Kind, e.Say, e.Hint)
	}
	q.Caller.Roles = []string{"approver"}
	if err := s.Decide(q).Refusal(q.Action, language(t, "es")); err != nil {
		t.Errorf("Refusal of what is allowed = %v, want none", err)
	}
	words := s.Decide(q).Words(language(t, "nl"))
	want := []string{"approver-decide: approvers read, approve, return and refuse requests of their authority"}
	if !slices.Equal(words, want) {
		t.Errorf("Words in a language without text = %q, want %q", words, want)
	}
}

func TestRulesSpeakFourLanguages(t *testing.T) {
	reasons := mustLoad(t, "").Rules()
	reasons = append(reasons, denyByDefault().Reasons[0], denyIncomplete().Reasons[0], denyOnFailure("x").Reasons[0])
	if len(reasons) < 20 {
		t.Fatalf("%d rules, want at least 20", len(reasons))
	}
	for _, r := range reasons {
		seen := map[string]bool{}
		for _, lang := range []string{"en", "es", "pt", "fr"} {
			text := r.text[lang]
			if text == "" || seen[text] {
				t.Errorf("rule %s in %s: %q is missing or repeats another language", r.ID, lang, text)
			}
			seen[text] = true
		}
	}
}

// TestLimitsOutlastAnyPermission adds a rule that permits everything: the limits of the built-in set must still bind.
func TestLimitsOutlastAnyPermission(t *testing.T) {
	files := builtinFiles(t)
	files["99-all.cedar"] = `@id("all") @reason_en("all") permit (principal, action, resource);`
	s := mustLoad(t, write(t, files))
	if !s.Decide(ask(t, UserManage, "user")).Allowed {
		t.Fatal("the rule that permits everything is not in force")
	}
	token := func(q *Question) { q.Caller.IsToken, q.Caller.Roles = true, []string{"system"} }
	issued := func(q *Question) { q.Resource.Status = "ISSUED" }
	for _, c := range []struct {
		what, limit string
		actions     []Action
		change      func(*Question)
	}{
		{"a machine acts for a person", "people-only", []Action{
			RequestApprove, RequestReturn, RequestAcknowledge, RequestRefuse, TokenIssue, TokenRevoke, AlertApprove,
			AlertReturn, SubscriptionApprove,
		}, token},
		{"an auditor writes", "auditor-never-writes", []Action{
			RequestCreate, RequestSend, RequestApprove, RequestReturn, RequestAcknowledge, RequestAnswer, RequestRefuse,
			RequestClose, AttachmentAdd, UserManage, TokenIssue, TokenRevoke, AlertCreate, AlertPublish, AlertApprove,
			AlertReturn, AlertUpdate, AlertCancel, AlertFeedback, SubscriptionAdd, SubscriptionApprove, SubscriptionRemove,
		}, func(q *Question) { q.Caller.Roles = []string{"auditor"} }},
		{"another authority", "own-authority", []Action{RequestShow, RequestSend, AttachmentGet}, func(q *Question) {
			q.Resource.Owner = name(t, "mx/sat")
		}},
		{"another authority's alert", "own-authority-alerts", []Action{AlertShow, AlertPublish, AlertCancel}, func(q *Question) {
			q.Resource.Owner = name(t, "mx/sat")
		}},
		{"another authority's subscription", "own-authority-subscriptions", []Action{SubscriptionList, SubscriptionRemove}, func(q *Question) {
			q.Resource.Owner = name(t, "mx/sat")
		}},
		{"another state", "own-state", []Action{UserManage, TokenIssue}, func(q *Question) { q.Resource.Owner = name(t, "br/pf") }},
		{"the author", "two-persons", []Action{RequestApprove, RequestRefuse, AlertApprove, SubscriptionApprove}, func(q *Question) { q.Resource.Author = "ana" }},
		{"no first person", "acknowledged-first", []Action{RequestRefuse}, func(q *Question) { q.Resource.Author = "" }},
		{"a writer silences alone", "cancel-answerable", []Action{AlertCancel}, issued},
		{"a machine silences alone", "cancel-answerable", []Action{AlertCancel}, func(q *Question) {
			token(q)
			issued(q)
		}},
		{"nobody wrote it", "author-known", []Action{RequestApprove, AlertApprove, SubscriptionApprove}, func(q *Question) {
			q.Resource.Author = ""
		}},
		{"a person as system", "system-role-alone", Actions(), func(q *Question) { q.Caller.Roles = []string{"user", "system"} }},
	} {
		for _, a := range c.actions {
			q := ask(t, a, "user")
			c.change(&q)
			if got := s.Decide(q); got.Allowed || !slices.Contains(reasonIDs(got.Reasons), c.limit) {
				t.Errorf("%s, %s: allowed %v because of %v, want denied by %s", c.what, a, got.Allowed, reasonIDs(got.Reasons), c.limit)
			}
		}
	}
}

func TestFailingRuleDenies(t *testing.T) {
	dir := write(t, map[string]string{"a.cedar": `@id("all") @reason_en("all") permit (principal, action, resource);
@id("overflow") @reason_en("overflow")
forbid (principal, action, resource) when { 9223372036854775807 + (if principal.is_token then 0 else 1) > 0 };`})
	s := mustLoad(t, dir)
	got := s.Decide(ask(t, RequestShow, "user"))
	if got.Allowed || got.Reasons[0].ID != "overflow" {
		t.Errorf("a limit that failed: allowed %v because of %v", got.Allowed, reasonIDs(got.Reasons))
	}
	q := ask(t, RequestShow, "system")
	q.Caller.IsToken = true
	if got := s.Decide(q); got.Allowed || got.Reasons[0].ID != "overflow" {
		t.Errorf("the same limit, evaluated: allowed %v because of %v", got.Allowed, reasonIDs(got.Reasons))
	}
}

func TestDecideTogether(t *testing.T) {
	s := mustLoad(t, "")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if !s.Decide(ask(t, RequestShow, "user")).Allowed || s.Decide(ask(t, RequestApprove, "user")).Allowed {
					t.Error("a decision changed under concurrent use")
					return
				}
			}
		})
	}
	wg.Wait()
}

func reasonIDs(reasons []Reason) []string {
	var ids []string
	for _, r := range reasons {
		ids = append(ids, r.ID)
	}
	return ids
}

func BenchmarkDecide(b *testing.B) {
	s := mustLoad(b, "")
	for _, c := range []struct {
		name   string
		action Action
		role   string
	}{{"allowed", RequestShow, "user"}, {"denied", RequestApprove, "user"}, {"node", NodeStatus, "duty"}} {
		b.Run(c.name, func(b *testing.B) {
			q := ask(b, c.action, c.role)
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(q)
			}
		})
	}
}
