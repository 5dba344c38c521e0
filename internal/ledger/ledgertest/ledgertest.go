// Package ledgertest holds every engine of room ledger to the contract written there. An engine's own test calls Run;
// what belongs to one engine (its files, its syncs, its damage) that engine tests itself.
package ledgertest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// Run runs the suite. Open opens the ledger that lies in a directory, which is empty at first; the suite opens the
// same directory again after closing.
func Run(t *testing.T, open func(t *testing.T, dir string) ledger.Ledger) {
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"identity", (*suite).identity},
		{"empty", (*suite).empty},
		{"messages", (*suite).messages},
		{"same id", (*suite).sameID},
		{"receipts", (*suite).receipts},
		{"conflicts", (*suite).conflicts},
		{"deliveries", (*suite).deliveries},
		{"due", (*suite).due},
		{"cases", (*suite).cases},
		{"case pages", (*suite).casePages},
		{"references", (*suite).references},
		{"drafts", (*suite).drafts},
		{"attachments", (*suite).attachments},
		{"no alerts", (*suite).noAlerts},
		{"epochs", (*suite).epochs},
		{"broadcasts", (*suite).broadcasts},
		{"links", (*suite).links},
		{"too high", (*suite).tooHigh},
		{"members", (*suite).members},
		{"bus cursor", (*suite).busCursor},
		{"followings", (*suite).followings},
		{"bad lists", (*suite).badLists},
		{"entries", (*suite).entries},
		{"indexes", (*suite).indexes},
		{"held", (*suite).held},
		{"controls", (*suite).controls},
		{"proofs", (*suite).proofs},
		{"alerts", (*suite).alerts},
		{"delete alert", (*suite).deleteAlert},
		{"expiry", (*suite).expiry},
		{"alerts in", (*suite).alertsIn},
		{"subscriptions", (*suite).subscriptions},
		{"nudges", (*suite).nudges},
		{"alert failure", (*suite).alertFailure},
		{"events", (*suite).events},
		{"bad events", (*suite).badEvents},
		{"checkpoints", (*suite).checkpoints},
		{"uncited", (*suite).uncited},
		{"failure", (*suite).failure},
		{"panic", (*suite).panics},
		{"cancelled", (*suite).cancelled},
		{"one state", (*suite).oneState},
		{"together", (*suite).together},
		{"closed", (*suite).closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := &suite{T: t, dir: dir, open: open, l: open(t, dir)}
			defer func() { s.must(s.l.Close()) }()
			c.run(s)
		})
	}
}

type suite struct {
	*testing.T
	l    ledger.Ledger
	dir  string
	open func(t *testing.T, dir string) ledger.Ledger
	ids  byte
}

var start = time.Date(2026, 3, 14, 12, 0, 0, 123_000_000, time.UTC)

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// again closes the ledger and opens it anew.
func (s *suite) again() {
	s.Helper()
	s.must(s.l.Close())
	s.l = s.open(s.T, s.dir)
}

func (s *suite) update(f func(ledger.Tx) error) {
	s.Helper()
	s.must(s.l.Update(context.Background(), f))
}

func (s *suite) view(f func(ledger.Reader) error) {
	s.Helper()
	s.must(s.l.View(context.Background(), f))
}

// same reports a difference after a read.
func same[T any](s *suite, what string, got T, err error, want T) {
	s.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		s.Errorf("%s = %+v, %v; want %+v", what, got, err, want)
	}
}

func (s *suite) is(what string, err error, kind fault.Kind, code string) {
	s.Helper()
	if !fault.Is(err, kind) || fault.CodeOf(err) != code {
		s.Errorf("%s: %v, want kind %v code %q", what, err, kind, code)
	}
}

func must[T any](s *suite, v T, err error) T {
	s.Helper()
	s.must(err)
	return v
}

func (s *suite) name(text string) authority.Name {
	v, err := authority.ParseName(text)
	return must(s, v, err)
}

func (s *suite) node(text string) authority.Node {
	v, err := authority.ParseNode(text)
	return must(s, v, err)
}

func (s *suite) lane(text string) authority.Lane {
	v, err := authority.ParseLane(text)
	return must(s, v, err)
}

// id makes IDs in rising order.
func (s *suite) id() message.ID {
	s.ids++
	id := message.ID{0: 1, 5: s.ids, 6: 0x70, 8: 0x80, 15: s.ids}
	return must(s, id, nil)
}

func (s *suite) message() ledger.Message {
	id := s.id()
	return ledger.Message{
		Key: message.Key{Sender: s.name("mx/fgr"), ID: id}, Direction: ledger.Out, Digest: message.DigestOf(id[:]),
		Conversation: id, Kind: message.KindRequest, Created: start, Expires: start.Add(time.Hour),
		Recorded: start.Add(time.Second), Attachments: 2, Envelope: []byte("sealed " + id.String()),
	}
}

func (s *suite) event(kind string) ledger.Event {
	return ledger.Event{Time: start, Kind: kind, Actor: "ana", Detail: []byte("detail of " + kind)}
}

func (s *suite) identity() {
	first := s.l.Identity()
	if first.Network == "" || first.Origin == "" || first.Incarnation.Counter != 1 || first.Incarnation.Random == [8]byte{} {
		s.Errorf("identity = %+v, want all of it set and counter 1", first)
	}
	s.again()
	same(s, "identity after opening again", s.l.Identity(), nil, first)
}

func (s *suite) empty() {
	key, node := s.message().Key, s.node("jm/node/primary")
	s.view(func(r ledger.Reader) error {
		_, errMessage := r.Message(key)
		_, errReceipt := r.ReceiptFor(key)
		_, errDelivery := r.Delivery(key, node)
		_, errCase := r.Case(key.ID, key.Sender)
		_, errDraft := r.Draft(key.ID)
		_, errAttachment := r.Attachment(ledger.OwnedBy(key), 0)
		for what, err := range map[string]error{
			"message": errMessage, "receipt": errReceipt, "delivery": errDelivery, "case": errCase, "draft": errDraft, "attachment": errAttachment,
		} {
			s.is("absent "+what, err, fault.NotFound, "")
		}
		cases, err := r.Cases(ledger.CaseFilter{})
		same(s, "cases", len(cases), err, 0)
		next, err := r.NextDue()
		same(s, "next due", next, err, time.Time{})
		cursor, err := r.Cursor()
		same(s, "cursor", cursor, err, 0)
		return nil
	})
}

func (s *suite) messages() {
	first, second, other := s.message(), s.message(), s.message()
	second.Conversation, second.InReplyTo, second.Direction = first.Conversation, first.Key.ID, ledger.In
	second.Key.Sender, second.Kind, second.Expires = s.name("jm/jcf"), message.KindAcknowledge, time.Time{}
	s.update(func(t ledger.Tx) error {
		for _, m := range []ledger.Message{first, other, second} {
			added, err := t.PutMessage(m)
			same(s, "added", added, err, true)
		}
		return nil
	})
	s.again()
	first.Seq, other.Seq, second.Seq = 1, 2, 3
	s.view(func(r ledger.Reader) error {
		got, err := r.Message(second.Key)
		same(s, "message", got, err, second)
		all, err := r.MessagesOf(first.Conversation)
		first.Envelope, second.Envelope = nil, nil
		same(s, "conversation", all, err, []ledger.Message{first, second})
		return nil
	})
}

func (s *suite) sameID() {
	m := s.message()
	again, other := m, m
	again.Envelope = []byte("ignored")
	other.Digest[0] ^= 1
	elsewhere := other
	elsewhere.Key.Sender = s.name("mx/other")
	s.update(func(t ledger.Tx) error {
		_, err := t.PutMessage(m)
		return err
	})
	s.update(func(t ledger.Tx) error {
		added, err := t.PutMessage(again)
		same(s, "added again", added, err, false)
		_, err = t.PutMessage(other)
		s.is("other digest", err, fault.Conflict, "same-id")
		added, err = t.PutMessage(elsewhere)
		same(s, "added of another sender", added, err, true)
		return nil
	})
	m.Seq = 1
	s.view(func(r ledger.Reader) error {
		got, err := r.Message(m.Key)
		same(s, "message", got, err, m)
		return nil
	})
}

func (s *suite) receipts() {
	key := s.message().Key
	r := ledger.Receipt{Key: key, Digest: message.Digest{1}, Received: []byte("received")}
	complete := r
	complete.Complete = []byte("complete")
	put := func(r ledger.Receipt) error {
		return s.l.Update(context.Background(), func(t ledger.Tx) error { return t.PutReceipt(r) })
	}
	for _, step := range []ledger.Receipt{r, r, complete, complete} {
		s.must(put(step))
	}
	for what, spoil := range map[string]func(*ledger.Receipt){
		"digest":     func(r *ledger.Receipt) { r.Digest[0]++ },
		"received":   func(r *ledger.Receipt) { r.Received = []byte("other") },
		"complete":   func(r *ledger.Receipt) { r.Complete = []byte("other") },
		"incomplete": func(r *ledger.Receipt) { r.Complete = nil },
	} {
		other := complete
		spoil(&other)
		s.is("changed "+what, put(other), fault.Conflict, "receipt-fixed")
	}
	s.again()
	s.view(func(reader ledger.Reader) error {
		got, err := reader.ReceiptFor(key)
		same(s, "receipt", got, err, complete)
		return nil
	})
}

func (s *suite) conflicts() {
	key := s.message().Key
	one := ledger.Conflict{Key: key, Digest: message.Digest{1}, Header: []byte("h1"), Signatures: []byte("s1"), Time: start}
	two := ledger.Conflict{Key: key, Digest: message.Digest{2}, Header: []byte("h2"), Signatures: []byte("s2"), Time: start}
	s.update(func(t ledger.Tx) error {
		return errors.Join(t.PutConflict(one), t.PutConflict(two), t.PutConflict(one))
	})
	s.view(func(r ledger.Reader) error {
		got, err := r.Conflicts(key)
		same(s, "conflicts", got, err, []ledger.Conflict{one, two})
		return nil
	})
}

func (s *suite) drafts() {
	d := ledger.Draft{Conversation: s.id(), Content: []byte("plain"), Digest: message.Digest{1}, Author: "ana"}
	s.update(func(t ledger.Tx) error { return t.PutDraft(d) })
	d.Returned, d.Digest = "too wide", message.Digest{2}
	s.update(func(t ledger.Tx) error { return t.PutDraft(d) })
	s.again()
	s.view(func(r ledger.Reader) error {
		got, err := r.Draft(d.Conversation)
		same(s, "draft", got, err, d)
		return nil
	})
	s.update(func(t ledger.Tx) error {
		return errors.Join(t.DeleteDraft(d.Conversation), t.DeleteDraft(d.Conversation))
	})
	s.view(func(r ledger.Reader) error {
		_, err := r.Draft(d.Conversation)
		s.is("deleted draft", err, fault.NotFound, "")
		return nil
	})
}

func (s *suite) attachments() {
	m := s.message()
	draft := ledger.Attachment{
		Owner: ledger.OwnedByDraft(m.Conversation), Conversation: m.Conversation, Direction: ledger.Out, SealedSize: 1 << 40,
		Root: message.Digest{1}, Stored: 1 << 40, State: ledger.AttachmentDraft, File: "f1", Meta: []byte("note"),
	}
	first := draft
	first.Owner, first.State, first.Stored, first.Meta = ledger.OwnedBy(m.Key), ledger.AttachmentReceiving, 0, nil
	second := first
	second.Index, second.File = 1, "f2"
	s.update(func(t ledger.Tx) error {
		return errors.Join(t.PutAttachment(second), t.PutAttachment(first), t.PutAttachment(draft))
	})
	s.update(func(t ledger.Tx) error {
		return t.SetStored(second.Owner, 1, 262144, ledger.AttachmentComplete)
	})
	second.Stored, second.State = 262144, ledger.AttachmentComplete
	s.again()
	s.view(func(r ledger.Reader) error {
		one, err := r.Attachment(second.Owner, 1)
		same(s, "attachment", one, err, second)
		of, err := r.AttachmentsOf(first.Owner)
		same(s, "attachments of the message", of, err, []ledger.Attachment{first, second})
		of, err = r.AttachmentsOf(draft.Owner)
		same(s, "attachments of the draft", of, err, []ledger.Attachment{draft})
		in, err := r.AttachmentsIn(m.Conversation)
		same(s, "attachments of the conversation", in, err, []ledger.Attachment{draft, first, second})
		expected, err := r.ExpectedFrom(m.Key.Sender.State())
		same(s, "expected from the sender's state", expected, err, expectedOf(first, second))
		other, _ := authority.ParseState("zz")
		expected, err = r.ExpectedFrom(other)
		same(s, "expected from another state", expected, err, 0)
		named, err := r.NamesFile(second.File)
		same(s, "file of an attachment", named, err, true)
		named, err = r.NamesFile("nobody's")
		same(s, "file of nothing", named, err, false)
		return nil
	})
	s.update(func(t ledger.Tx) error {
		s.is("unknown attachment", t.SetStored(draft.Owner, 5, 1, ledger.AttachmentDraft), fault.NotFound, "")
		return t.DeleteAttachments(draft.Owner)
	})
	s.view(func(r ledger.Reader) error {
		in, err := r.AttachmentsIn(m.Conversation)
		same(s, "attachments left", in, err, []ledger.Attachment{first, second})
		return nil
	})
}

// expectedOf adds up what is announced and not whole.
func expectedOf(all ...ledger.Attachment) uint64 {
	var sum uint64
	for _, a := range all {
		if a.State == ledger.AttachmentReceiving {
			sum += a.SealedSize
		}
	}
	return sum
}
