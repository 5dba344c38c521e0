package alert_test

import (
	"context"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// TestLife goes through the life of an alert: published, read, updated, answered, cancelled, locked. domain.md 4.9.
func TestLife(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe("drugs.>")
	id := mx.issued(w.composition("First"))
	jm.until("issued", id, state(message.AlertIssued))
	v, err := jm.Show(ctx, jm.actor(), id)
	w.must(err)
	if v.Notice.GetTitle() != "First" || v.Issued || v.Mark != "READ" || v.Locked || v.Reference == "" || v.Reference != mx.row(id, mx.name).Reference {
		t.Errorf("shown: %+v", v.Summary)
	}
	if jm.row(id, jm.name).Mark != "READ" || jm.events("alert-read") != 1 {
		t.Error("the reading left no mark or event")
	}

	update := w.composition("Second")
	if st, err := mx.Update(ctx, mx.actor(), id, update); err != nil || st != message.AlertDraft {
		t.Fatalf("update: %s, %v", st, err)
	}
	if v, err := mx.Show(ctx, mx.actor(), id); err != nil || v.Notice.GetTitle() != "First" || v.Draft == nil || v.Draft.Notice.GetTitle() != "Second" || v.State != message.AlertIssued {
		t.Errorf("the draft beside the alert: %+v, %v", v, err)
	}
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	row := jm.until("updated", id, state(message.AlertUpdated))
	if row.Version != 2 || row.Title != "Second" || row.Mark != "" {
		t.Errorf("after the update: %+v", row)
	}
	_, err = jm.Feedback(ctx, jm.actor(), id, &formatv1.Feedback{Mark: "HIT", Text: "Seen here."})
	w.must(err)
	w.eventually("feedback", func() bool {
		v, err := mx.Show(ctx, mx.actor(), id)
		w.must(err)
		last := v.Steps[len(v.Steps)-1]
		return last.Feedback.GetMark() == "HIT" && last.Sender == jm.name
	})
	if jm.row(id, jm.name).Mark != "HIT" || mx.events("alert-feedback") != 1 {
		t.Error("the feedback left no mark or event")
	}

	p, err := mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "RESOLVED", Text: "Over."})
	w.must(err)
	if p.State != message.AlertCancelled || p.Message.IsZero() || p.Audience != 1 {
		t.Errorf("cancelled: %+v", p)
	}
	jm.until("cancelled", id, state(message.AlertCancelled))
	v, err = jm.Show(ctx, jm.actor(), id)
	w.must(err)
	if !v.Locked || v.Notice != nil || len(v.Subjects)+len(v.Files) != 0 || v.Steps[len(v.Steps)-1].Cancellation.GetText() != "Over." {
		t.Errorf("a cancelled alert shows: %+v", v)
	}
	if v, err := mx.Show(ctx, mx.actor(), id); err != nil || v.Locked || v.Notice.GetTitle() != "Second" {
		t.Errorf("the issuer sees: %+v, %v", v, err)
	}
	if _, err := mx.Update(ctx, mx.actor(), id, update); fault.CodeOf(err) != "wrong-state" {
		t.Errorf("an update after the end: %v", err)
	}
	if _, err := mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "ERROR"}); fault.CodeOf(err) != "wrong-state" {
		t.Errorf("a second end: %v", err)
	}
	w.eventually("all confirmed", func() bool {
		h, err := mx.Holders(ctx, mx.actor(), id)
		w.must(err)
		return len(h) == 1 && h[0].Node == jm.node && h[0].Alert == "RECEIVED" && h[0].Latest == "RECEIVED" && !h[0].Time.IsZero()
	})
}

// TestForeignActors: another authority's alert does not exist for the caller.
func TestForeignActors(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police(), office{slug: "customs", in: []string{"firearms"}})
	mx.start()
	id, err := mx.Create(ctx, mx.actor(), w.composition("Mine"))
	w.must(err)
	stranger := mx.of("customs")
	for name, call := range map[string]func() error{
		"show":    func() error { _, err := mx.Show(ctx, stranger, id); return err },
		"publish": func() error { _, err := mx.Publish(ctx, stranger, id); return err },
		"cancel": func() error {
			_, err := mx.Cancel(ctx, stranger, id, &formatv1.Cancellation{Reason: "ERROR"})
			return err
		},
		"holders": func() error { _, err := mx.Holders(ctx, stranger, id); return err },
		"update":  func() error { _, err := mx.Update(ctx, stranger, id, w.composition("Yours")); return err },
		"file":    func() error { _, _, err := mx.OpenFile(ctx, stranger, id, 0); return err },
	} {
		if err := call(); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s by another authority: %v", name, err)
		}
	}
	if all, err := mx.List(ctx, stranger, alert.Filter{}); err != nil || len(all) != 0 {
		t.Errorf("listed for another authority: %+v, %v", all, err)
	}
}

// TestFourEyes: a second person releases exactly what they were shown; an edit voids it, a return says why.
func TestFourEyes(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police()), w.join("jm", police())
	mx.fourEyes = true
	mx.start()
	jm.start()
	jm.subscribe(">")
	id, err := mx.Create(ctx, mx.as("writer"), w.composition("Wrong"))
	w.must(err)
	p, err := mx.Publish(ctx, mx.as("writer"), id)
	w.must(err)
	if p.State != message.AlertPending || !p.Message.IsZero() {
		t.Fatalf("submitted: %+v", p)
	}
	if _, err := mx.Update(ctx, mx.as("writer"), id, w.composition("Right")); fault.CodeOf(err) != "wrong-state" {
		t.Errorf("an edit of what waits: %v", err)
	}
	seen, err := mx.Show(ctx, mx.as("chief"), id)
	w.must(err)
	_, err = mx.Return(ctx, mx.as("chief"), id, "say more")
	w.must(err)
	if v, err := mx.Show(ctx, mx.as("writer"), id); err != nil || v.State != message.AlertDraft || v.Draft.Returned != "say more" {
		t.Errorf("returned: %+v, %v", v, err)
	}
	_, err = mx.Update(ctx, mx.as("writer"), id, w.composition("Right"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.as("writer"), id)
	w.must(err)
	if _, err := mx.Approve(ctx, mx.as("chief"), id, seen.Draft.Digest); fault.CodeOf(err) != "edited" {
		t.Errorf("approval of what is not there any more: %v", err)
	}
	mx.restart() // what waits, waits
	seen, err = mx.Show(ctx, mx.as("chief"), id)
	w.must(err)
	p, err = mx.Approve(ctx, mx.as("chief"), id, seen.Draft.Digest)
	w.must(err)
	if p.State != message.AlertIssued || p.Audience != 1 {
		t.Errorf("approved: %+v", p)
	}
	jm.until("issued", id, state(message.AlertIssued))
	if v, err := jm.Show(ctx, jm.actor(), id); err != nil || v.Notice.GetTitle() != "Right" || v.Steps[0].Approval != message.TwoPerson {
		t.Errorf("received: %+v, %v", v, err)
	}
	if row := mx.row(id, mx.name); row.Approver != "chief" || row.Author != "writer" {
		t.Errorf("who did it: %+v", row)
	}

	// The next version waits beside the alert, which stays in force; it is found by who looks for what waits.
	_, err = mx.Update(ctx, mx.as("writer"), id, w.composition("Better"))
	w.must(err)
	p, err = mx.Publish(ctx, mx.as("writer"), id)
	w.must(err)
	waiting, err := mx.List(ctx, mx.as("chief"), alert.Filter{State: message.AlertPending})
	w.must(err)
	if p.State != message.AlertPending || len(waiting) != 1 || waiting[0].State != message.AlertIssued || waiting[0].Next != message.AlertPending {
		t.Errorf("the next version: %+v, %+v", p, waiting)
	}
	// Who approves their own work is told of to the receivers.
	_, err = mx.Approve(ctx, mx.as("writer"), id, message.Digest{})
	w.must(err)
	jm.until("updated", id, state(message.AlertUpdated))
	if v, err := jm.Show(ctx, jm.actor(), id); err != nil || v.Steps[1].Approval != message.Single {
		t.Errorf("self-approval shows as: %+v, %v", v.Steps, err)
	}
	// A wrong alert is cancelled by one person at once.
	if p, err := mx.Cancel(ctx, mx.as("chief"), id, &formatv1.Cancellation{Reason: "ERROR"}); err != nil || p.State != message.AlertCancelled {
		t.Errorf("cancelled: %+v, %v", p, err)
	}
}

// TestGateIsAsked: every call names its action and shows the gate the item: with the draft's own author and state where it
// is about what is drafted.
func TestGateIsAsked(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police()), w.join("jm", police())
	mx.fourEyes = true
	mx.start()
	jm.start()
	g := &recorder{}
	mx.Gate = g
	id, err := mx.Create(ctx, mx.as("writer"), w.composition("Title"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.as("writer"), id)
	w.must(err)
	_, err = mx.Approve(ctx, mx.as("chief"), id, message.Digest{})
	w.must(err)
	_, err = mx.Update(ctx, mx.as("second"), id, w.composition("Title"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.as("second"), id)
	w.must(err)
	_, err = mx.Approve(ctx, mx.as("chief"), id, message.Digest{})
	w.must(err)
	want := []asked{
		{"alert:create", "writer", "DRAFT"}, {"alert:publish", "writer", "DRAFT"}, {"alert:approve", "writer", "PENDING_APPROVAL"},
		{"alert:update", "writer", "ISSUED"}, {"alert:publish", "second", "DRAFT"}, {"alert:approve", "second", "PENDING_APPROVAL"},
	}
	if len(g.all) != len(want) {
		t.Fatalf("asked: %+v", g.all)
	}
	for i := range want {
		if g.all[i] != want[i] {
			t.Errorf("question %d: %+v, want %+v", i, g.all[i], want[i])
		}
	}
}

// asked is a question to the gate.
type asked struct{ action, author, state string }

type recorder struct{ all []asked }

func (g *recorder) Allow(_ context.Context, _ exchange.Actor, action string, r exchange.Resource) error {
	g.all = append(g.all, asked{action, r.Author, string(r.State)})
	return nil
}

// TestNobodyWithoutCompetence: the directory of now says who issues. Denied "not-competent"; a receiver refuses too.
func TestNobodyWithoutCompetence(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", office{slug: "police", in: []string{"all"}, out: []string{"firearms"}})
	jm := w.join("jm", police())
	mx.start()
	jm.start()
	jm.subscribe(">")
	id, err := mx.Create(ctx, mx.actor(), w.composition("Not ours to say"))
	w.must(err)
	if c, err := mx.Check(ctx, mx.actor(), id); err != nil || message.Sendable(c.Findings) || len(c.Audience) != 1 {
		t.Errorf("checked: %+v, %v", c, err)
	}
	if _, err := mx.Publish(ctx, mx.actor(), id); !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "not-competent" {
		t.Errorf("published: %v", err)
	}
	mx.amend(police())
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	jm.until("issued", id, state(message.AlertIssued))
	// The competence goes: no update any more, but a wrong alert is still called off.
	mx.amend(office{slug: "police", in: []string{"all"}, out: []string{"firearms"}})
	_, err = mx.Update(ctx, mx.actor(), id, w.composition("Still ours?"))
	w.must(err)
	if _, err := mx.Publish(ctx, mx.actor(), id); fault.CodeOf(err) != "not-competent" {
		t.Errorf("updated: %v", err)
	}
	if _, err := mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "ERROR"}); err != nil {
		t.Errorf("cancelled: %v", err)
	}
	jm.until("cancelled", id, state(message.AlertCancelled))
}

// TestRedAndPersons: TLP:RED never goes to a category, a trend never names a person. domain.md 4.4, 4.9.
func TestRedAndPersons(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx := s[0]
	red := w.composition("Red")
	red.Notice.Limits.Tlp = "RED"
	trend := w.composition("Trend")
	trend.Notice.Type = "trend"
	trend.Subjects = []*formatv1.Subject{{Type: "person", Role: "suspect", Reason: "test",
		Attributes: []*formatv1.Attribute{{Name: "name", Value: "Fulano Inventado"}}}}
	for name, c := range map[string]alert.Composition{"red": red, "trend": trend} {
		id, err := mx.Create(ctx, mx.actor(), c)
		w.must(err)
		if _, err := mx.Publish(ctx, mx.actor(), id); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if row := mx.row(id, mx.name); row.State != message.AlertDraft {
			t.Errorf("%s: %+v", name, row)
		}
	}
}

// TestDirected: an alert to named authorities of several nodes is one message with a delivery for each node; it may be RED.
// Update and cancellation go to the same. PROTOCOL 8.1.
func TestDirected(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police(), office{slug: "customs"})
	jm := w.join("jm", police(), office{slug: "customs"})
	bb, gt := w.join("bb", police()), w.join("gt", police())
	for _, s := range []*side{mx, jm, bb, gt} {
		s.start()
	}
	c := w.composition("For your eyes")
	c.Distribution, c.To = message.Directed, []authority.Name{jm.name, jm.office("customs"), bb.name, mx.office("customs")}
	c.Notice.Limits.Tlp = "RED"
	id := mx.issued(c)
	for _, s := range []*side{jm, bb} {
		row := s.until("issued", id, state(message.AlertIssued))
		if row.Distribution != message.Directed {
			t.Errorf("%s: %+v", s.node, row)
		}
	}
	for _, x := range []struct {
		s    *side
		slug string
	}{{jm, "customs"}, {mx, "customs"}} {
		v, err := x.s.Show(ctx, x.s.of(x.slug), id)
		w.must(err)
		if v.Notice.GetTitle() != "For your eyes" {
			t.Errorf("%s: %+v", x.s.node, v)
		}
	}
	if gt.row(id, gt.name).Version != 0 {
		t.Error("an authority that was not named has it")
	}
	w.eventually("both nodes have receipted", func() bool {
		h, err := mx.Holders(ctx, mx.actor(), id)
		w.must(err)
		return len(h) == 2 && h[0].Alert == "RECEIVED" && h[1].Alert == "RECEIVED" && len(h[1].Authorities) == 2
	})
	var m ledger.Message
	w.must(mx.ledger.View(ctx, func(r ledger.Reader) error {
		all, err := r.MessagesOf(id)
		if len(all) != 1 {
			t.Errorf("%d messages, want 1", len(all))
		}
		m = all[0]
		return err
	}))
	if m.Kind != message.KindAlert {
		t.Errorf("kind %s", m.Kind)
	}
	_, err := jm.Feedback(ctx, jm.actor(), id, &formatv1.Feedback{Mark: "NO_HIT"})
	w.must(err)
	_, err = mx.Feedback(ctx, mx.of("customs"), id, &formatv1.Feedback{Mark: "NOT_RELEVANT"}) // on the same node
	w.must(err)
	w.eventually("feedback", func() bool { return mx.events("alert-feedback") >= 2 })
	_, err = mx.Update(ctx, mx.actor(), id, w.composition("More"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	bb.until("updated", id, state(message.AlertUpdated))
	_, err = mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "SUPERSEDED"})
	w.must(err)
	bb.until("superseded", id, state(message.AlertSuperseded))
	if row := mx.row(id, mx.office("customs")); row.State != message.AlertSuperseded {
		t.Errorf("on the issuer's own node: %+v", row)
	}
}

// TestAllNPC: an alert to the national points of contact comes to them without a subscription, and to nobody else.
func TestAllNPC(t *testing.T) {
	w := emptyWorld(t)
	mx := w.join("mx", police())
	jm := w.join("jm", office{slug: "npc", npc: true}, police())
	mx.start()
	jm.start()
	_, err := jm.AddSubscription(context.Background(), jm.of("police"), alert.Wish{Categories: ">"})
	w.must(err)
	c := w.composition("To the points of contact")
	c.Distribution = message.AllNPC
	id := mx.issued(c)
	row := jm.until("issued", id, state(message.AlertIssued))
	if row.Distribution != message.AllNPC {
		t.Errorf("row: %+v", row)
	}
	if row := jm.row(id, jm.office("police")); row.Version != 0 {
		t.Errorf("who is no point of contact has it: %+v", row)
	}
}

// TestExpiry: when the time is over both sides change their row, and the receiver's copy is locked; a node that was off
// ends it at its start.
func TestExpiry(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe("drugs.trafficking")
	c := w.composition("Soon over")
	c.Expires = w.now().Add(2 * time.Hour)
	id := mx.issued(c)
	long := mx.issued(w.composition("Long"))
	jm.until("issued", id, state(message.AlertIssued))
	jm.until("issued", long, state(message.AlertIssued))
	if row := jm.row(long, jm.name); row.Expires.Sub(w.now()) > message.AlertLife || row.Expires.Sub(w.now()) < message.AlertLife-time.Hour {
		t.Errorf("the usual life: until %s", row.Expires)
	}
	jm.stop()
	w.advance(2*time.Hour + time.Second)
	w.must(mx.Expire(ctx))
	jm.restart()
	jm.until("expired", id, state(message.AlertExpired))
	mx.until("expired", id, state(message.AlertExpired))
	if v, err := jm.Show(ctx, jm.actor(), id); err != nil || !v.Locked || v.Notice != nil {
		t.Errorf("an expired alert shows: %+v, %v", v, err)
	}
	if v, err := mx.Show(ctx, mx.actor(), id); err != nil || v.Notice == nil {
		t.Errorf("the issuer sees: %+v, %v", v, err)
	}
	if jm.row(long, jm.name).State != message.AlertIssued || jm.events("alert-expired") != 1 {
		t.Error("the wrong alerts have expired")
	}
	over := w.composition("Never")
	over.Expires = w.now().AddDate(1, 0, 2)
	never, err := mx.Create(ctx, mx.actor(), over)
	w.must(err)
	if _, err := mx.Publish(ctx, mx.actor(), never); !fault.Is(err, fault.Invalid) {
		t.Errorf("a life of more than 12 months: %v", err)
	}
}

// TestExerciseStaysOne: it is kept and shown as what it is.
func TestExerciseStaysOne(t *testing.T) {
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe(">")
	c := w.composition("Drill")
	c.Status = message.Exercise
	id := mx.issued(c)
	row := jm.until("issued", id, state(message.AlertIssued))
	if row.Status != message.Exercise {
		t.Errorf("row: %+v", row)
	}
	// An update cannot make it real.
	_, err := mx.Update(context.Background(), mx.actor(), id, w.composition("Real?"))
	w.must(err)
	_, err = mx.Publish(context.Background(), mx.actor(), id)
	w.must(err)
	if row := jm.until("updated", id, state(message.AlertUpdated)); row.Status != message.Exercise {
		t.Errorf("row: %+v", row)
	}
}

// TestDropped: a draft that was never issued goes without a trace at anybody else.
func TestDropped(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx := s[0]
	id, err := mx.Create(ctx, mx.actor(), w.composition("Draft"))
	w.must(err)
	p, err := mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{})
	w.must(err)
	if p.State != message.AlertCancelled || mx.events("alert-dropped") != 1 {
		t.Errorf("dropped: %+v", p)
	}
	if _, err := mx.Show(ctx, mx.actor(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("shown: %v", err)
	}
}
