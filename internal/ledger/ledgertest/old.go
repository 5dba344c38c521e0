package ledgertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/records"
	"github.com/enlace-network/enlace/internal/message"
)

// Released is a ledger as an earlier release has left it: rows in every table that its schema had. An engine writes them
// under each of its earlier schemas, opens the ledger with this version, and checks them. The statements name the columns
// of then, so they are never edited; a migration that adds a table adds its rows here.
type Released struct {
	// Version is the newest migration that had been applied.
	Version  int64
	Identity ledger.Identity
	Keys     ledger.Keys
}

func name(text string) authority.Name { return parsed(authority.ParseName(text)) }
func node(text string) authority.Node { return parsed(authority.ParseNode(text)) }

func parsed[T any](v T, err error) T {
	if err != nil {
		panic(err) // one of our own words
	}
	return v
}

// id is one of a few that are always the same.
func id(n byte) message.ID { return message.ID{0: n, 6: 0x70, 8: 0x80} }

func (r Released) key() message.Key {
	return message.Key{Sender: name("mx/fgr"), ID: id(1)}
}

// cell is a private value as it was written, at a row named by two parts of its key.
func cell(table, column, first, second, value string) records.Private {
	at := records.Cell{Table: table, Column: column, Row: first + "\x00" + second}
	return records.Private{Cell: at, Value: []byte(value), Text: column != "content" && column != "meta" && table != "event"}
}

// Write fills a ledger that was migrated to r.Version.
func (r Released) Write(t *testing.T, c records.Conn) {
	t.Helper()
	write := func(query string, args ...any) {
		t.Helper()
		if _, err := c.Exec(query, args...); err != nil {
			t.Fatalf("version %d: %s: %v", r.Version, query, err)
		}
	}
	r.writeFirst(t, write)
	if r.Version >= 2 {
		r.writeAlerts(write)
	}
	if r.Version >= 4 {
		write("INSERT INTO life (node, counter, random, hello, rival, since) VALUES (?, 3, ?, ?, x'', 5)", node("jm/node/primary").String(), []byte("12345678"), []byte("hello"))
	}
}

func (r Released) writeFirst(t *testing.T, write func(string, ...any)) {
	t.Helper()
	i, key := r.Identity, r.key()
	own, raw := key.Sender.String(), string(key.ID[:])
	write("INSERT INTO identity (one, network, node, counter, random, origin) VALUES (1, ?, ?, ?, ?, ?)",
		i.Network, i.Node.String(), int64(i.Incarnation.Counter), i.Incarnation.Random[:], i.Origin)
	write(`INSERT INTO message (id, sender, direction, digest, conversation, reply_to, kind, created, expires, recorded, attachments, envelope)
		VALUES (?, ?, 'IN', ?, ?, x'', 'REQUEST', 1, 2, 3, 0, ?)`, key.ID, own, message.DigestOf(nil), key.ID, []byte("envelope"))
	write("INSERT INTO receipt (id, sender, digest, received, complete) VALUES (?, ?, ?, ?, x'')", key.ID, own, message.DigestOf(nil), []byte("received"))
	write(`INSERT INTO delivery (id, sender, node, state, attempts, next, lane, last_error, receipt, complete, expires)
		VALUES (?, ?, 'jm/node/primary', 'QUEUED', 2, 7, 1, ?, x'', x'', 9)`, key.ID, own, cell("delivery", "last_error", raw, own+"\x00jm/node/primary", "no answer"))
	write(`INSERT INTO cases (conversation, own, peer, side, reference, local_reference, request_kind, category, urgency, status, state,
		title, author, approver, created, changed, due, attachments, cursor)
		VALUES (?, ?, 'jm/police', 'REQUESTING', 'ref', ?, '', '', 'ROUTINE', 'REAL', 'QUEUED', ?, ?, ?, 1, 2, 3, 1, 4)`, key.ID, own,
		cell("cases", "local_reference", raw, own, ""), cell("cases", "title", raw, own, "kept"), cell("cases", "author", raw, own, "ana"),
		cell("cases", "approver", raw, own, ""))
	write("INSERT INTO draft (conversation, content, digest, author, returned) VALUES (?, ?, ?, ?, ?)", key.ID,
		cell("draft", "content", raw, "", "draft"), message.DigestOf(nil), cell("draft", "author", raw, "", "ana"), cell("draft", "returned", raw, "", ""))
	write(`INSERT INTO attachment (conversation, id, sender, number, direction, sealed_size, root, stored, state, file, meta)
		VALUES (?, x'', '', 0, 'OUT', 10, ?, 10, 'DRAFT', 'file', ?)`, key.ID, message.DigestOf(nil), cell("attachment", "meta", raw, "\x000", "note"))
	write(`INSERT INTO account ("user", authority, roles, password, locked, created, failures, failed_at) VALUES ('ana', ?, '', ?, 0, 1, 0, 0)`,
		own, cell("account", "password", "ana", "", "hash"))
	r.writeEvents(t, write)
}

// writeEvents fills the log, as the writer of then did. The log is made from nothing.
func (r Released) writeEvents(t *testing.T, write func(string, ...any)) {
	t.Helper()
	log, err := ledger.OpenLog(r.Identity.Origin, r.Keys, rand.Reader, noEvents{})
	if err != nil {
		t.Fatal(err)
	}
	log.Begin()
	for sequence := range 3 {
		e, err := log.Append(ledger.Event{Time: time.UnixMilli(1), Kind: "sent", Actor: "ana", Detail: []byte("detail")})
		if err != nil {
			t.Fatal(err)
		}
		row := string('0' + rune(sequence))
		write("INSERT INTO event (sequence, leaf, hashes, salt, detail) VALUES (?, ?, ?, ?, ?)", sequence, cell("event", "leaf", row, "", string(e.Leaf)),
			e.Hashes, cell("event", "salt", row, "", string(e.Salt)), cell("event", "detail", row, "", "detail"))
	}
	log.Commit()
	log.Begin()
	c, err := log.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	write("INSERT INTO checkpoint (sequence, size, root, note, salted, commitment) VALUES (?, ?, ?, ?, ?, ?)", int64(c.Sequence), c.Size, c.Root[:], c.Note, c.Salted, c.Commitment)
}

// noEvents is the log of a new ledger.
type noEvents struct{ ledger.EventReader }

func (noEvents) EventCount() (uint64, error) { return 0, nil }

func (noEvents) NewestCheckpoint() (ledger.Checkpoint, error) {
	return ledger.Checkpoint{}, ledger.Absent("checkpoint")
}

func (r Released) writeAlerts(write func(string, ...any)) {
	key, digest := r.key(), message.DigestOf(nil)
	own, raw := key.Sender.String(), string(key.ID[:])
	write(`INSERT INTO alert (id, own, issuer, direction, state, type, category, urgency, status, distribution, reference, title, version,
		latest_id, latest_sender, ended_id, ended_sender, mark, author, approver, attachments, created, changed, expires, cursor)
		VALUES (?, ?, ?, 'OUT', 'ISSUED', 'WANTED', '', 'ROUTINE', 'REAL', '', 'ref', ?, 1, ?, ?, x'', '', '', ?, ?, 0, 1, 2, 3, 6)`,
		key.ID, own, own, cell("alert", "title", raw, own, "alert"), key.ID, own, cell("alert", "author", raw, own, "ana"), cell("alert", "approver", raw, own, ""))
	write("INSERT INTO chain (publisher, counter, random, audience) VALUES ('jm/node/primary', 1, ?, ?)", []byte("12345678"), digest)
	write("INSERT INTO epoch (chain, number, fingerprint, package, sealed, sealed_to, recorded) VALUES (1, 1, ?, ?, x'', x'', 1)", digest, []byte("package"))
	write(`INSERT INTO link (audience, number, epoch, id, sender, digest, subject, salt, hash, expires, direct, frame)
		VALUES (?, 1, 1, ?, ?, ?, 'subject', x'', ?, 3, 0, x'')`, digest, key.ID, own, digest, digest)
	write("INSERT INTO held (publisher, fingerprint, hash, subject, recorded, frame) VALUES ('jm/node/primary', ?, ?, 'subject', 1, ?)", digest, digest, []byte("frame"))
	write("INSERT INTO member (audience, node, authorities, removed, first, epoch, position, next, attempts, last_error, receipt) VALUES (?, 'jm/node/primary', '', 0, 1, 1, 1, NULL, 0, ?, x'')",
		digest, cell("member", "last_error", string(digest[:]), "jm/node/primary", "away"))
}

// Check reads the rows back from the ledger, opened by this version.
func (r Released) Check(t *testing.T, l ledger.Ledger) {
	t.Helper()
	if l.Identity() != r.Identity {
		t.Errorf("version %d: identity = %+v, was %+v", r.Version, l.Identity(), r.Identity)
	}
	err := l.View(t.Context(), func(reader ledger.Reader) error {
		faults := r.first(reader)
		if r.Version >= 2 {
			faults = append(faults, r.alerts(reader)...)
		}
		if life, err := reader.Life(node("jm/node/primary")); r.Version >= 4 && (err != nil || string(life.Hello) != "hello") {
			faults = append(faults, "life")
		}
		if len(faults) > 0 {
			t.Errorf("version %d: not as it was: %s", r.Version, strings.Join(faults, ", "))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	found, err := l.VerifyEvidence(context.Background())
	if err != nil || found.Events != 3 || found.Checkpoints != 1 {
		t.Errorf("version %d: evidence %+v, %v", r.Version, found, err)
	}
	if err := l.Update(t.Context(), func(tx ledger.Tx) error {
		cursor, err := tx.PutCase(ledger.Case{Conversation: id(2), Own: r.key().Sender})
		if cursor != 5 {
			t.Errorf("version %d: the next cursor is %d, want 5", r.Version, cursor)
		}
		return err
	}); err != nil {
		t.Errorf("version %d: update = %v", r.Version, err)
	}
}

// first names what of the first schema is not as it was.
func (r Released) first(reader ledger.Reader) (faults []string) {
	key := r.key()
	m, err := reader.Message(key)
	receipt, err2 := reader.ReceiptFor(key)
	d, err3 := reader.Delivery(key, node("jm/node/primary"))
	c, err4 := reader.Case(key.ID, key.Sender)
	draft, err5 := reader.Draft(key.ID)
	a, err6 := reader.Attachment(ledger.OwnedByDraft(key.ID), 0)
	events, err7 := reader.Events(0, 10)
	for what, ok := range map[string]bool{
		"message": err == nil && string(m.Envelope) == "envelope", "receipt": err2 == nil && string(receipt.Received) == "received",
		"delivery": err3 == nil && d.LastError == "no answer" && d.Attempts == 2, "case": err4 == nil && c.Title == "kept" && c.Author == "ana" && c.Cursor == 4,
		"draft": err5 == nil && string(draft.Content) == "draft" && draft.Author == "ana", "attachment": err6 == nil && string(a.Meta) == "note",
		"events": err7 == nil && len(events) == 3 && bytes.Equal(events[2].Detail, []byte("detail")),
	} {
		if !ok {
			faults = append(faults, what)
		}
	}
	return faults
}

// alerts names what of the second is not.
func (r Released) alerts(reader ledger.Reader) (faults []string) {
	key, publisher := r.key(), node("jm/node/primary")
	a, err := reader.Alert(key.ID, key.Sender)
	links, err2 := reader.LinksAfter(0, 10)
	held, err3 := reader.HeldBytes(publisher)
	m, err4 := reader.Member(message.DigestOf(nil), publisher)
	e, err5 := reader.EpochByKey(publisher, message.DigestOf(nil))
	for what, ok := range map[string]bool{
		"alert": err == nil && a.Title == "alert" && a.Cursor == 6, "link": err2 == nil && len(links) == 1 && string(links[0].Frame) == "envelope",
		"held": err3 == nil && held == 5, "member": err4 == nil && m.LastError == "away", "epoch": err5 == nil && string(e.Package) == "package",
	} {
		if !ok {
			faults = append(faults, what)
		}
	}
	return faults
}
