package exchange_test

import (
	"context"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// twoPersons is a gate that knows one rule: nobody approves what counts as their own work. domain.md 12.
type twoPersons struct{}

func (twoPersons) Allow(_ context.Context, a exchange.Actor, action string, r exchange.Resource) error {
	if action == "request:approve" && r.Author == a.Account {
		return fault.New(fault.Denied, "two-persons", "ask", "a second person must")
	}
	return nil
}

// TestWhoHadAHandIsNoSecondPerson: neither who attached a file, nor who submitted, nor still the author.
func TestWhoHadAHandIsNoSecondPerson(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	x := w.mx.build(func(o *exchange.Options) { o.FourEyes, o.Gate = true, twoPersons{} })
	as := func(account string) exchange.Actor {
		a := w.mx.actor()
		a.Account = account
		return a
	}
	id, err := x.Create(ctx, as("writer"), w.composition())
	w.must(err)
	for range 2 {
		_, err = x.AddAttachment(ctx, as("chief"), id, &formatv1.AttachmentNote{Name: "x"}, strings.NewReader("x"))
		w.must(err)
	}
	_, err = x.Send(ctx, as("clerk"), id)
	w.must(err)
	w.must(x.Return(ctx, as("third"), id, "again"))
	_, err = x.Send(ctx, as("writer"), id)
	w.must(err)
	for _, who := range []string{"writer", "chief", "clerk"} {
		if _, err := x.Approve(ctx, as(who), id, message.Digest{}); fault.CodeOf(err) != "two-persons" {
			t.Errorf("approved by %s: %v", who, err)
		}
	}
	if _, err := x.Approve(ctx, as("third"), id, message.Digest{}); err != nil {
		t.Errorf("approved by a second person: %v", err)
	}
}
