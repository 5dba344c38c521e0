package alert_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/nudge"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// TestClockStep: what a clock that was ahead has ended is in force again when the clock is right, on both sides; and the
// issuer cancels what its own clock says is over.
func TestClockStep(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe(">")
	id := mx.issued(w.composition("Early"))
	jm.until("issued", id, state(message.AlertIssued))
	w.advance(2 * message.AlertLife)
	w.must(mx.Expire(ctx))
	w.must(jm.Expire(ctx))
	if mx.row(id, mx.name).State != message.AlertExpired || jm.row(id, jm.name).State != message.AlertExpired {
		t.Fatal("not expired")
	}
	w.advance(-2 * message.AlertLife)
	w.must(mx.Expire(ctx))
	w.must(jm.Expire(ctx))
	if mx.row(id, mx.name).State != message.AlertIssued || jm.row(id, jm.name).State != message.AlertIssued {
		t.Fatal("a step of the clock has ended the alert for good")
	}
	soon := w.composition("Soon")
	soon.Expires = w.now().Add(time.Hour)
	over := mx.issued(soon)
	w.advance(2 * time.Hour)
	w.must(mx.Expire(ctx))
	if p, err := mx.Cancel(ctx, mx.actor(), over, &formatv1.Cancellation{Reason: "ERROR"}); err != nil || p.Message.IsZero() {
		t.Errorf("cancelled: %+v, %v", p, err)
	}
}

// bar suspends a side's state, and free ends that.
func (w *world) bar(s *side) {
	w.t.Helper()
	payload, err := w.draft().Suspend(directory.OfState(s.name.State()), w.now().Add(240*time.Hour), "test")
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
}

func (w *world) free(s *side) {
	w.t.Helper()
	payload, err := w.draft().Reinstate(directory.OfState(s.name.State()), "test")
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
}

// TestBarredAtTheEnd: who is suspended when an alert is cancelled is told when it is back, by either road, whatever is
// published to its audience between, and after restarts; until then the issuer sees that it was not.
func TestBarredAtTheEnd(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm", "bb")
	mx, jm, bb := s[0], s[1], s[2]
	jm.subscribe("drugs.>")
	bb.subscribe("drugs.>")
	wide := mx.issued(w.composition("Wide"))
	direct := w.composition("Direct")
	direct.Distribution, direct.To = message.Directed, []authority.Name{jm.name}
	narrow := mx.issued(direct)
	jm.until("issued", wide, state(message.AlertIssued))
	jm.until("issued", narrow, state(message.AlertIssued))
	bb.until("issued", wide, state(message.AlertIssued))
	w.bar(jm)
	for _, id := range []message.ID{wide, narrow} {
		_, err := mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "ERROR"})
		w.must(err)
	}
	bb.until("cancelled", wide, state(message.AlertCancelled))
	at := func() alert.Holder {
		all, err := mx.Holders(ctx, mx.actor(), wide)
		w.must(err)
		for _, h := range all {
			if h.Node == jm.node {
				return h
			}
		}
		t.Fatalf("who has it is no holder: %+v", all)
		return alert.Holder{}
	}
	if h := at(); h.Latest != "" {
		t.Errorf("nobody has told it: %+v", h)
	}
	mx.stop()
	w.free(jm)
	mx.restart()
	mx.issued(w.composition("Between")) // by this it is a member again, and its record begins anew
	jm.until("told when it is back", wide, state(message.AlertCancelled))
	jm.until("told when it is back", narrow, state(message.AlertCancelled))
	w.eventually("the issuer knows", func() bool { return at().Latest == "RECEIVED" })
	before := mx.events("alert-withdrawn")
	mx.restart()
	w.bar(bb)
	w.free(bb)
	time.Sleep(300 * time.Millisecond)
	if n := mx.events("alert-withdrawn"); n > before+1 { // bb's own: its receipt for the end is of its membership before
		t.Errorf("told again: %d, then %d", before, n)
	}
}

// TestLeftAgain: left, came back, left again: told each time, and the issuer sees whether.
func TestLeftAgain(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm", "bb")
	mx, jm, bb := s[0], s[1], s[2]
	jm.subscribe(">")
	bb.subscribe(">")
	id := mx.issued(w.composition("First"))
	jm.until("issued", id, state(message.AlertIssued))
	out, in := office{slug: "police", in: []string{"firearms"}}, police()
	update := func(title string) {
		_, err := mx.Update(ctx, mx.actor(), id, w.composition(title))
		w.must(err)
		_, err = mx.Publish(ctx, mx.actor(), id)
		w.must(err)
	}
	latest := func() string {
		all, err := mx.Holders(ctx, mx.actor(), id)
		w.must(err)
		for _, h := range all {
			if h.Node == jm.node {
				return h.Latest
			}
		}
		return "no holder"
	}
	jm.amend(out)
	update("Second")
	jm.until("withdrawn", id, state(message.AlertCancelled))
	jm.amend(in)
	update("Third")
	jm.until("back", id, func(a ledger.Alert) bool { return a.Version == 3 && a.State == message.AlertUpdated })
	jm.amend(out)
	update("Fourth")
	jm.until("withdrawn again", id, state(message.AlertCancelled))
	w.eventually("the issuer knows", func() bool { return latest() == "RECEIVED" })
	jm.amend(in)
	jm.until("issued again to who is back", id, func(a ledger.Alert) bool { return a.Version == 4 && a.State == message.AlertUpdated })
	w.bar(jm)
	_, err := mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "ERROR"})
	w.must(err)
	if got := latest(); got == "RECEIVED" {
		t.Error("a withdrawal of before counts for what came after it")
	}
	w.free(jm)
	jm.until("told of the end", id, state(message.AlertCancelled))
}

// TestCancelOfOthers: what no subscription wanted does not exist, and what another issued is not ours to end.
func TestCancelOfOthers(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police())
	jm := w.join("jm", police(), office{slug: "customs", in: []string{"drugs"}})
	mx.start()
	jm.start()
	jm.subscribe(">")
	id := mx.issued(w.composition("Theirs"))
	jm.until("issued", id, state(message.AlertIssued))
	error := &formatv1.Cancellation{Reason: "ERROR"}
	if _, err := jm.Cancel(ctx, jm.actor(), id, error); fault.CodeOf(err) != "not-issuer" || !fault.Is(err, fault.Denied) {
		t.Errorf("another's alert: %v", err)
	}
	if jm.row(id, jm.office("customs")).State != "UNMATCHED" {
		t.Fatal("no row that nobody sees")
	}
	if _, err := jm.Cancel(ctx, jm.of("customs"), id, error); !fault.Is(err, fault.NotFound) {
		t.Errorf("what nobody is shown: %v", err)
	}
}

// TestLateSubscriptionGoesOn: an alert that cannot be opened keeps no other from a late subscriber, and what its row
// rules out is not opened.
func TestLateSubscriptionGoesOn(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police())
	jm := w.join("jm", police(), office{slug: "customs", in: []string{"drugs"}})
	mx.start()
	jm.start()
	jm.subscribe(">")
	good := mx.issued(w.composition("Good"))
	bad := mx.issued(w.composition("Bad"))
	other := w.composition("Other")
	other.Notice.Type = "threat"
	threat := mx.issued(other)
	for _, id := range []message.ID{good, bad, threat} {
		jm.until("issued", id, state(message.AlertIssued))
	}
	shut := &shutRoad{Road: jm.road, no: jm.row(bad, jm.name).Latest, opened: map[message.Key]int{}}
	jm.Desk.Road = shut
	_, err := jm.AddSubscription(ctx, jm.of("customs"), alert.Wish{Categories: ">", Types: []string{"modus-operandi"}})
	w.must(err)
	w.eventually("the other is shown", func() bool { return jm.row(good, jm.office("customs")).State == message.AlertIssued })
	if n := shut.count(jm.row(threat, jm.name).Latest); n != 0 {
		t.Errorf("an alert of another type was opened %d times", n)
	}
}

// shutRoad counts what is opened, and does not open one alert.
type shutRoad struct {
	alert.Road
	no     message.Key
	mu     sync.Mutex
	opened map[message.Key]int // guarded by mu
}

func (s *shutRoad) Open(ctx context.Context, m ledger.Message) (seal.Alert, error) {
	s.mu.Lock()
	s.opened[m.Key]++
	s.mu.Unlock()
	if m.Key == s.no {
		return seal.Alert{}, fault.New(fault.Internal, "damaged", "open", "it does not open")
	}
	return s.Road.Open(ctx, m)
}

func (s *shutRoad) count(key message.Key) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[key]
}

// TestNudgesTogether: many immediate alerts are one nudge in each interval, a server that does not answer delays no other
// authority's, and what comes after everything was read is told of at once.
func TestNudgesTogether(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police()), w.join("jm", police(), office{slug: "customs", in: []string{"drugs"}})
	desk, dead := mailbox(t, "desk@example.org"), mailbox(t, "dead@example.org")
	p := &deadEnd{phone: &phone{}, no: dead, free: make(chan struct{})}
	jm.sender = p
	jm.targets = []nudge.Target{
		{Authority: jm.name, Desk: nudge.Address{Mail: []nudge.Mailbox{desk}}},
		{Authority: jm.office("customs"), Desk: nudge.Address{Mail: []nudge.Mailbox{dead}}},
	}
	mx.start()
	jm.start()
	defer close(p.free)
	_, err := jm.AddSubscription(ctx, jm.of("customs"), alert.Wish{Categories: ">"})
	w.must(err)
	urgent := func() message.ID {
		c := w.composition("Now")
		c.Urgency, c.Notice.UrgencyReason = message.Immediate, &formatv1.Reason{Code: "THREAT_TO_LIFE"}
		return mx.issued(c)
	}
	urgent()
	w.eventually("the dead server is tried", func() bool { return p.tried() })
	jm.subscribe(">")
	var all []message.ID
	for range 20 {
		all = append(all, urgent())
	}
	for _, id := range all {
		jm.until("issued", id, state(message.AlertIssued))
	}
	w.eventually("one is told", func() bool { return len(p.all()) == 1 })
	time.Sleep(1500 * time.Millisecond)
	if n := len(p.all()); n != 1 {
		t.Errorf("%d nudges at once", n)
	}
	w.advance(nudge.DefaultEscalateAfter + time.Minute)
	w.eventually("told again", func() bool { return len(p.all()) == 2 })
	time.Sleep(1500 * time.Millisecond)
	if n := len(p.all()); n != 2 {
		t.Errorf("%d nudges after the first interval", n)
	}
	var rows []ledger.Alert
	w.must(jm.ledger.View(ctx, func(r ledger.Reader) error {
		rows, err = r.Alerts(ledger.AlertFilter{Own: jm.name})
		return err
	}))
	for _, row := range rows {
		_, err := jm.Show(ctx, jm.actor(), row.ID)
		w.must(err)
	}
	urgent()
	w.eventually("what is new is told of", func() bool { return len(p.all()) == 3 })
}

// deadEnd does not answer for one address.
type deadEnd struct {
	*phone
	no   nudge.Mailbox
	free chan struct{}
	seen atomic.Bool
}

func (p *deadEnd) tried() bool { return p.seen.Load() }

func (p *deadEnd) Send(ctx context.Context, to nudge.Address, n nudge.Notice) (nudge.Address, error) {
	if to.Mail[0] == p.no {
		p.seen.Store(true)
		select {
		case <-ctx.Done():
		case <-p.free:
		}
		return to, fault.New(fault.Retry, "", "send", "no answer")
	}
	return p.phone.Send(ctx, to, n)
}
