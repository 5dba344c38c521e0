package ledgertest

import (
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

func (s *suite) delivery(lane string, next time.Time) ledger.Delivery {
	return ledger.Delivery{
		Key: s.message().Key, Node: s.node("jm/node/primary"), State: ledger.Queued, Next: next, Lane: s.lane(lane),
		Expires: start.Add(time.Hour),
	}
}

func (s *suite) deliveries() {
	one := s.delivery("routine", start)
	two := one
	two.Node, two.Lane = s.node("gt/node/primary"), s.lane("immediate")
	two.Road = ledger.Mailbox
	put := func(all ...ledger.Delivery) {
		s.update(func(t ledger.Tx) error {
			for _, d := range all {
				if err := t.PutDelivery(d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	put(one, two)
	one.State, one.Attempts, one.Next, one.LastError = ledger.Complete, 3, time.Time{}, "no answer"
	one.Receipt, one.CompleteReceipt = []byte("received"), []byte("complete")
	put(one)
	s.again()
	s.view(func(r ledger.Reader) error {
		got, err := r.Delivery(one.Key, one.Node)
		same(s, "delivery", got, err, one)
		all, err := r.DeliveriesOf(one.Key)
		same(s, "deliveries of the message", all, err, []ledger.Delivery{two, one})
		all, err = r.DeliveriesTo(two.Node, 10)
		same(s, "deliveries to the node", all, err, []ledger.Delivery{two})
		all, err = r.DeliveriesTo(one.Node, 10)
		same(s, "deliveries to a node for which nothing waits", len(all), err, 0)
		return nil
	})
}

func (s *suite) due() {
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	routine, later := s.delivery("routine", at(1)), s.delivery("routine", at(5))
	bulk, immediate := s.delivery("bulk", at(0)), s.delivery("immediate", at(2))
	urgent, done := s.delivery("urgent", at(2)), s.delivery("immediate", time.Time{})
	delivered := s.delivery("urgent", at(1))
	delivered.State = ledger.Delivered
	s.update(func(t ledger.Tx) error {
		for _, d := range []ledger.Delivery{routine, later, bulk, immediate, urgent, done, delivered} {
			if err := t.PutDelivery(d); err != nil {
				return err
			}
		}
		return nil
	})
	s.view(func(r ledger.Reader) error {
		due, err := r.Due(at(2), 10)
		same(s, "due", due, err, []ledger.Delivery{immediate, delivered, urgent, routine, bulk})
		due, err = r.Due(at(2), 2)
		same(s, "first two due", due, err, []ledger.Delivery{immediate, delivered})
		due, err = r.Due(at(-1), 10)
		same(s, "due before all", len(due), err, 0)
		waiting, err := r.DeliveriesTo(routine.Node, 4)
		same(s, "waiting for the node", waiting, err, []ledger.Delivery{immediate, delivered, urgent, routine})
		next, err := r.NextDue()
		same(s, "next due", next, err, at(0))
		return nil
	})
}

func (s *suite) aCase(own string) ledger.Case {
	kind, err := authority.ParseRequestKind("identify-person")
	s.must(err)
	category, err := authority.ParseCategory("drugs.trafficking")
	s.must(err)
	return ledger.Case{
		Conversation: s.id(), Own: s.name(own), Peer: s.name("jm/jcf"), Side: message.Requesting, Reference: "MX-2026-1",
		LocalReference: "A 1", RequestKind: kind, Category: category, Urgency: message.Urgent, Status: message.Exercise,
		State: message.Queued, Title: "Núñez", Author: "ana", Approver: "rosa", Created: start, Changed: start.Add(time.Second),
		Due: start.Add(time.Hour), Attachments: 3,
	}
}

func (s *suite) put(cases ...*ledger.Case) {
	s.Helper()
	s.update(func(t ledger.Tx) error {
		for _, c := range cases {
			cursor, err := t.PutCase(*c)
			if err != nil {
				return err
			}
			c.Cursor = cursor
		}
		return nil
	})
}

func (s *suite) cases() {
	one, two, three := s.aCase("mx/fgr"), s.aCase("mx/fgr"), s.aCase("mx/sat")
	three.Conversation, three.Side, three.Due = one.Conversation, message.Requested, time.Time{}
	s.put(&one, &two, &three)
	one.State = message.Delivered
	s.put(&one)
	same(s, "cursors", []int64{one.Cursor, two.Cursor, three.Cursor}, nil, []int64{4, 2, 3})
	s.again()
	s.view(func(r ledger.Reader) error {
		got, err := r.Case(one.Conversation, one.Own)
		same(s, "case", got, err, one)
		all, err := r.CasesOf(one.Conversation)
		same(s, "cases of the conversation", all, err, []ledger.Case{one, three})
		all, err = r.CasesSince(2, 10)
		same(s, "changed since 2", all, err, []ledger.Case{three, one})
		cursor, err := r.Cursor()
		same(s, "cursor", cursor, err, 4)
		for what, test := range map[string]struct {
			filter ledger.CaseFilter
			want   []ledger.Case
		}{
			"all":         {ledger.CaseFilter{}, []ledger.Case{one, three, two}},
			"own":         {ledger.CaseFilter{Own: one.Own}, []ledger.Case{one, two}},
			"side":        {ledger.CaseFilter{Side: message.Requested}, []ledger.Case{three}},
			"state":       {ledger.CaseFilter{State: message.Queued}, []ledger.Case{three, two}},
			"peer":        {ledger.CaseFilter{Peer: one.Own}, nil},
			"everything":  {ledger.CaseFilter{Own: one.Own, Side: one.Side, State: one.State, Peer: one.Peer}, []ledger.Case{one}},
			"second page": {ledger.CaseFilter{Limit: 1, BeforeCursor: 4}, []ledger.Case{three}},
		} {
			got, err := r.Cases(test.filter)
			same(s, what, got, err, test.want)
		}
		return nil
	})
	// The count goes on after opening again.
	s.put(&two)
	same(s, "cursor", two.Cursor, nil, 5)
}

// casePages walks the changes page by page while they happen: nothing is missed, nothing comes twice unchanged.
func (s *suite) casePages() {
	var all []ledger.Case
	for range 7 {
		all = append(all, s.aCase("mx/fgr"))
		s.put(&all[len(all)-1])
	}
	var seen []int64
	cursor := int64(0)
	for page := range 4 {
		s.view(func(r ledger.Reader) error {
			cases, err := r.CasesSince(cursor, 3)
			for _, c := range cases {
				seen = append(seen, c.Cursor)
				cursor = c.Cursor
			}
			return err
		})
		if page == 0 {
			s.put(&all[4]) // its change 5 becomes 8, which is still to come
		}
	}
	same(s, "changes seen", seen, nil, []int64{1, 2, 3, 4, 6, 7, 8})
}

func (s *suite) references() {
	fgr, sat := s.name("mx/fgr"), s.name("mx/sat")
	var got []string
	next := func(own authority.Name, year int) {
		s.update(func(t ledger.Tx) error {
			n, err := t.NextReference(own, year)
			got = append(got, fmt.Sprintf("%v %d %d", own, year, n))
			return err
		})
	}
	next(fgr, 2026)
	next(fgr, 2026)
	next(sat, 2026)
	s.again()
	next(fgr, 2027)
	next(fgr, 2026)
	same(s, "references", got, nil, []string{"mx/fgr 2026 1", "mx/fgr 2026 2", "mx/sat 2026 1", "mx/fgr 2027 1", "mx/fgr 2026 3"})
}
