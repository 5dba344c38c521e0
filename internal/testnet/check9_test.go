package testnet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestCheck9NothingNeedsARelease is acceptance check 9 of domain.md 14: a member state, a category, a treaty and a label come and go by
// statements on a running network, without a new release and without a restart. PROTOCOL 4.18.
func TestCheck9NothingNeedsARelease(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm"}, FourEyes: "single"})
	mx, jm := n.Members[0], n.Members[1]
	say := func(by *keyring.OfflineKey, draft func(directory.Draft) ([]byte, error)) {
		t.Helper()
		if err := n.Restrict(t.Context(), by, draft); err != nil {
			t.Fatal(err)
		}
		at := n.Hub.Directory.Load().Position()
		await(t, "everyone has the statement", func() bool {
			for _, m := range n.Members {
				if m.Daemon.Follower.Current().Load().Position() < at {
					return false
				}
			}
			return true
		})
	}
	titles := func(en, es string) []*formatv1.Text {
		return []*formatv1.Text{{Language: "en", Value: en}, {Language: "es", Value: es}}
	}
	const fresh = "emerging.sea-drones"

	// Before, it is no category at all.
	if _, err := mx.Publish(t.Context(), alert(mx, fresh, "too early")); err == nil {
		t.Fatal("an alert of a category that nobody registered was published")
	}

	// A category and a treaty, with labels.
	say(nil, func(d directory.Draft) ([]byte, error) {
		return d.Categories(&formatv1.Categories{Categories: []*formatv1.Category{
			{Slug: "emerging", Status: "active", Titles: titles("Emerging", "Emergente")},
			{Slug: fresh, Status: "active", Titles: titles("Drones at sea", "Drones en el mar")},
			{Slug: "emerging.successor", Status: "active", Titles: titles("Unmanned craft", "Naves no tripuladas")},
			{Slug: "drugs", Status: "active", Titles: titles("Drugs", "Drogas")},
			{Slug: "drugs.trafficking", Status: "active", Titles: titles("Drug trafficking, by its new name", "Tráfico, con su nombre nuevo")},
		}})
	})
	say(nil, func(d directory.Draft) ([]byte, error) {
		return d.Instruments(&formatv1.Instruments{Instruments: []*formatv1.Instrument{
			{Code: "untoc", Titles: titles("Palermo Convention", "Convención de Palermo")},
			{Code: "treaty-of-2027", Titles: titles("Treaty of 2027", "Tratado de 2027")},
		}})
	})
	for _, m := range n.Members {
		say(m.StateKey, func(d directory.Draft) ([]byte, error) {
			return d.DeclareInstruments(m.State, []string{"untoc", "treaty-of-2027"})
		})
	}

	// A member state, which has no line in any program.
	bb, err := n.Join(t.Context(), "bb")
	if err != nil {
		t.Fatal(err)
	}
	say(bb.StateKey, func(d directory.Draft) ([]byte, error) {
		return d.DeclareInstruments(bb.State, []string{"treaty-of-2027"})
	})
	for _, m := range []*testnet.Member{jm, bb} {
		subscribe(t, m, &operatorv1.Subscription{Categories: fresh})
	}

	// All of them in use: an alert of the category, by bus or by the direct road, to the old member and the new one.
	id := must[string](t)(mx.Publish(t.Context(), alert(mx, fresh, "seen off the coast")))
	for _, m := range []*testnet.Member{jm, bb} {
		if _, err := m.AwaitAlert(t.Context(), m.Officer, id, testnet.AlertIn("ISSUED")); err != nil {
			t.Fatal(m.State, err)
		}
	}
	request := testnet.Exercise(mx, bb, "identify-person", "Whose craft is it?")
	request.Category, request.Request.LegalBasis = fresh, []string{"treaty-of-2027"}
	asked := must[string](t)(mx.Submit(t.Context(), request))
	if _, err := mx.Await(t.Context(), mx.Officer, asked, testnet.InState("DELIVERED")); err != nil {
		t.Fatal(err)
	}
	who, err := mx.Officer.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{State: "bb", Category: fresh, Language: "es"})
	if err != nil || len(who.GetAuthorities()) != 1 || who.GetCategory().GetTitle() != "Drones en el mar" {
		t.Fatalf("who = %v, %v", who, err)
	}
	if i := who.GetAuthorities()[0].GetInstruments(); len(i) != 1 || i[0].GetTitle() != "Tratado de 2027" {
		t.Errorf("instruments that both declared = %v", i)
	}

	// The label changes, the category is deprecated: what was said stays, nothing new is said under it.
	say(nil, func(d directory.Draft) ([]byte, error) {
		return d.Categories(&formatv1.Categories{Categories: []*formatv1.Category{
			{Slug: fresh, Status: "deprecated", Successor: "emerging.successor", Titles: titles("Drones at sea (old)", "Drones en el mar (antes)")},
		}})
	})
	_, err = mx.Publish(t.Context(), alert(mx, fresh, "too late"))
	if err == nil || !strings.Contains(err.Error(), "emerging.successor") {
		t.Errorf("a new alert of a deprecated category: %v", err)
	}
	if _, err := mx.Submit(t.Context(), request); err == nil || !strings.Contains(err.Error(), "emerging.successor") {
		t.Errorf("a new request of a deprecated category: %v", err)
	}
	old, err := jm.Officer.Alerts.GetAlert(t.Context(), &operatorv1.GetAlertRequest{Id: id})
	if err != nil || old.GetSummary().GetCategory() != fresh {
		t.Errorf("the old alert is no longer read: %v, %v", old, err)
	}
	codes, err := bb.Officer.Directory.ListCodes(t.Context(), &operatorv1.ListCodesRequest{})
	if err != nil || !labelled(codes.GetCategories(), fresh, "Drones at sea (old)") {
		t.Errorf("codes = %v, %v", codes, err)
	}

	// And the state goes: it is suspended, and nobody asks there.
	say(nil, func(d directory.Draft) ([]byte, error) {
		return d.Suspend(directory.OfState(bb.State), n.Clock().Add(24*time.Hour), "acceptance check 9")
	})
	who, err = mx.Officer.Directory.FindAuthority(t.Context(), &operatorv1.FindAuthorityRequest{State: "bb"})
	if err != nil || len(who.GetAuthorities()) != 0 {
		t.Errorf("the suspended state is still named: %v, %v", who, err)
	}
}

func labelled(all []*operatorv1.RegisteredCode, code, title string) bool {
	for _, c := range all {
		if c.GetCode() == code && c.GetStatus() == "deprecated" {
			for _, l := range c.GetTitles() {
				if l.GetValue() == title {
					return true
				}
			}
		}
	}
	return false
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
	}
}
