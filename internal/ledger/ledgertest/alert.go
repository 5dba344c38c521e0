package ledgertest

import (
	"errors"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// alert is one that has come and is in force.
func (s *suite) alert(own string) ledger.Alert {
	id := s.id()
	return ledger.Alert{
		ID: id, Own: s.name(own), Issuer: s.name("jm/jcf"), Direction: ledger.In, State: message.AlertIssued, Type: "be-on-lookout",
		Category: s.category("drugs.trafficking"), Urgency: message.Urgent, Status: message.Exercise, Distribution: message.ByCategory,
		Reference: "JM-2026-1", Title: "Núñez", Version: 3, Latest: message.Key{Sender: s.name("jm/jcf"), ID: id},
		Ended: message.Key{Sender: s.name("jm/jcf"), ID: s.id()}, Mark: "NO_HIT", Author: "ana", Approver: "rosa", Attachments: 2,
		Created: start, Changed: start.Add(time.Second), Expires: start.Add(time.Hour),
	}
}

// draft has nothing but what a draft has.
func (s *suite) draftAlert(own string) ledger.Alert {
	return ledger.Alert{ID: s.id(), Own: s.name(own), Issuer: s.name(own), Direction: ledger.Out, State: message.AlertDraft}
}

func (s *suite) putAlerts(alerts ...*ledger.Alert) {
	s.Helper()
	written(s, func(t ledger.Tx, a *ledger.Alert) error {
		var err error
		a.Cursor, err = t.PutAlert(*a)
		return err
	}, alerts...)
}

func (s *suite) alerts() {
	one, two, three, draft := s.alert("mx/fgr"), s.alert("mx/fgr"), s.alert("mx/sat"), s.draftAlert("mx/fgr")
	two.Category, two.Type = s.category("drugs"), "warning"
	three.ID, three.Category = one.ID, s.category("drugsx.other")
	s.putAlerts(&one, &two, &three, &draft)
	one.State = message.AlertUpdated
	s.putAlerts(&one)
	same(s, "cursors", []int64{one.Cursor, two.Cursor, three.Cursor, draft.Cursor}, nil, []int64{5, 2, 3, 4})
	s.again()
	s.view(func(r ledger.Reader) error {
		for _, want := range []ledger.Alert{one, two, three, draft} {
			got, err := r.Alert(want.ID, want.Own)
			same(s, "alert", got, err, want)
		}
		list, err := r.AlertsOf(one.ID)
		same(s, "alerts of the conversation", list, err, []ledger.Alert{one, three})
		list, err = r.AlertsSince(2, 10)
		same(s, "changed since 2", list, err, []ledger.Alert{three, draft, one})
		list, err = r.AlertsSince(2, 1)
		same(s, "first changed since 2", list, err, []ledger.Alert{three})
		cursor, err := r.AlertCursor()
		same(s, "cursor", cursor, err, 5)
		cursor, err = r.Cursor()
		same(s, "cursor of cases", cursor, err, 0)
		for what, test := range map[string]struct {
			filter ledger.AlertFilter
			want   []ledger.Alert
		}{
			"all":            {ledger.AlertFilter{}, []ledger.Alert{one, draft, three, two}},
			"own":            {ledger.AlertFilter{Own: three.Own}, []ledger.Alert{three}},
			"out":            {ledger.AlertFilter{Direction: ledger.Out}, []ledger.Alert{draft}},
			"in":             {ledger.AlertFilter{Direction: ledger.In}, []ledger.Alert{one, three, two}},
			"drafts":         {ledger.AlertFilter{State: message.AlertDraft}, []ledger.Alert{draft}},
			"drafts in":      {ledger.AlertFilter{State: message.AlertDraft, Direction: ledger.In}, nil},
			"pending":        {ledger.AlertFilter{State: message.AlertPending}, nil},
			"state":          {ledger.AlertFilter{State: message.AlertIssued}, []ledger.Alert{three, two}},
			"type":           {ledger.AlertFilter{Type: "warning"}, []ledger.Alert{two}},
			"group":          {ledger.AlertFilter{Category: "drugs"}, []ledger.Alert{one, two}},
			"category":       {ledger.AlertFilter{Category: "drugs.trafficking"}, []ledger.Alert{one}},
			"half a name":    {ledger.AlertFilter{Category: "drugs.traffic"}, nil},
			"second page":    {ledger.AlertFilter{Limit: 1, BeforeCursor: 5}, []ledger.Alert{draft}},
			"page of drafts": {ledger.AlertFilter{Direction: ledger.Out, BeforeCursor: 4}, nil},
			"everything": {ledger.AlertFilter{Own: one.Own, Direction: one.Direction, State: one.State, Type: one.Type,
				Category: "drugs", Limit: 5, BeforeCursor: 6}, []ledger.Alert{one}},
		} {
			got, err := r.Alerts(test.filter)
			same(s, what, got, err, test.want)
		}
		_, err = r.Alert(one.ID, s.name("mx/other"))
		s.is("another's alert", err, fault.NotFound, "")
		return nil
	})
	// The counts go on apart, also after opening again.
	c := s.aCase("mx/fgr")
	s.put(&c)
	s.putAlerts(&two)
	same(s, "cursors", []int64{c.Cursor, two.Cursor}, nil, []int64{1, 6})
}

func (s *suite) deleteAlert() {
	one, draft := s.alert("mx/fgr"), s.draftAlert("mx/fgr")
	s.putAlerts(&one, &draft)
	remove := func(a ledger.Alert) error {
		return s.tries(func(t ledger.Tx) error { return t.DeleteAlert(a.ID, a.Own) })
	}
	s.must(remove(draft))
	s.must(remove(draft))
	s.is("issued alert", remove(one), fault.Conflict, "issued")
	gone := s.alert("mx/fgr")
	gone.State, gone.Version, gone.Latest = message.AlertCancelled, 0, message.Key{}
	s.putAlerts(&gone)
	s.is("cancelled alert", remove(gone), fault.Conflict, "issued")

	last := s.draftAlert("mx/fgr")
	last.State = message.AlertPending
	s.putAlerts(&last)
	s.must(remove(last))
	// The number of a deleted alert is not given again: who has seen it would miss the change.
	s.again()
	s.view(func(r ledger.Reader) error {
		_, err := r.Alert(last.ID, last.Own)
		s.is("deleted", err, fault.NotFound, "")
		cursor, err := r.AlertCursor()
		same(s, "cursor", cursor, err, 4)
		return nil
	})
	s.putAlerts(&one)
	same(s, "cursor after it", one.Cursor, nil, 5)
}

func (s *suite) expiry() {
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	alert := func(state message.AlertState, expires time.Time) ledger.Alert {
		a := s.alert("mx/fgr")
		a.State, a.Expires = state, expires
		return a
	}
	late, early, never := alert(message.AlertUpdated, at(9)), alert(message.AlertIssued, at(5)), alert(message.AlertIssued, time.Time{})
	over, pending := alert(message.AlertExpired, at(1)), alert(message.AlertPending, at(1))
	s.putAlerts(&late, &early, &never, &over, &pending)
	s.view(func(r ledger.Reader) error {
		list, err := r.AlertsExpired(at(9), 10)
		same(s, "expired", list, err, []ledger.Alert{early, late})
		list, err = r.AlertsExpired(at(9), 1)
		same(s, "first expired", list, err, []ledger.Alert{early})
		list, err = r.AlertsExpired(at(5).Add(-time.Millisecond), 10)
		same(s, "expired before all", len(list), err, 0)
		next, err := r.NextExpiry()
		same(s, "next expiry", next, err, at(5))
		return nil
	})
	early.State, late.State = message.AlertExpired, message.AlertSuperseded
	s.putAlerts(&early, &late)
	s.view(func(r ledger.Reader) error {
		next, err := r.NextExpiry()
		same(s, "next expiry when all are over", next, err, time.Time{})
		return nil
	})
}

func (s *suite) alertsIn() {
	a, own := s.alert("mx/fgr"), s.alert("mx/fgr")
	own.Direction, own.Issuer = ledger.Out, own.Own
	s.putAlerts(&a, &own)
	drugs, arms := s.category("drugs.trafficking"), s.category("arms.trafficking")
	in := func(state string, category authority.Category, want bool) {
		s.Helper()
		s.view(func(r ledger.Reader) error {
			got, err := r.AlertsIn(s.state(state), category)
			same(s, "alerts in force from "+state+" in "+category.String(), got, err, want)
			return nil
		})
	}
	in("jm", drugs, true)
	in("jm", arms, false)
	in("jm", drugs.Group(), false)
	in("mx", drugs, false)
	in("gt", drugs, false)
	a.State = message.AlertCancelled
	s.putAlerts(&a)
	in("jm", drugs, false)
}

func (s *suite) subscriptions() {
	full := ledger.Subscription{
		ID: s.id(), Own: s.name("mx/sat"), Categories: "drugs.>", Types: []string{"be-on-lookout", "warning"},
		States: []authority.State{s.state("jm"), s.state("gt")}, Urgency: message.Urgent, Status: "PENDING_APPROVAL", Author: "ana", Created: start,
	}
	least, next := ledger.Subscription{ID: s.id(), Own: s.name("mx/fgr")}, ledger.Subscription{ID: s.id(), Own: s.name("mx/fgr")}
	written(s, ledger.Tx.PutSubscription, full, next, least)
	full.Status, full.Types = "ACTIVE", []string{"warning"}
	written(s, ledger.Tx.PutSubscription, full)
	s.again()
	s.view(func(r ledger.Reader) error {
		list, err := r.Subscriptions()
		same(s, "subscriptions", list, err, []ledger.Subscription{least, next, full})
		got, err := r.Subscription(full.ID)
		same(s, "subscription", got, err, full)
		return nil
	})
	written(s, ledger.Tx.DeleteSubscription, full.ID, full.ID)
	s.view(func(r ledger.Reader) error {
		_, err := r.Subscription(full.ID)
		s.is("deleted subscription", err, fault.NotFound, "")
		return nil
	})
}

func (s *suite) nudges() {
	nudge := func(own string, next time.Time) ledger.Nudge {
		return ledger.Nudge{Alert: s.id(), Own: s.name(own), Next: next}
	}
	late, early, done := nudge("mx/fgr", start.Add(time.Hour)), nudge("mx/fgr", start), nudge("mx/fgr", start)
	twin := late
	twin.Own = s.name("mx/sat")
	written(s, ledger.Tx.PutNudge, late, early, done, twin)
	late.Sent, late.First, late.LastError, late.Next = 2, start, "refused", start.Add(time.Minute)
	done.Next = time.Time{}
	written(s, ledger.Tx.PutNudge, late, done)
	s.again()
	s.view(func(r ledger.Reader) error {
		list, err := r.NudgesDue(twin.Next, 10)
		same(s, "due", list, err, []ledger.Nudge{early, late, twin})
		list, err = r.NudgesDue(twin.Next, 1)
		same(s, "first due", list, err, []ledger.Nudge{early})
		list, err = r.NudgesDue(late.Next, 10)
		same(s, "due until the second", list, err, []ledger.Nudge{early, late})
		next, err := r.NextNudge()
		same(s, "next nudge", next, err, start)
		return nil
	})
	s.update(func(t ledger.Tx) error {
		return errors.Join(t.DeleteNudge(early.Alert, early.Own), t.DeleteNudge(early.Alert, early.Own), t.DeleteNudge(late.Alert, late.Own))
	})
	s.view(func(r ledger.Reader) error {
		list, err := r.NudgesDue(twin.Next, 10)
		same(s, "due after deleting", list, err, []ledger.Nudge{twin})
		return nil
	})
}

// alertFailure: nothing of a failed transaction stays, nor any number it has taken.
func (s *suite) alertFailure() {
	spoiled := errors.New("second thoughts")
	a, l, f := s.alert("mx/fgr"), s.link(1, 1), ledger.Following{Chain: s.chain("jm/node/primary", 1), Rule: "category"}
	all := func(t ledger.Tx, err error) error {
		_, errAlert := t.PutAlert(a)
		_, errLink := t.PutLink(l)
		return errors.Join(errAlert, errLink, t.PutFollowing(f), t.PutEntry(s.entry(f.Chain, 1)), t.SetBusCursor(9), err)
	}
	if err := s.tries(func(t ledger.Tx) error { return all(t, spoiled) }); !errors.Is(err, spoiled) {
		s.Errorf("update = %v, want its own error", err)
	}
	s.view(func(r ledger.Reader) error {
		_, errAlert := r.Alert(a.ID, a.Own)
		_, errLink := r.Link(l.Audience, 1)
		_, errFollowing := r.Following(f.Chain)
		_, errEntry := r.Entry(f.Chain, 1)
		for what, err := range map[string]error{"alert": errAlert, "link": errLink, "following": errFollowing, "entry": errEntry} {
			s.is(what+" of a failed transaction", err, fault.NotFound, "")
		}
		cursor, err := r.BusCursor()
		same(s, "bus cursor", cursor, err, 0)
		return nil
	})
	other := ledger.Following{Chain: s.chain("gt/node/primary", 1), Rule: "all-npc"}
	written(s, ledger.Tx.PutFollowing, other)
	s.update(func(t ledger.Tx) error { return all(t, nil) })
	s.view(func(r ledger.Reader) error {
		got, err := r.Alert(a.ID, a.Own)
		same(s, "cursor", got.Cursor, err, 1)
		for _, want := range []ledger.Following{f, other} {
			got, err := r.Following(want.Chain)
			same(s, "following", got, err, want)
		}
		_, err = r.Entry(other.Chain, 1)
		s.is("entry of the other chain", err, fault.NotFound, "")
		return nil
	})
}

// noAlerts is a ledger in which none of it is: lists are empty, times and sums zero.
func (s *suite) noAlerts() {
	node, name, id, chain := s.node("jm/node/primary"), s.name("mx/fgr"), s.id(), s.chain("jm/node/primary", 1)
	key, digest := message.Key{Sender: name, ID: id}, message.Digest{1}
	s.view(func(r ledger.Reader) error {
		for what, read := range map[string]func() (int, error){
			"broadcasts":    func() (int, error) { return count(r.Broadcasts()) },
			"links of":      func() (int, error) { return count(r.LinksOf(key)) },
			"links":         func() (int, error) { return count(r.Links(digest, 0, 1)) },
			"links after":   func() (int, error) { return count(r.LinksAfter(0, 1)) },
			"members":       func() (int, error) { return count(r.Members(digest)) },
			"members due":   func() (int, error) { return count(r.MembersDue(start, 1)) },
			"members of":    func() (int, error) { return count(r.MembersOf(node)) },
			"following of":  func() (int, error) { return count(r.FollowingOf(node)) },
			"entries":       func() (int, error) { return count(r.Entries(chain, 0, 1)) },
			"indexes":       func() (int, error) { return count(r.Indexes(chain, 0, 1)) },
			"held":          func() (int, error) { return count(r.HeldFor(node, digest, 0, 1)) },
			"publishers":    func() (int, error) { return count(r.HeldPublishers()) },
			"proofs":        func() (int, error) { return count(r.Proofs(1)) },
			"alerts of":     func() (int, error) { return count(r.AlertsOf(id)) },
			"alerts":        func() (int, error) { return count(r.Alerts(ledger.AlertFilter{})) },
			"alerts since":  func() (int, error) { return count(r.AlertsSince(0, 1)) },
			"expired":       func() (int, error) { return count(r.AlertsExpired(start, 1)) },
			"subscriptions": func() (int, error) { return count(r.Subscriptions()) },
			"nudges":        func() (int, error) { return count(r.NudgesDue(start, 1)) },
		} {
			n, err := read()
			same(s, what, n, err, 0)
		}
		for what, read := range map[string]func() (time.Time, error){"member": r.NextMember, "expiry": r.NextExpiry, "nudge": r.NextNudge} {
			at, err := read()
			same(s, "next "+what, at, err, time.Time{})
		}
		for what, read := range map[string]func() (int64, error){"bus": r.BusCursor, "alerts": r.AlertCursor} {
			cursor, err := read()
			same(s, "cursor of "+what, cursor, err, 0)
		}
		bytes, err := r.HeldBytes(node)
		same(s, "held bytes", bytes, err, 0)
		_, errControl := r.Control(node, id)
		s.is("control", errControl, fault.NotFound, "")
		_, errSubscription := r.Subscription(id)
		s.is("subscription", errSubscription, fault.NotFound, "")
		return nil
	})
}

func count[T any](list []T, err error) (int, error) { return len(list), err }
