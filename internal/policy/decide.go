package policy

import (
	"iter"

	"github.com/cedar-policy/cedar-go"
)

// rule is one policy with its annotations read.
type rule struct {
	reason     Reason
	obligation string
	policy     *cedar.Policy
}

// rules are those that can concern one action, in the order of their files.
type rules []*rule

// All lets cedar.Authorize walk them.
func (rs rules) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range rs {
			if !yield(cedar.PolicyID(r.reason.ID), r.policy) {
				return
			}
		}
	}
}

// entities are the three a decision knows; everything else is a name without attributes.
type entities [3]cedar.Entity

// Get finds one by its name.
func (e *entities) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	for i := range e {
		if e[i].UID == uid {
			return e[i], true
		}
	}
	return cedar.Entity{}, false
}

// Decide answers a question. It never fails: what cannot be decided is denied, with the reason.
func (s *Set) Decide(q Question) Decision {
	if !complete(q) {
		return denyIncomplete()
	}
	action := s.actions[q.Action]
	known := entities{callerEntity(q.Caller), resourceEntity(q), action.entity}
	outcome, diagnostic := cedar.Authorize(action.rules, &known, cedar.Request{
		Principal: known[0].UID,
		Resource:  known[1].UID,
		Action:    known[2].UID,
		Context: cedar.NewRecord(cedar.RecordMap{
			"now":        cedar.NewDatetime(q.Now),
			"two_person": cedar.NewEntityUID("Mode", cedar.String(q.Mode.String())),
		}),
	})
	// A limit that fails to evaluate must not be a limit lifted.
	if len(diagnostic.Errors) > 0 {
		return denyOnFailure(string(diagnostic.Errors[0].PolicyID))
	}
	if len(diagnostic.Reasons) == 0 {
		d := denyByDefault()
		d.Openings = action.permits
		return d
	}
	return s.explain(outcome, diagnostic)
}

// complete guards against the empty matching the empty: no authority is the owner of nothing.
func complete(q Question) bool {
	if q.Caller.Name == "" || q.Caller.Authority.IsZero() || q.Action.String() == "" || q.Now.IsZero() {
		return false
	}
	return actionNames[q.Action].on == kindNode || !q.Resource.Owner.IsZero()
}

func (s *Set) explain(outcome cedar.Decision, diagnostic cedar.Diagnostic) Decision {
	d := Decision{Allowed: outcome == cedar.Allow, Reasons: make([]Reason, 0, len(diagnostic.Reasons))}
	for _, found := range diagnostic.Reasons {
		r := s.byID[string(found.PolicyID)]
		d.Reasons = append(d.Reasons, r.reason)
		if d.Allowed && r.obligation != "" {
			d.Obligations = append(d.Obligations, r.obligation)
		}
	}
	return d
}

func callerEntity(c Caller) cedar.Entity {
	return cedar.Entity{
		UID: cedar.NewEntityUID(kindCaller, cedar.String(c.Name)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"name":      cedar.String(c.Name),
			"authority": cedar.String(c.Authority.String()),
			"state":     cedar.String(c.Authority.State().String()),
			"roles":     names("Role", c.Roles),
			"scopes":    names("Scope", c.Scopes),
			"is_token":  cedar.Boolean(c.IsToken),
		}),
	}
}

func resourceEntity(q Question) cedar.Entity {
	on := actionNames[q.Action].on
	e := cedar.Entity{UID: cedar.NewEntityUID(on, cedar.String(q.Resource.ID))}
	switch on {
	case kindRequest:
		e.Attributes = requestAttributes(q.Resource)
	case kindAlert:
		e.Attributes = cedar.NewRecord(alertAttributes(q.Resource))
	case kindSubscription:
		e.Attributes = cedar.NewRecord(workAttributes(q.Resource))
	case kindAccount:
		e.Attributes = cedar.NewRecord(cedar.RecordMap{
			"owner": cedar.String(q.Resource.Owner.String()),
			"state": cedar.String(q.Resource.Owner.State().String()),
		})
	}
	return e
}

func requestAttributes(r Resource) cedar.Record {
	handling := make([]cedar.Value, len(r.Handling))
	for i, h := range r.Handling {
		handling[i] = cedar.String(h)
	}
	attributes := alertAttributes(r)
	attributes["handling"] = cedar.NewSet(handling...)
	return cedar.NewRecord(attributes)
}

func alertAttributes(r Resource) cedar.RecordMap {
	attributes := workAttributes(r)
	if r.Urgency != "" {
		attributes["urgency"] = cedar.NewEntityUID("Urgency", cedar.String(r.Urgency))
	}
	return attributes
}

// workAttributes are those of everything that somebody writes and somebody else approves.
func workAttributes(r Resource) cedar.RecordMap {
	return cedar.RecordMap{
		"owner":     cedar.String(r.Owner.String()),
		"state":     cedar.String(r.Owner.State().String()),
		"author":    cedar.String(r.Author),
		"status":    cedar.String(r.Status),
		"four_eyes": cedar.Boolean(r.FourEyes),
	}
}

// names turns slugs into a set of members of one enumeration.
func names(enum cedar.EntityType, slugs []string) cedar.Set {
	values := make([]cedar.Value, len(slugs))
	for i, s := range slugs {
		values[i] = cedar.NewEntityUID(enum, cedar.String(s))
	}
	return cedar.NewSet(values...)
}
