package operator

import (
	"context"
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/catalog"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const (
	defaultFound = 20
	maxFound     = 100

	fallbackDesignated = "designated"
	fallbackOther      = "other"
)

// FindAuthority answers "who do I ask?". Where nobody is competent it names whom to ask instead, so that it is never a
// dead end. Hidden authorities of other states are left out. PROTOCOL 4.12.
func (d *Door) FindAuthority(ctx context.Context, in *operatorv1.FindAuthorityRequest) (*operatorv1.FindAuthorityResponse, error) {
	q, err := queryOf(in)
	if err != nil {
		return nil, err
	}
	r, err := d.read(ctx, in.GetLanguage(), in.GetZone(), !in.GetNoCards())
	if err != nil {
		return nil, err
	}
	defer r.close()
	if _, known := r.view.State(q.State); !known && in.GetState() != "" {
		return nil, fault.New(fault.NotFound, "unknown-entry", "find authority", "the state is not in the directory").
			WithHint("enlace directory ls shows which states are; ask the General Secretariat about others")
	}
	freshness, _ := d.c.Directory.Freshness(d.c.Now())
	out := &operatorv1.FindAuthorityResponse{Position: r.view.Snapshot().Position(), Freshness: freshness}
	if in.GetCategory() != "" {
		e, _ := r.codes.Entry(catalog.Categories, in.GetCategory())
		out.Category, out.Successor = r.code(catalog.Categories, in.GetCategory()), e.Fields["successor"]
	}
	found, next := r.find(q, in.GetCursor(), pageOf(in.GetLimit()))
	for _, a := range found {
		info := r.competent(a)
		if in.GetKind() != "" {
			info.Requirements = requiredFor(info.GetRequirements(), q.Kind)
		}
		out.Authorities = append(out.Authorities, info)
	}
	out.NextCursor = next
	if len(found) == 0 && in.GetCursor() == "" {
		r.fallBack(q.State, pageOf(in.GetLimit()), out)
	}
	return out, nil
}

func pageOf(limit uint32) int {
	if limit == 0 {
		return defaultFound
	}
	return int(min(limit, maxFound))
}

// competent is an authority with the instruments that both states have declared.
func (r *reader) competent(a directory.AuthorityEntry) *operatorv1.AuthorityInfo {
	info := r.authority(a)
	r.common(info, a.Name.State())
	return info
}

// find is one page of those who are competent, in order of name, and where the next one begins.
func (r *reader) find(q directory.Query, after string, limit int) (page []directory.AuthorityEntry, next string) {
	// The own state's hidden authorities are shown to it, nobody else's.
	q.Hidden, q.After = true, after
	for a := range r.view.Each(q) {
		if !r.visible(a) {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].Name.String()
		}
		page = append(page, a)
	}
	return page, ""
}

// fallBack names whom to ask where nobody is competent: the state's contact point, and where it has none whoever of it
// there is. Without a state, the contact points of all.
func (r *reader) fallBack(state authority.State, limit int, out *operatorv1.FindAuthorityResponse) {
	var names []directory.AuthorityEntry
	if out.Fallback = fallbackDesignated; state == (authority.State{}) {
		names = r.contactPoints()
	} else if npc, ok := r.view.ContactPoint(state); ok && r.visible(npc) {
		names = []directory.AuthorityEntry{npc}
	} else {
		names, out.Fallback = r.anyOf(state), fallbackOther
	}
	for _, a := range names[:min(limit, len(names))] {
		out.ContactPoints = append(out.ContactPoints, r.competent(a))
	}
	if len(out.ContactPoints) == 0 {
		out.Fallback = ""
	}
}

func (r *reader) contactPoints() []directory.AuthorityEntry {
	var all []directory.AuthorityEntry
	for _, s := range r.view.States() {
		if npc, ok := r.view.ContactPoint(s.State); ok && r.visible(npc) && s.Status == directory.Active {
			all = append(all, npc)
		}
	}
	return all
}

// anyOf are a state's active authorities, those first that are there to be asked.
func (r *reader) anyOf(state authority.State) []directory.AuthorityEntry {
	rank := func(a directory.AuthorityEntry) int {
		switch {
		case a.Type == "npc":
			return 0
		case slices.ContainsFunc(a.Competences, func(c directory.Competence) bool { return c.Function == "requests" }):
			return 1
		}
		return 2
	}
	all, _ := r.find(directory.Query{State: state}, "", maxFound)
	slices.SortStableFunc(all, func(a, b directory.AuthorityEntry) int {
		if by := rank(a) - rank(b); by != 0 {
			return by
		}
		return strings.Compare(a.Name.String(), b.Name.String())
	})
	return all
}

func queryOf(in *operatorv1.FindAuthorityRequest) (directory.Query, error) {
	var q directory.Query
	var err error
	if in.GetState() != "" {
		if q.State, err = authority.ParseState(in.GetState()); err != nil {
			return q, err
		}
	}
	if in.GetKind() != "" {
		if q.Kind, err = authority.ParseRequestKind(in.GetKind()); err != nil {
			return q, err
		}
	}
	if in.GetCategory() != "" {
		q.Category, err = authority.ParseCategory(in.GetCategory())
	}
	return q, err
}
