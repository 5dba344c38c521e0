package postgres

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/postgres/postgrestest"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/people"
)

// planted is in every text and blob of plant that is personal or content.
const planted = "Xochiquetzal"

// plant writes a record of each kind that has something private in it.
func plant(t *testing.T, l *Ledger) {
	t.Helper()
	key := factKey('p', 1)
	own, node := key.Sender, l.Identity().Node
	lane, err := authority.ParseLane("routine")
	if err != nil {
		t.Fatal(err)
	}
	err = l.Update(t.Context(), func(tx ledger.Tx) error {
		for n := range 2 {
			other := factKey('p', 1+n).ID
			if _, err := tx.PutCase(ledger.Case{Conversation: other, Own: own, Title: planted, Author: planted, Approver: planted, LocalReference: planted}); err != nil {
				return err
			}
		}
		if _, err := tx.PutAlert(ledger.Alert{ID: key.ID, Own: own, Title: planted, Author: planted, Approver: planted}); err != nil {
			return err
		}
		for _, err := range []error{
			tx.PutDraft(ledger.Draft{Conversation: key.ID, Content: []byte(planted), Author: planted, Returned: planted}),
			tx.PutAttachment(ledger.Attachment{Owner: ledger.OwnedByDraft(key.ID), Meta: []byte(planted)}),
			tx.PutDelivery(ledger.Delivery{Key: key, Node: node, Lane: lane, LastError: planted}),
			tx.PutMember(ledger.Member{Node: node, LastError: planted}),
			tx.PutSubscription(ledger.Subscription{ID: key.ID, Own: own, Author: planted}),
			tx.PutNudge(ledger.Nudge{Alert: key.ID, Own: own, LastError: planted}),
			tx.PutReturn(ledger.Return{Node: node, LastError: planted}),
		} {
			if err != nil {
				return err
			}
		}
		_, err := tx.Append(ledger.Event{Time: time.UnixMilli(1), Kind: "opened", Actor: planted, Detail: []byte(planted)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	plantPeople(t, l)
}

func plantPeople(t *testing.T, l *Ledger) {
	t.Helper()
	user, err := people.ParseUser("ana")
	if err != nil {
		t.Fatal(err)
	}
	e := people.Event{Kind: "account-created", Actor: planted, Subject: planted, Detail: planted, At: time.UnixMilli(1)}
	change := people.Change{Event: e, Create: &people.Account{User: user, Authority: factKey('p', 1).Sender, Password: planted},
		Issue: &people.Token{Name: planted, Issuer: planted, Authority: factKey('p', 1).Sender}}
	if err := l.People().Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

// TestPrivateColumns: what a database administrator dumps holds nothing of what people wrote, nor who they are.
func TestPrivateColumns(t *testing.T) {
	server := postgrestest.Start(t)
	l := openAt(t, testConfig(t, server.Database()))
	defer l.Close()
	plant(t, l)
	dump := server.Dump("ledger1")
	hex := strings.ToLower(hexOf(planted))
	if !bytes.Contains(dump, []byte("mx/fgr")) {
		t.Fatal("the dump does not hold the ledger")
	}
	for line := range strings.Lines(string(dump)) {
		if strings.Contains(line, planted) || strings.Contains(line, hex) {
			t.Errorf("in the dump: %.200s", line)
		}
	}
	err := l.View(t.Context(), func(r ledger.Reader) error {
		c, err := r.Case(factKey('p', 1).ID, factKey('p', 1).Sender)
		if c.Title != planted || c.LocalReference != planted || c.Approver != planted {
			t.Errorf("case read back: %+v", c)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func hexOf(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		const digits = "0123456789abcdef"
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// TestChangedCells: a value that was moved to another row or column, or changed, does not open.
func TestChangedCells(t *testing.T) {
	server := postgrestest.Start(t)
	l := openAt(t, testConfig(t, server.Database()))
	defer l.Close()
	plant(t, l)
	read := func() error {
		return l.View(t.Context(), func(r ledger.Reader) error {
			cases, err := r.Cases(ledger.CaseFilter{})
			if len(cases) != 2 && err == nil {
				t.Error("cases are missing")
			}
			return err
		})
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]string{
		"row":    "UPDATE cases SET title = (SELECT title FROM cases AS o WHERE o.conversation <> cases.conversation)",
		"column": "UPDATE cases SET title = author",
		"byte":   "UPDATE cases SET title = set_byte(title, 30, get_byte(title, 30) # 1)",
		"short":  "UPDATE cases SET title = substr(title, 1, 10)",
		"plain":  "UPDATE cases SET title = 'forged'",
	} {
		server.Exec("ledger1", "CREATE TABLE kept AS SELECT * FROM cases; "+change)
		if err := read(); fault.CodeOf(err) != "damaged" {
			t.Errorf("%s: reading = %v, want damaged", name, err)
		}
		server.Exec("ledger1", "DELETE FROM cases; INSERT INTO cases SELECT * FROM kept; DROP TABLE kept")
	}
}

// TestRefused: a wrong key, another node, a newer version, changed evidence.
func TestRefused(t *testing.T) {
	server := postgrestest.Start(t)
	cfg := testConfig(t, server.Database())
	l := openAt(t, cfg)
	if err := l.Update(t.Context(), func(tx ledger.Tx) error { _, err := tx.Checkpoint(); return err }); err != nil {
		t.Fatal(err)
	}
	l.Close()
	refuse := func(want string, change func(*Config)) {
		t.Helper()
		c := cfg
		change(&c)
		if _, err := Open(t.Context(), c); fault.CodeOf(err) != want {
			t.Errorf("open = %v, want %s", err, want)
		}
	}
	refuse("wrong-key", func(c *Config) { c.Key[0]++ })
	refuse("other-node", func(c *Config) { c.Network = "other.example" })
	refuse("other-log", func(c *Config) { c.Keys.Signer = evidenceKey(2) })
	refuse("refused", func(c *Config) { c.DSN = strings.Replace(c.DSN, "ledger1", "absent", 1) })
	server.Exec("ledger1", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)")
	refuse("newer-version", func(c *Config) {})
	server.Exec("ledger1", "DELETE FROM goose_db_version WHERE version_id = 999")
	l = openAt(t, cfg)
	defer l.Close()
	server.Exec("ledger1", "UPDATE event SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1) WHERE sequence = 0")
	if _, err := l.VerifyEvidence(t.Context()); fault.CodeOf(err) != "evidence-broken" {
		t.Errorf("verification of changed evidence = %v", err)
	}
}

// TestTexts: a text with a zero byte is the caller's mistake, and takes nothing else with it; a private one may hold it.
func TestTexts(t *testing.T) {
	l := openAt(t, testConfig(t, postgrestest.Start(t).Database()))
	defer l.Close()
	own := factKey('p', 1)
	put := func(c ledger.Case) error {
		return l.Update(t.Context(), func(tx ledger.Tx) error { _, err := tx.PutCase(c); return err })
	}
	if err := put(ledger.Case{Conversation: own.ID, Own: own.Sender, Reference: "a\x00b"}); fault.CodeOf(err) != "malformed" {
		t.Errorf("a reference with a zero byte = %v", err)
	}
	if err := put(ledger.Case{Conversation: own.ID, Own: own.Sender, Title: "a\x00\xff"}); err != nil {
		t.Error(err)
	}
	var id message.ID
	if err := put(ledger.Case{Conversation: id}); err != nil {
		t.Error(err)
	}
}
