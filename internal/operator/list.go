package operator

import (
	"context"
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// maxEntries is the most authorities of one answer: with all that is said of them they stay under maxAnswer.
const maxEntries = 1000

// listing fills one page of the directory, state by state in order of name. A state and its nodes stand on the page
// where it begins; what a filter leaves out is not counted.
type listing struct {
	*reader
	in    *operatorv1.ListEntriesRequest
	out   *operatorv1.ListEntriesResponse
	limit int
	// state and last are where the page before ended: within a state, after an authority's slug.
	state, last string
}

// ListEntries lists the directory or one state of it, with filters: what lacks a contact point, what is stale, what has a
// status. Hidden authorities of other states are left out.
func (d *Door) ListEntries(ctx context.Context, in *operatorv1.ListEntriesRequest) (*operatorv1.ListEntriesResponse, error) {
	if err := checkFilters(in); err != nil {
		return nil, err
	}
	r, err := d.read(ctx, in.GetLanguage(), "", in.GetCards())
	if err != nil {
		return nil, err
	}
	defer r.close()
	states := r.view.States()
	if in.GetState() != "" {
		one, err := stateOf(r.view, in.GetState())
		if err != nil {
			return nil, err
		}
		states = []directory.StateEntry{one}
	}
	freshness, _ := d.c.Directory.Freshness(d.c.Now())
	l := &listing{reader: r, in: in, limit: maxEntries}
	l.out = &operatorv1.ListEntriesResponse{Position: r.view.Snapshot().Position(), Freshness: freshness, Time: milli(r.now)}
	if n := int(in.GetLimit()); n > 0 {
		l.limit = min(n, maxEntries)
	}
	l.state, l.last, _ = strings.Cut(in.GetCursor(), "/")
	for _, s := range states {
		if s.State.String() >= l.state && !l.add(s) {
			break
		}
	}
	return l.out, nil
}

func checkFilters(in *operatorv1.ListEntriesRequest) error {
	wrong := func(code, say, hint string) error {
		return fault.New(fault.Invalid, code, "list directory", say).WithHint(hint)
	}
	statuses := []string{"", "active", "suspended", "retired", "revoked"}
	switch {
	case !slices.Contains(statuses, in.GetStatus()):
		return wrong("unknown-status", "there is no such status", "active, suspended, retired or revoked")
	case in.GetMissing() != "" && in.GetMissing() != "contact-point":
		return wrong("unknown-filter", "nothing of that name can be missing", "contact-point")
	case in.GetMissing() != "" && in.GetStale():
		return wrong("two-filters", "what is missing and what is stale are two lists", "ask for one of them")
	}
	if state, _, cut := strings.Cut(in.GetCursor(), "/"); in.GetCursor() != "" {
		if _, err := authority.ParseState(state); err != nil || !cut {
			return wrong("malformed-cursor", "the cursor is not one of a page before", "begin without a cursor")
		}
	}
	return nil
}

// add puts a state on the page; false when the page is full.
func (l *listing) add(s directory.StateEntry) bool {
	continued := s.State.String() == l.state
	if l.in.GetMissing() != "" {
		if _, has := l.view.ContactPoint(s.State); !has && l.fits(s.Condition) {
			l.out.States = append(l.out.States, l.reader.state(s))
		}
		return true
	}
	if !continued {
		l.begin(s)
	}
	rows, full := len(l.out.Authorities), false
	for _, name := range s.Authorities {
		if continued && name.Slug() <= l.last {
			continue
		}
		a, ok := l.view.Authority(name)
		if !ok || !l.visible(a) || !l.fits(a.Condition) || !l.old(directory.OfAuthority(name)) {
			continue
		}
		if full = len(l.out.Authorities) == l.limit; full {
			break
		}
		l.out.Authorities = append(l.out.Authorities, l.authority(a))
		l.out.NextCursor = name.String() // kept only where the page ends here
	}
	if !full {
		l.out.NextCursor = ""
	} else if len(l.out.Authorities) == rows {
		l.out.NextCursor = s.State.String() + "/" // it has begun, and none of its authorities found room
	}
	return !full
}

// begin puts a state and its nodes on the page, as far as the filters let them.
func (l *listing) begin(s directory.StateEntry) {
	var nodes []*operatorv1.NodeInfo
	for _, name := range s.Nodes {
		if n, ok := l.view.Node(name); ok && l.fits(n.Condition) && l.old(directory.OfNode(name)) {
			nodes = append(nodes, l.reader.node(n))
		}
	}
	if l.fits(s.Condition) && !l.in.GetStale() || len(nodes) > 0 || l.any(s) {
		l.out.States = append(l.out.States, l.reader.state(s))
	}
	l.out.Nodes = append(l.out.Nodes, nodes...)
}

// any reports whether a filter leaves an authority of the state.
func (l *listing) any(s directory.StateEntry) bool {
	return slices.ContainsFunc(s.Authorities, func(name authority.Name) bool {
		a, ok := l.view.Authority(name)
		return ok && l.visible(a) && l.fits(a.Condition) && l.old(directory.OfAuthority(name))
	})
}

func (l *listing) fits(c directory.Condition) bool {
	return l.in.GetStatus() == "" || l.in.GetStatus() == c.Status.String()
}

func (l *listing) old(subject directory.Subject) bool {
	if !l.in.GetStale() {
		return true
	}
	_, stale := l.view.Stale(subject)
	return stale
}
