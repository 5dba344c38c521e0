package node

import (
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
)

// Whoever issued a token cannot approve what it wrote; another approver can. DESIGN 9.
func TestIssuerDoesNotApproveTheirToken(t *testing.T) {
	fgr := nameOf(t, "mx/fgr")
	person := func(name string) exchange.Actor {
		return actorOf(people.Principal{Name: name, User: get(people.ParseUser(name))(t), Authority: fgr, Roles: []people.Role{people.RoleApprover}})
	}
	token := actorOf(people.Principal{Name: "sap", TokenID: get(people.ParseTokenID("0123456789abcdef"))(t), IssuedBy: "ana", Authority: fgr})
	if token.Account != "token:0123456789abcdef" || token.Author != "ana" {
		t.Fatalf("the token acts as %q and writes as %q", token.Account, token.Author)
	}
	g := gate{set: get(policy.Load(nil))(t), lang: get(authority.ParseLanguage("en"))(t), clock: time.Now}
	draft := exchange.Resource{Own: fgr, Author: token.Author, State: message.PendingApproval, FourEyes: true}
	if err := g.Allow(t.Context(), person("ana"), "request:approve", draft); !fault.Is(err, fault.Denied) {
		t.Errorf("the issuer approves: %v, want Denied", err)
	}
	ok(t, g.Allow(t.Context(), person("eva"), "request:approve", draft))
}
