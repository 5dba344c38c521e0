package node

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/policy"
)

// gate lets policy decide what the exchange asks.
type gate struct {
	set   *policy.Set
	mode  policy.Mode
	lang  authority.Language
	clock func() time.Time
}

// Allow is nil where a rule permits, and Denied with the rules' own words where not.
func (g gate) Allow(_ context.Context, a exchange.Actor, action string, r exchange.Resource) error {
	act, err := policy.ParseAction(action)
	if err != nil {
		return err
	}
	d := g.set.Decide(policy.Question{
		Caller: policy.Caller{Name: a.Account, Authority: a.Authority, Roles: a.Roles, Scopes: a.Scopes, IsToken: a.Token},
		Action: act,
		Resource: policy.Resource{
			Owner: r.Own, Author: r.Author, Status: string(r.State), Urgency: string(r.Urgency), FourEyes: r.FourEyes,
		},
		Mode: g.mode,
		Now:  g.clock(),
	})
	return d.Refusal(act, g.lang)
}
