package alert_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// TestOnlyTheIssuerWrites: whoever has received an alert, on the issuer's own node or elsewhere, neither sees nor touches
// what is being written of it; and what they hold stays readable. PROTOCOL 8.4.
func TestOnlyTheIssuerWrites(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police(), office{slug: "customs", in: []string{"all"}, out: []string{"all"}}), w.join("jm", police())
	mx.fourEyes = true
	mx.start()
	jm.start()
	customs := mx.of("customs")
	sub, err := mx.AddSubscription(ctx, customs, alert.Wish{Categories: ">"})
	w.must(err)
	_, err = mx.ApproveSubscription(ctx, exchange.Actor{Account: "chief", Authority: customs.Authority}, sub.ID)
	w.must(err)
	jm.subscribe(">")
	id, err := mx.Create(ctx, mx.as("writer"), w.composition("First"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.as("writer"), id)
	w.must(err)
	_, err = mx.Approve(ctx, mx.as("chief"), id, message.Digest{})
	w.must(err)
	jm.until("issued", id, state(message.AlertIssued))
	_, err = mx.Update(ctx, mx.as("writer"), id, w.composition("Second"))
	w.must(err)
	for _, who := range []struct {
		*side
		a exchange.Actor
	}{{mx, customs}, {jm, jm.actor()}} {
		for name, call := range map[string]func() error{
			"check":  func() error { _, err := who.Check(ctx, who.a, id); return err },
			"update": func() error { _, err := who.Update(ctx, who.a, id, w.composition("Mine")); return err },
			"file": func() error {
				_, err := who.AddFile(ctx, who.a, id, &formatv1.AttachmentNote{Name: "x"}, bytes.NewReader([]byte("x")))
				return err
			},
			"publish": func() error { _, err := who.Publish(ctx, who.a, id); return err },
			"return":  func() error { _, err := who.Return(ctx, who.a, id, "no"); return err },
			"approve": func() error { _, err := who.Approve(ctx, who.a, id, message.Digest{}); return err },
		} {
			if err := call(); !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "not-issuer" {
				t.Errorf("%s by %s: %v", name, who.a.Authority, err)
			}
		}
		if v, err := who.Show(ctx, who.a, id); err != nil || v.Notice.GetTitle() != "First" || v.Unreadable != "" {
			t.Errorf("%s reads %+v, %v", who.a.Authority, v, err)
		}
	}
	if v, err := mx.Show(ctx, mx.actor(), id); err != nil || v.Draft == nil || v.Draft.Notice.GetTitle() != "Second" || len(v.Draft.Attached) != 0 {
		t.Errorf("the issuer's draft: %+v, %v", v.Draft, err)
	}
}

// TestNothingReplacesAnIssuersRow: neither a frame of another authority of the node, nor a draft under another's name.
func TestNothingReplacesAnIssuersRow(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police(), office{slug: "customs", in: []string{"all"}, out: []string{"all"}})
	mx.start()
	id := mx.issued(w.composition("Mine"))
	before := mx.row(id, mx.name)
	item, err := seal.NewItem("alert", &formatv1.AlertNotice{Type: "threat", Title: "False", Version: 1}, bytes.NewReader(make([]byte, 64)))
	w.must(err)
	h := message.Header{}
	h.ID, h.Conversation, h.Kind, h.Sender = id, id, message.KindAlert, mx.office("customs")
	h.Category, h.Created, h.Expires = category(t, "drugs.trafficking"), w.now(), before.Expires
	h.Recipients = []message.Recipient{{Authority: mx.name}}
	w.must(mx.ledger.Update(ctx, func(tx ledger.Tx) error {
		_, err := mx.Admit(tx, h, seal.Content{Items: []seal.Item{item}}, []authority.Name{mx.name})
		return err
	}))
	if row := mx.row(id, mx.name); row != before {
		t.Errorf("the row is %+v, was %+v", row, before)
	}

	own, err := mx.Create(ctx, mx.actor(), w.composition("Draft"))
	w.must(err)
	foreign, err := message.NewIDOf(mx.office("customs"), w.now(), bytes.NewReader(make([]byte, 64)))
	w.must(err)
	w.must(mx.ledger.Update(ctx, func(tx ledger.Tx) error {
		x, err := tx.Draft(own)
		w.must(err)
		x.Conversation = foreign
		w.must(tx.PutDraft(x))
		row, err := tx.Alert(own, mx.name)
		w.must(err)
		row.ID, row.Reference = foreign, row.Reference+"-1"
		_, err = tx.PutAlert(row)
		return err
	}))
	if _, err := mx.Publish(ctx, mx.actor(), foreign); fault.CodeOf(err) != "not-issuer" {
		t.Errorf("published under another authority's name: %v", err)
	}
}

// TestApproverOpensWhatWaits: an update's files are those that are shown to who signs them off, under the same numbers; sent
// back or released, the alert has its issued ones. DESIGN 9.
func TestApproverOpensWhatWaits(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police()), w.join("jm", police())
	mx.fourEyes = true
	mx.start()
	jm.start()
	writer, chief := mx.as("writer"), mx.as("chief")
	attach := func(id message.ID, text string) {
		_, err := mx.AddFile(ctx, writer, id, &formatv1.AttachmentNote{Name: text}, bytes.NewReader([]byte(text)))
		w.must(err)
		_, err = mx.Publish(ctx, writer, id)
		w.must(err)
	}
	opens := func(id message.ID, want string) {
		t.Helper()
		r, f, err := mx.OpenFile(ctx, chief, id, 0)
		if got := w.read(r, err); string(got) != want || f.Note.GetName() != want {
			t.Errorf("opened %q named %q, want %q", got, f.Note.GetName(), want)
		}
	}
	id, err := mx.Create(ctx, writer, w.composition("First"))
	w.must(err)
	attach(id, "old")
	opens(id, "old")
	_, err = mx.Approve(ctx, chief, id, message.Digest{})
	w.must(err)
	_, err = mx.Update(ctx, writer, id, w.composition("Second"))
	w.must(err)
	attach(id, "new")
	opens(id, "new")
	_, err = mx.Return(ctx, chief, id, "not yet")
	w.must(err)
	opens(id, "old")
	_, err = mx.Publish(ctx, writer, id)
	w.must(err)
	_, err = mx.Approve(ctx, chief, id, message.Digest{})
	w.must(err)
	opens(id, "new")
}

// twoPersons is a gate that knows one rule: nobody approves what counts as their own work. domain.md 12.
type twoPersons struct{}

func (twoPersons) Allow(_ context.Context, a exchange.Actor, action string, r exchange.Resource) error {
	if action == "alert:approve" && r.Author == a.Account {
		return fault.New(fault.Denied, "two-persons", "ask", "a second person must")
	}
	return nil
}

// TestWhoHadAHandIsNoSecondPerson: neither who attached a file, nor who submitted, nor still the author.
func TestWhoHadAHandIsNoSecondPerson(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police()), w.join("jm", police())
	mx.fourEyes = true
	mx.start()
	jm.start()
	mx.Gate = twoPersons{}
	id, err := mx.Create(ctx, mx.as("writer"), w.composition("First"))
	w.must(err)
	for range 2 {
		_, err = mx.AddFile(ctx, mx.as("chief"), id, &formatv1.AttachmentNote{Name: "x"}, bytes.NewReader([]byte("x")))
		w.must(err)
	}
	_, err = mx.Publish(ctx, mx.as("clerk"), id)
	w.must(err)
	_, err = mx.Return(ctx, mx.as("third"), id, "again")
	w.must(err)
	_, err = mx.Publish(ctx, mx.as("writer"), id)
	w.must(err)
	for _, who := range []string{"writer", "chief", "clerk"} {
		if _, err := mx.Approve(ctx, mx.as(who), id, message.Digest{}); fault.CodeOf(err) != "two-persons" {
			t.Errorf("approved by %s: %v", who, err)
		}
	}
	mx.Gate = everyone{} // whatever policy allows, the receivers are told the truth
	_, err = mx.Approve(ctx, mx.as("chief"), id, message.Digest{})
	w.must(err)
	if v, err := mx.Show(ctx, mx.actor(), id); err != nil || v.Steps[0].Approval != message.Single {
		t.Errorf("released by who attached a file: %+v, %v", v.Steps, err)
	}
}

// TestRedFiles: a larger file that is TLP:RED goes to no audience, and no receiver takes one. domain.md 4.4, PROTOCOL 8.4.
func TestRedFiles(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	note := &formatv1.AttachmentNote{Name: "x", Limits: &formatv1.Limits{Tlp: "RED"}}
	for distribution, sendable := range map[message.Distribution]bool{message.ByCategory: false, message.AllNPC: false, message.Directed: true} {
		c := w.composition("With a red file")
		c.Distribution = distribution
		if sendable {
			c.To = []authority.Name{jm.name}
		}
		id, err := mx.Create(ctx, mx.actor(), c)
		w.must(err)
		_, err = mx.AddFile(ctx, mx.actor(), id, note, bytes.NewReader([]byte("x")))
		w.must(err)
		found := false
		checked, err := mx.Check(ctx, mx.actor(), id)
		w.must(err)
		for _, f := range checked.Findings {
			found = found || f.Field == "attachments[0].limits.tlp" && f.Level == message.LevelError
		}
		if found == sendable {
			t.Errorf("%s: found %+v", distribution, checked.Findings)
		}
		if _, err := mx.Publish(ctx, mx.actor(), id); sendable != (err == nil) {
			t.Errorf("%s: %v", distribution, err)
		}
	}
	h := message.Header{}
	h.Kind, h.Sender, h.Audience = message.KindAlert, mx.name, &message.Audience{}
	var err error
	h.Conversation, err = message.NewIDOf(mx.name, w.now(), rand.Reader)
	w.must(err)
	var items []seal.Item
	for _, body := range []proto.Message{&formatv1.AlertNotice{Type: "threat", Version: 1}, note} {
		kind := "alert"
		if len(items) > 0 {
			kind = "attachment"
		}
		item, err := seal.NewItem(kind, body, rand.Reader)
		w.must(err)
		items = append(items, item)
	}
	if code := jm.Examine(seal.Alert{Header: h, Content: seal.Content{Items: items}}); code != "tlp-red" {
		t.Errorf("the receiver says %q", code)
	}
}

// TestNewVersionClearsEveryMark: what was said of the old version does not keep the new one from being read and nudged for.
func TestNewVersionClearsEveryMark(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe(">")
	id := mx.issued(w.composition("First"))
	jm.until("issued", id, state(message.AlertIssued))
	_, err := jm.Feedback(ctx, jm.actor(), id, &formatv1.Feedback{Mark: "NO_HIT"})
	w.must(err)
	_, err = mx.Update(ctx, mx.actor(), id, w.composition("Second"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	if row := jm.until("updated", id, state(message.AlertUpdated)); row.Mark != "" {
		t.Errorf("the new version is marked %s", row.Mark)
	}
}

// TestReasonIsBounded: it is kept for ever in the evidence log.
func TestReasonIsBounded(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police()), w.join("jm", police())
	mx.fourEyes = true
	mx.start()
	jm.start()
	id, err := mx.Create(ctx, mx.actor(), w.composition("First"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	if _, err := mx.Return(ctx, mx.actor(), id, strings.Repeat("x", 4<<10+1)); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a reason of more than 4 KiB: %v", err)
	}
	if _, err := mx.Return(ctx, mx.actor(), id, strings.Repeat("x", 4<<10)); err != nil {
		t.Error(err)
	}
}

// TestWordsAfterWithdrawal: what is said of an alert once an authority is entitled no more comes to its node for another, and
// is not for its eyes, whether an update or the cancellation itself finds it so. DESIGN 8 (update and cancel).
func TestWordsAfterWithdrawal(t *testing.T) {
	ctx := context.Background()
	for _, updated := range []bool{true, false} {
		w := emptyWorld(t)
		customs := office{slug: "customs", in: []string{"drugs"}}
		mx, jm := w.join("mx", police()), w.join("jm", police(), customs)
		mx.start()
		jm.start()
		jm.subscribe("drugs.>")
		_, err := jm.AddSubscription(ctx, jm.of("customs"), alert.Wish{Categories: "drugs.trafficking"})
		w.must(err)
		id := mx.issued(w.composition("First"))
		jm.until("issued", id, state(message.AlertIssued))
		customs.in = []string{"firearms"}
		jm.amend(customs)
		if updated {
			_, err = mx.Update(ctx, mx.actor(), id, w.composition("Second"))
			w.must(err)
			_, err = mx.Publish(ctx, mx.actor(), id)
			w.must(err)
		}
		_, err = mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "RESOLVED", Text: "Seized at the port."})
		w.must(err)
		jm.until("cancelled", id, state(message.AlertCancelled))
		v, err := jm.Show(ctx, jm.actor(), id)
		w.must(err)
		if said := v.Steps[len(v.Steps)-1].Cancellation; said.GetText() != "Seized at the port." {
			t.Errorf("who is entitled reads %+v", v.Steps)
		}
		v, err = jm.Show(ctx, jm.of("customs"), id)
		w.must(err)
		if v.State != message.AlertCancelled || !v.Locked || v.Notice != nil {
			t.Errorf("shown to who is not entitled: %+v", v)
		}
		for _, step := range v.Steps {
			if step.Cancellation.GetText() != "" || step.Version > 2 || updated && step.Cancellation.GetReason() == "RESOLVED" {
				t.Errorf("a later step is shown to who is not entitled: %+v", step)
			}
		}
	}
}

// TestWatchOpensTheNewest: a watch is told the last version and the end of an alert; the whole life is for Show.
func TestWatchOpensTheNewest(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe(">")
	id := mx.issued(w.composition("First"))
	_, err := mx.Update(ctx, mx.actor(), id, w.composition("Second"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	jm.until("updated", id, state(message.AlertUpdated))
	_, err = jm.Feedback(ctx, jm.actor(), id, &formatv1.Feedback{Mark: "NO_HIT"})
	w.must(err)
	w.eventually("feedback", func() bool { return mx.events("alert-feedback") > 0 })
	for _, who := range []*side{mx, jm} {
		views, _, err := who.Since(ctx, who.actor(), 0, false, 10)
		w.must(err)
		if len(views) != 1 || len(views[0].Steps) != 1 || views[0].Notice.GetTitle() != "Second" {
			t.Errorf("%s watches %+v", who.node, views)
		}
	}
	if v, err := mx.Show(ctx, mx.actor(), id); err != nil || len(v.Steps) != 3 {
		t.Errorf("shown: %+v, %v", v.Steps, err)
	}
}
