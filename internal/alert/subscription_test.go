package alert_test

import (
	"context"
	"slices"
	"testing"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// TestWishes: an alert is shown to who wants it by category, type, urgency and states, and to nobody else.
func TestWishes(t *testing.T) {
	ctx := context.Background()
	ve, err := authority.ParseState("ve")
	if err != nil {
		t.Fatal(err)
	}
	mexico, err := authority.ParseState("mx")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		wish  alert.Wish
		shape func(*alert.Composition)
		want  bool
	}{
		"category":         {alert.Wish{Categories: "drugs.trafficking"}, nil, true},
		"group":            {alert.Wish{Categories: "drugs.>"}, nil, true},
		"all":              {alert.Wish{Categories: ">"}, nil, true},
		"another category": {alert.Wish{Categories: "drugs.manufacture"}, nil, false},
		"type":             {alert.Wish{Categories: ">", Types: []string{"threat", "modus-operandi"}}, nil, true},
		"another type":     {alert.Wish{Categories: ">", Types: []string{"threat"}}, nil, false},
		"not so urgent":    {alert.Wish{Categories: ">", Urgency: message.Urgent}, nil, false},
		"more urgent": {alert.Wish{Categories: ">", Urgency: message.Urgent}, func(c *alert.Composition) {
			c.Urgency, c.Notice.UrgencyReason = message.Immediate, &formatv1.Reason{Code: "THREAT_TO_LIFE"}
		}, true},
		"issuer's state": {alert.Wish{Categories: ">", States: []authority.State{mexico}}, nil, true},
		"another state":  {alert.Wish{Categories: ">", States: []authority.State{ve}}, nil, false},
		"a place": {alert.Wish{Categories: ">", States: []authority.State{ve}}, func(c *alert.Composition) {
			c.Notice.Places = []*formatv1.Place{{State: "ve"}}
		}, true},
		"a subject's country": {alert.Wish{Categories: ">", States: []authority.State{ve}}, func(c *alert.Composition) {
			c.Notice.Type = "stolen-object"
			c.Subjects = []*formatv1.Subject{{Type: "vehicle", Role: "unknown", Attributes: []*formatv1.Attribute{{Name: "plate", Value: "TEST-1", Country: "ve"}}}}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := newWorld(t, "mx", "jm")
			mx, jm := s[0], s[1]
			// Something else of the category is wanted anyway, so that the node takes it.
			_, err := jm.AddSubscription(ctx, jm.actor(), c.wish)
			w.must(err)
			comp := w.composition("Wanted?")
			if c.shape != nil {
				c.shape(&comp)
			}
			id := mx.issued(comp)
			w.eventually("a receipt", func() bool {
				h, err := mx.Holders(ctx, mx.actor(), id)
				w.must(err)
				return len(h) == 1 && (h[0].Alert == "RECEIVED" || h[0].Alert == "PASSED_OVER")
			})
			all, err := jm.List(ctx, jm.actor(), alert.Filter{})
			w.must(err)
			if got := len(all) == 1; got != c.want {
				t.Errorf("shown: %t, want %t", got, c.want)
			}
			if _, err := jm.Show(ctx, jm.actor(), id); (err == nil) != c.want {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// TestWithinCompetence: nobody subscribes beyond what the directory says; a wider wish is clamped; what the directory
// takes away is not matched any more.
func TestWithinCompetence(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police())
	jm := w.join("jm", office{slug: "police", in: []string{"drugs.trafficking", "firearms"}})
	mx.start()
	jm.start()
	for _, categories := range []string{"drugs.manufacture", "cyber.>"} {
		if _, err := jm.AddSubscription(ctx, jm.actor(), alert.Wish{Categories: categories}); !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "not-competent" {
			t.Errorf("%s: %v", categories, err)
		}
	}
	for _, categories := range []string{"drugs", "drugs.trafficking.>", "*", "", "drugs.*", "no-such.>"} {
		if _, err := jm.AddSubscription(ctx, jm.actor(), alert.Wish{Categories: categories}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", categories, err)
		}
	}
	changed := jm.FiltersChanged()
	_, err := jm.AddSubscription(ctx, jm.actor(), alert.Wish{Categories: ">", Urgency: message.Urgent})
	w.must(err)
	<-changed
	if got, want := jm.Filters(), []string{"drugs.trafficking.immediate", "drugs.trafficking.urgent", "firearms.*.immediate", "firearms.*.urgent"}; !slices.Equal(got, want) {
		t.Errorf("filters %v, want %v", got, want)
	}
	jm.subscribe("drugs.>")
	if got := jm.Filters(); len(got) != 5 || !slices.Contains(got, "drugs.trafficking.routine") {
		t.Errorf("filters %v", got)
	}
	id := mx.issued(w.composition("Still"))
	jm.until("issued", id, state(message.AlertIssued))

	changed = jm.FiltersChanged()
	jm.amend(office{slug: "police", in: []string{"firearms"}})
	<-changed
	if got := jm.Filters(); !slices.Equal(got, []string{"firearms.*.immediate", "firearms.*.urgent"}) {
		t.Errorf("filters after the directory's change: %v", got)
	}
	production, err := message.ParseSubject("alert.drugs.manufacture.urgent.bb")
	w.must(err)
	if jm.Wants(directory.ByCategory, production) {
		t.Error("what the directory took away is wanted")
	}
	// The updates of what is in force here are taken, whatever became of the subscription.
	trafficking, err := message.ParseSubject(subject)
	w.must(err)
	if !jm.Wants(directory.ByCategory, trafficking) {
		t.Error("updates of an alert in force are not wanted")
	}
	_, err = mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "RESOLVED"})
	w.must(err)
	jm.until("ended", id, state(message.AlertCancelled))
	w.eventually("nothing in force, nothing wanted", func() bool { return !jm.Wants(directory.ByCategory, trafficking) })
}

// TestTwoPersonsSubscribe: it counts when an approver has confirmed it, and not before.
func TestTwoPersonsSubscribe(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police()), w.join("jm", police(), office{slug: "customs", in: []string{"drugs"}})
	jm.fourEyes = true
	mx.start()
	jm.start()
	sub, err := jm.AddSubscription(ctx, jm.as("writer"), alert.Wish{Categories: "drugs.>"})
	w.must(err)
	if sub.Status != "PENDING_APPROVAL" || len(jm.Filters()) != 0 {
		t.Errorf("before the approval: %+v, %v", sub, jm.Filters())
	}
	if _, err := jm.ApproveSubscription(ctx, jm.of("customs"), sub.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("approved by another authority: %v", err)
	}
	sub, err = jm.ApproveSubscription(ctx, jm.as("chief"), sub.ID)
	w.must(err)
	if sub.Status != "ACTIVE" || len(jm.Filters()) != 3 {
		t.Errorf("after the approval: %+v, %v", sub, jm.Filters())
	}
	if _, err := jm.ApproveSubscription(ctx, jm.as("chief"), sub.ID); fault.CodeOf(err) != "wrong-state" {
		t.Errorf("approved twice: %v", err)
	}
	id := mx.issued(w.composition("Title"))
	jm.until("issued", id, state(message.AlertIssued))
	all, err := jm.Subscriptions(ctx, jm.actor())
	w.must(err)
	if len(all) != 1 || jm.events("subscription-added") != 1 || jm.events("subscription-approved") != 1 {
		t.Errorf("subscriptions: %+v", all)
	}
	if other, err := jm.Subscriptions(ctx, jm.of("customs")); err != nil || len(other) != 0 {
		t.Errorf("of another authority: %+v, %v", other, err)
	}
	w.must(jm.RemoveSubscription(ctx, jm.actor(), sub.ID))
	if len(jm.Filters()) != 0 || jm.row(id, jm.name).State != message.AlertIssued {
		t.Error("a subscription's end took the alert with it, or is not seen by the bus")
	}
}

// TestLateSubscription: alerts in force that are stored here are shown to who wants them later, once; what was called off
// is not.
func TestLateSubscription(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police(), office{slug: "customs", in: []string{"all"}})
	jm := w.join("jm", police(), office{slug: "customs", in: []string{"drugs"}})
	mx.start()
	jm.start()
	jm.subscribe("drugs.>")
	id := mx.issued(w.composition("Kept"))
	gone := mx.issued(w.composition("Gone"))
	jm.until("issued", id, state(message.AlertIssued))
	jm.until("issued", gone, state(message.AlertIssued))
	_, err := mx.Cancel(ctx, mx.actor(), gone, &formatv1.Cancellation{Reason: "ERROR"})
	w.must(err)
	jm.until("cancelled", gone, state(message.AlertCancelled))
	customs := jm.of("customs")
	if all, err := jm.List(ctx, customs, alert.Filter{}); err != nil || len(all) != 0 {
		t.Errorf("shown before the subscription: %+v, %v", all, err)
	}
	jm.restart()
	_, err = jm.AddSubscription(ctx, customs, alert.Wish{Categories: "drugs.>", Types: []string{"modus-operandi"}})
	w.must(err)
	_, err = mx.AddSubscription(ctx, mx.of("customs"), alert.Wish{Categories: ">"})
	w.must(err)
	for _, s := range []*side{jm, mx} {
		var all []alert.Summary
		w.eventually("what is stored is shown", func() bool {
			all, err = s.List(ctx, s.of("customs"), alert.Filter{})
			w.must(err)
			return len(all) > 0
		})
		if len(all) != 1 || all[0].ID != id || all[0].State != message.AlertIssued || all[0].Version != 1 {
			t.Errorf("%s shows: %+v", s.node, all)
		}
	}
	cursor := jm.row(id, jm.office("customs")).Cursor
	_, err = jm.AddSubscription(ctx, customs, alert.Wish{Categories: "drugs.trafficking"})
	w.must(err)
	if again := jm.row(id, jm.office("customs")).Cursor; again != cursor {
		t.Error("what was shown came again")
	}
}

// TestWatch: a reader that goes on from its cursor misses nothing and gets nothing twice, over restarts of the node and
// while other authorities' alerts change.
func TestWatch(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police())
	jm := w.join("jm", police(), office{slug: "customs", in: []string{"drugs"}})
	mx.start()
	jm.start()
	jm.subscribe("drugs.>")
	_, err := jm.AddSubscription(ctx, jm.of("customs"), alert.Wish{Categories: "drugs.>"})
	w.must(err)
	robot := jm.actor()
	robot.Token = true
	var cursor int64
	seen := map[message.ID]int{}
	read := func() {
		for {
			views, next, err := jm.Since(ctx, robot, cursor, true, 2)
			w.must(err)
			for _, v := range views {
				seen[v.ID]++
				if v.Notice == nil || v.Own != jm.name {
					t.Errorf("read: %+v", v)
				}
			}
			if cursor = next; len(views) == 0 {
				return
			}
		}
	}
	var all []message.ID
	for i := range 9 {
		id := mx.issued(w.composition("Number"))
		all = append(all, id)
		if i%3 == 0 {
			jm.restart()
		}
		if i%2 == 0 {
			jm.until("issued", id, state(message.AlertIssued))
			read()
		}
	}
	for _, id := range all {
		jm.until("issued", id, state(message.AlertIssued))
	}
	read()
	for _, id := range all {
		if seen[id] != 1 {
			t.Errorf("an alert came %d times", seen[id])
		}
	}
	if jm.events("alert-read") != len(all) || jm.row(all[0], jm.name).Mark != "" {
		t.Error("reading leaves an event for each alert, and a machine's marks none as read")
	}
	changed := jm.Changed()
	id := mx.issued(w.composition("Last"))
	<-changed
	jm.until("issued", id, func(a ledger.Alert) bool { return a.Cursor > cursor })
	if newest, err := jm.Cursor(ctx); err != nil || newest <= cursor {
		t.Errorf("cursor %d, %v", newest, err)
	}
}
