package node

import (
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
)

func TestAlertDraftIsRead(t *testing.T) {
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	c, err := alertOf(&operatorv1.AlertDraft{
		Authority: "mx/fgr", Category: "drugs.trafficking", Urgency: "IMMEDIATE", Status: "EXERCISE", Distribution: "DIRECTED",
		To: []string{"jm/dpp", "br/pf"}, States: []string{"jm"}, Expires: until.UnixMilli(), Notice: &formatv1.AlertNotice{Title: "t"},
	})
	ok(t, err)
	if c.From.String() != "mx/fgr" || c.Category.String() != "drugs.trafficking" || c.Urgency != message.Immediate ||
		c.Status != message.Exercise || c.Distribution != message.Directed || len(c.To) != 2 || c.To[1].String() != "br/pf" ||
		len(c.States) != 1 || !c.Expires.Equal(until) || c.Notice.GetTitle() != "t" {
		t.Errorf("read as %+v", c)
	}
	c, err = alertOf(&operatorv1.AlertDraft{})
	ok(t, err)
	if !c.From.IsZero() || c.Urgency != message.Routine || c.Status != message.Actual || c.Distribution != message.ByCategory || !c.Expires.IsZero() {
		t.Errorf("nothing said is read as %+v", c)
	}
	for what, d := range map[string]*operatorv1.AlertDraft{
		"authority": {Authority: "MX"}, "category": {Category: "Drugs"}, "urgency": {Urgency: "now"}, "status": {Status: "REAL"},
		"distribution": {Distribution: "EVERYONE"}, "state": {States: []string{"jm", "nowhere"}}, "addressee": {To: []string{"jm"}},
	} {
		if _, err := alertOf(d); !fault.Is(err, fault.Invalid) {
			t.Errorf("a wrong %s: %v, want Invalid", what, err)
		}
	}
}

// What an approver is shown is what the digest covers: the draft, and said to be one. Everybody else's copy is the one in
// force.
func TestPendingVersionIsShownAsOne(t *testing.T) {
	v := alert.View{}
	v.Version, v.State, v.Title, v.Issued = 2, message.AlertUpdated, "in force", true
	v.Notice = &formatv1.AlertNotice{Title: "in force", Version: 2}
	v.Draft = &alert.DraftView{State: message.AlertPending, Digest: message.Digest{7}, Attached: []exchange.AttachmentView{{}}}
	v.Draft.Notice = &formatv1.AlertNotice{Title: "to come"}
	got := shownOf(v)
	if got.GetNotice().GetTitle() != "to come" || got.GetDigest() == "" || got.GetSummary().GetStatus() != "PENDING_APPROVAL" ||
		got.GetSummary().GetVersion() != 3 || got.GetSummary().GetTitle() != "to come" || len(got.GetAttachments()) != 1 {
		t.Errorf("shown = %v", got)
	}
	if got := alertViewOf(v); got.GetNotice().GetTitle() != "in force" || got.GetDigest() != "" || got.GetSummary().GetStatus() != "UPDATED" {
		t.Errorf("watched = %v", got)
	}
	v.Draft.State, v.Draft.Returned = message.AlertDraft, "too long"
	if got := shownOf(v); got.GetNotice().GetTitle() != "in force" || got.GetReturned() != "too long" || got.GetDigest() != "" {
		t.Errorf("with a draft beside it = %v", got)
	}
	v.Version, v.Notice, v.State = 0, nil, message.AlertDraft
	if got := shownOf(v); got.GetNotice().GetTitle() != "to come" || got.GetDigest() == "" {
		t.Errorf("never issued = %v", got)
	}
}

// Nobody approves their own alert or subscription where two persons are wanted; a person who answers for the desk cancels
// alone. DESIGN 9.
func TestGateOfAlerts(t *testing.T) {
	fgr := nameOf(t, "mx/fgr")
	person := func(name string, roles ...people.Role) exchange.Actor {
		return actorOf(people.Principal{Name: name, User: get(people.ParseUser(name))(t), Authority: fgr, Roles: roles})
	}
	g := gate{set: get(policy.Load(nil))(t), lang: get(authority.ParseLanguage("en"))(t), clock: time.Now}
	waits := exchange.Resource{Own: fgr, Author: "ana", State: message.State(message.AlertPending), Urgency: message.Immediate, FourEyes: true}
	issued := waits
	issued.State = message.State(message.AlertIssued)
	for _, action := range []string{"alert:approve", "subscription:approve"} {
		if err := g.Allow(t.Context(), person("ana", people.RoleUser, people.RoleApprover), action, waits); !fault.Is(err, fault.Denied) {
			t.Errorf("the author, %s: %v, want Denied", action, err)
		}
		ok(t, g.Allow(t.Context(), person("eva", people.RoleApprover), action, waits))
	}
	if err := g.Allow(t.Context(), person("ana", people.RoleUser), "alert:cancel", issued); !fault.Is(err, fault.Denied) {
		t.Errorf("a writer cancels alone: %v, want Denied", err)
	}
	ok(t, g.Allow(t.Context(), person("ana", people.RoleUser), "alert:cancel", waits))
	ok(t, g.Allow(t.Context(), person("ana", people.RoleApprover), "alert:cancel", issued))
	ok(t, g.Allow(t.Context(), person("max", people.RoleDuty), "alert:cancel", issued))
}
