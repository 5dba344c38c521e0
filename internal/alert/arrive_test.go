package alert_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

const subject = "alert.drugs.trafficking.routine.mx"

// frames are those of an alert's messages in the order they were made.
func (s *side) frames(id message.ID) [][]byte {
	s.w.t.Helper()
	var out [][]byte
	s.w.must(s.ledger.View(context.Background(), func(r ledger.Reader) error {
		all, err := r.MessagesOf(id)
		for _, m := range all {
			if err == nil {
				m, err = r.Message(m.Key)
				out = append(out, m.Envelope)
			}
		}
		return err
	}))
	return out
}

// told makes an alert of three messages, alert, update and cancellation, that the second side has the key for and has not
// got; the issuer is off then.
func told(t *testing.T, cancel bool) (w *world, jm *side, id message.ID, frames [][]byte) {
	t.Helper()
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe("drugs.>")
	before := mx.issued(w.composition("Before"))
	jm.until("issued", before, state(message.AlertIssued))
	jm.stop()
	id = mx.issued(w.composition("First"))
	_, err := mx.Update(ctx, mx.actor(), id, w.composition("Second"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	if cancel {
		_, err = mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "ERROR"})
		w.must(err)
	}
	frames = mx.frames(id)
	mx.stop()
	jm.restart()
	return w, jm, id, frames
}

// TestCancellationOvertakes: it leaves a row of version 0; what comes after it is kept and locked.
func TestCancellationOvertakes(t *testing.T) {
	ctx := context.Background()
	w, jm, id, frames := told(t, true)
	w.must(jm.road.Take(ctx, subject, frames[2]))
	row := jm.row(id, jm.name)
	if row.State != message.AlertCancelled || row.Version != 0 || row.Title != "" {
		t.Fatalf("after the cancellation: %+v", row)
	}
	if _, err := jm.Feedback(ctx, jm.actor(), id, &formatv1.Feedback{Mark: "HIT"}); fault.CodeOf(err) != "wrong-state" {
		t.Errorf("feedback to what has not come: %v", err)
	}
	jm.restart()
	w.must(jm.road.Take(ctx, subject, frames[0]))
	w.must(jm.road.Take(ctx, subject, frames[1]))
	row = jm.row(id, jm.name)
	if row.State != message.AlertCancelled || row.Version == 0 || row.Title != "" || row.Type != "modus-operandi" {
		t.Errorf("after the alert: %+v", row)
	}
	v, err := jm.Show(ctx, jm.actor(), id)
	w.must(err)
	if !v.Locked || v.Notice != nil || len(v.Steps) != 3 || v.Mark != "" {
		t.Errorf("shown: %+v", v)
	}
}

// TestUpdatesOutOfOrder: the highest version counts, and what is older changes nothing.
func TestUpdatesOutOfOrder(t *testing.T) {
	ctx := context.Background()
	w, jm, id, frames := told(t, true)
	w.must(jm.road.Take(ctx, subject, frames[1]))
	row := jm.row(id, jm.name)
	if row.State != message.AlertUpdated || row.Version != 2 || row.Title != "Second" {
		t.Fatalf("after the update: %+v", row)
	}
	w.must(jm.road.Take(ctx, subject, frames[0]))
	if again := jm.row(id, jm.name); again != row {
		t.Errorf("after the first version: %+v, was %+v", again, row)
	}
	if v, err := jm.Show(ctx, jm.actor(), id); err != nil || v.Notice.GetTitle() != "Second" {
		t.Errorf("shown: %+v, %v", v, err)
	}
	w.must(jm.road.Take(ctx, subject, frames[2]))
	if row := jm.row(id, jm.name); row.State != message.AlertCancelled || row.Version != 2 {
		t.Errorf("after the cancellation: %+v", row)
	}
}

// forge publishes a message of the side's authority that no desk would make.
func (s *side) forge(kind message.Kind, conversation, inReplyTo message.ID, item string, body proto.Message) message.Key {
	w := s.w
	w.t.Helper()
	ctx := context.Background()
	ready, err := s.road.Prepare(ctx, category(w.t, "drugs.trafficking"), directory.ByCategory, nil)
	w.must(err)
	id, err := message.NewID(w.now(), rand.Reader)
	w.must(err)
	sign, err := s.ring.Public(keyring.AuthoritySign(s.name))
	w.must(err)
	it, err := seal.NewItem(item, body, rand.Reader)
	w.must(err)
	a, err := seal.NewAlert(ctx, seal.AlertDraft{
		Context: message.Context{Network: w.current.Load().NetworkID(), ID: id, Conversation: conversation, InReplyTo: inReplyTo, Kind: kind,
			Sender: s.name, Audience: &ready.Audience, Category: ready.Category, Urgency: message.Routine, Status: message.Actual,
			Created: w.now(), Expires: w.now().Add(24 * time.Hour), Position: ready.Audience.Position, Approval: message.Single,
			Required: []message.RequiredSignature{{Algorithm: authority.Ed25519, Key: sign.Fingerprint()}}},
		Content: seal.Content{Items: []seal.Item{it}},
	}, s.ring, rand.Reader)
	w.must(err)
	w.must(s.ledger.Update(ctx, func(tx ledger.Tx) error { return s.road.Commit(ctx, tx, ready, a) }))
	s.road.Committed(a)
	return a.Header.Key()
}

// refused waits until another node's signed receipt refuses a message.
func (s *side) refused(key message.Key, at authority.Node, code string) {
	s.w.t.Helper()
	s.w.eventually("refusal "+code, func() bool {
		all, err := s.road.Holders(context.Background(), key)
		s.w.must(err)
		for _, h := range all {
			if h.Node == at && h.State == broadcast.Received {
				s.w.t.Fatalf("%s took what it should refuse as %s", at, code)
			}
			if h.Node == at && h.State == broadcast.Refused {
				if h.Code != code {
					s.w.t.Fatalf("refused as %s, want %s", h.Code, code)
				}
				return true
			}
		}
		return false
	})
}

// TestForeignMessages: only its issuer moves an alert. A fellow member who knows its name cannot update or cancel it, take
// its name, nor keep it out by a cancellation that comes first. PROTOCOL 8.4.
func TestForeignMessages(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm", "bb")
	mx, jm, bb := s[0], s[1], s[2]
	jm.subscribe("drugs.>")
	id := mx.issued(w.composition("True"))
	before := jm.until("issued", id, state(message.AlertIssued))
	first := before.Latest.ID
	forged := bb.forge(message.KindAlertCancel, id, first, "cancellation", &formatv1.Cancellation{Reason: "ERROR", Version: 1})
	bb.refused(forged, jm.node, "not-issuer")
	forged = bb.forge(message.KindAlertUpdate, id, first, "alert", &formatv1.AlertNotice{Title: "False", Type: "threat", Version: 2})
	bb.refused(forged, jm.node, "not-issuer")
	forged = bb.forge(message.KindAlert, id, message.ID{}, "alert", &formatv1.AlertNotice{Title: "False", Type: "threat", Version: 1})
	bb.refused(forged, jm.node, "not-issuer")
	if row := jm.row(id, jm.name); row != before {
		t.Errorf("the row has changed: %+v", row)
	}

	next, err := mx.Create(ctx, mx.actor(), w.composition("Next"))
	w.must(err)
	forged = bb.forge(message.KindAlertCancel, next, first, "cancellation", &formatv1.Cancellation{Reason: "ERROR", Version: 1})
	bb.refused(forged, jm.node, "not-issuer")
	forged = bb.forge(message.KindAlert, next, message.ID{}, "alert", &formatv1.AlertNotice{Title: "False", Type: "threat", Version: 1})
	bb.refused(forged, jm.node, "not-issuer")
	_, err = mx.Publish(ctx, mx.actor(), next)
	w.must(err)
	row := jm.until("the alert itself", next, state(message.AlertIssued))
	if row.Issuer != mx.name || row.Title != "Next" {
		t.Errorf("row: %+v", row)
	}
}

// TestHostileContent: what no issuer may send is refused with a code, whoever signed it. PROTOCOL 8.4.
func TestHostileContent(t *testing.T) {
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe("drugs.>")
	mx.road.Attach(anything{})
	fresh := func() message.ID {
		id, err := message.NewIDOf(mx.name, w.now(), rand.Reader)
		w.must(err)
		return id
	}
	for _, c := range []struct {
		kind message.Kind
		item string
		body proto.Message
		code string
	}{
		{message.KindAlert, "alert", &formatv1.AlertNotice{Type: "threat", Version: 1, Limits: &formatv1.Limits{Tlp: "RED"}}, "tlp-red"},
		{message.KindAlert, "alert", &formatv1.AlertNotice{Type: "threat", Version: 2}, "malformed"},
		{message.KindAlertUpdate, "alert", &formatv1.AlertNotice{Type: "threat", Version: 1}, "malformed"},
		{message.KindAlert, "cancellation", &formatv1.Cancellation{Reason: "ERROR", Version: 1}, "wrong-item"},
		{message.KindAlertCancel, "cancellation", &formatv1.Cancellation{Reason: "BECAUSE", Version: 1}, "malformed"},
	} {
		inReplyTo := message.ID{}
		if c.kind != message.KindAlert {
			inReplyTo = fresh()
		}
		mx.refused(mx.forge(c.kind, fresh(), inReplyTo, c.item, c.body), jm.node, c.code)
	}
}

// anything is the inbox of a hostile node.
type anything struct{}

func (anything) Wants(directory.Rule, message.Subject) bool { return true }
func (anything) Examine(seal.Alert) string                  { return "" }
func (anything) Place(ledger.Tx, seal.Alert) error          { return nil }
func (anything) Stored(seal.Alert)                          {}

// TestDirectedFromTheIncompetent: the receiver of a directed alert asks the directory of now too.
func TestDirectedFromTheIncompetent(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", office{slug: "police", in: []string{"all"}}), w.join("jm", police())
	mx.start()
	jm.start()
	id, err := message.NewIDOf(mx.name, w.now(), rand.Reader)
	w.must(err)
	item, err := seal.NewItem("alert", &formatv1.AlertNotice{Type: "threat", Version: 1}, rand.Reader)
	w.must(err)
	p, err := mx.exchange.Compose(ctx, exchange.Outgoing{From: mx.name, To: []authority.Name{jm.name}, Kind: message.KindAlert, Conversation: id,
		Category: category(t, "drugs.trafficking"), Urgency: message.Routine, Status: message.Actual, Approval: message.Single, Items: []seal.Item{item}})
	w.must(err)
	w.must(mx.ledger.Update(ctx, func(tx ledger.Tx) error { return mx.exchange.Commit(tx, mx.actor(), p) }))
	mx.exchange.Told(p)
	w.eventually("a rejection", func() bool {
		var rows []ledger.Delivery
		w.must(mx.ledger.View(ctx, func(r ledger.Reader) error {
			rows, err = r.DeliveriesOf(p.Header().Key())
			return err
		}))
		return rows[0].State == ledger.Rejected && rows[0].LastError == "not-competent"
	})
	if jm.row(id, jm.name).Version != 0 {
		t.Error("the alert was placed")
	}
}

// TestNotEntitledAnyMore: whoever leaves the audience is told at the next update, without content; on return it sees the
// version after that. DESIGN 8 (update and cancel).
func TestNotEntitledAnyMore(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm", "bb")
	mx, jm, bb := s[0], s[1], s[2]
	jm.subscribe("drugs.>")
	bb.subscribe("drugs.>")
	id := mx.issued(w.composition("First"))
	jm.until("issued", id, state(message.AlertIssued))
	bb.until("issued", id, state(message.AlertIssued))
	jm.amend(office{slug: "police", in: []string{"firearms"}})
	update := func(title string) {
		_, err := mx.Update(ctx, mx.actor(), id, w.composition(title))
		w.must(err)
		_, err = mx.Publish(ctx, mx.actor(), id)
		w.must(err)
	}
	update("Second")
	bb.until("updated", id, state(message.AlertUpdated))
	jm.until("withdrawn", id, state(message.AlertCancelled))
	v, err := jm.Show(ctx, jm.actor(), id)
	w.must(err)
	if !v.Locked || v.Notice != nil || v.Title != "First" || v.Steps[len(v.Steps)-1].Cancellation.GetReason() != "NOT_ENTITLED" {
		t.Errorf("shown: %+v", v)
	}
	w.eventually("the issuer knows that it was told", func() bool {
		all, err := mx.Holders(ctx, mx.actor(), id)
		w.must(err)
		for _, h := range all {
			if h.Node == jm.node {
				return h.Latest == "RECEIVED"
			}
		}
		return false
	})
	update("Third")
	bb.until("updated again", id, func(a ledger.Alert) bool { return a.Version == 3 })
	if n := len(jm.frames(id)); n != 2 {
		t.Errorf("%d messages came to who is not entitled, want the alert and one word of its end", n)
	}
	jm.amend(police())
	update("Fourth")
	row := jm.until("entitled again", id, func(a ledger.Alert) bool { return a.Version == 4 })
	if row.State != message.AlertUpdated || row.Title != "Fourth" {
		t.Errorf("row: %+v", row)
	}
	if p, err := mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "RESOLVED"}); err != nil || p.Audience != 2 {
		t.Errorf("cancelled: %+v, %v", p, err)
	}
	jm.until("cancelled", id, state(message.AlertCancelled))
}

// TestNotEntitledAnyMoreOnOneNode: of two authorities of a node one loses its competence; the update comes to the node for
// the other and is not for its eyes.
func TestNotEntitledAnyMoreOnOneNode(t *testing.T) {
	ctx := context.Background()
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
	_, err = mx.Update(ctx, mx.actor(), id, w.composition("Second"))
	w.must(err)
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	jm.until("updated", id, state(message.AlertUpdated))
	v, err := jm.Show(ctx, jm.of("customs"), id)
	w.must(err)
	if v.State != message.AlertCancelled || !v.Locked || v.Notice != nil || v.Title != "First" {
		t.Errorf("shown to who is not entitled: %+v", v)
	}
}
