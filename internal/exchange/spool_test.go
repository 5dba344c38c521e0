package exchange_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// TestSweepRemovesOnlyOrphans: a file that no row names goes, one that is named and one of another sort stay.
func TestSweepRemovesOnlyOrphans(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	id := w.sent([]byte("kept"))
	orphan := filepath.Join(w.mx.dir, strings.Repeat("0a", 16)+".age")
	others := []string{filepath.Join(w.mx.dir, "keyring.age"), filepath.Join(w.mx.dir, "notes.txt")}
	for _, p := range append(others, orphan) {
		w.must(os.WriteFile(p, []byte("x"), 0o600))
	}
	w.must(w.mx.Sweep(ctx))
	if _, err := os.Stat(orphan); !os.IsNotExist(err) {
		t.Errorf("the orphan is still there: %v", err)
	}
	for _, p := range others {
		_, err := os.Stat(p)
		w.must(err)
	}
	v := w.mx.until(id, state(message.Delivered))
	r, _, err := w.mx.OpenAttachment(ctx, w.mx.actor(), id, v.Attachments[0].Message, 0)
	w.must(err)
	r.Close()
}

// TestTwoAuthoritiesOfOneNode: a message to two authorities that one node serves is a case for each, under one receipt.
func TestTwoAuthoritiesOfOneNode(t *testing.T) {
	w := newWorld(t)
	second := mustName(t, "jm/customs")
	w.must(w.jm.ring.GenerateAuthority(second, time.Now()))
	payload, err := w.draft().DeclareAuthority(second, &formatv1.DeclareAuthority{Names: []*formatv1.Text{{Language: "en", Value: "Customs"}}, Type: "customs",
		Node: w.jm.node.String(), NoteVerbale: "test", Keys: []*formatv1.Key{
			w.jm.declared(directory.PurposeSign, keyring.AuthoritySign(second)), w.jm.declared(directory.PurposeSeal, keyring.AuthoritySeal(second)),
		}})
	w.must(err)
	w.declare(payload, w.jm)
	key, err := w.jm.ring.Public(keyring.AuthoritySeal(second))
	w.must(err)
	first, err := w.jm.ring.Public(keyring.AuthoritySeal(w.jm.name))
	w.must(err)
	own, err := w.mx.ring.Public(keyring.AuthoritySeal(w.mx.name))
	w.must(err)
	env := w.forge(forgery{keys: []authority.PublicKey{first, own, key}, context: func(c *message.Context) {
		c.Recipients = append(c.Recipients, message.Recipient{Authority: second, Key: key.Fingerprint(), Stanza: 2})
	}})
	_, err = w.receive(w.mx.node, env.Bytes)
	w.must(err)
	for _, name := range []authority.Name{w.jm.name, second} {
		v, err := w.jm.Show(context.Background(), exchange.Actor{Account: "test", Authority: name}, env.Header.Conversation)
		w.must(err)
		if v.Own != name || len(v.Steps[0].Receipts) != 2 {
			t.Errorf("%s sees %+v with receipts %+v", name, v.Summary, v.Steps[0].Receipts)
		}
	}
}
