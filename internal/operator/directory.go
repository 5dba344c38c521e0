package operator

import (
	"context"
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/policy"
)

// ListEntries lists the directory, or one state of it.
func (d *Door) ListEntries(ctx context.Context, in *operatorv1.ListEntriesRequest) (*operatorv1.ListEntriesResponse, error) {
	view, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	states := view.States()
	if in.GetState() != "" {
		one, err := stateOf(view, in.GetState())
		if err != nil {
			return nil, err
		}
		states = []directory.StateEntry{one}
	}
	freshness, _ := d.c.Directory.Freshness(d.c.Now())
	out := &operatorv1.ListEntriesResponse{Position: view.Snapshot().Position(), Freshness: freshness}
	for _, s := range states {
		d.listState(ctx, view, s, out)
	}
	return out, nil
}

func (d *Door) listState(ctx context.Context, view directory.View, s directory.StateEntry, out *operatorv1.ListEntriesResponse) {
	out.States = append(out.States, stateInfo(s))
	for _, name := range s.Authorities {
		if a, ok := view.Authority(name); ok && !a.Hidden {
			out.Authorities = append(out.Authorities, d.authorityInfo(ctx, a))
		}
	}
	for _, node := range s.Nodes {
		if n, ok := view.Node(node); ok {
			out.Nodes = append(out.Nodes, nodeInfo(n))
		}
	}
}

// GetEntry finds a state, an authority or a node by its full name; hidden authorities too, for whoever knows the name
// may ask.
func (d *Door) GetEntry(ctx context.Context, in *operatorv1.GetEntryRequest) (*operatorv1.GetEntryResponse, error) {
	view, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	switch strings.Count(in.GetName(), "/") {
	case 0:
		s, err := stateOf(view, in.GetName())
		if err != nil {
			return nil, err
		}
		return &operatorv1.GetEntryResponse{State: stateInfo(s)}, nil
	case 1:
		name, err := authority.ParseName(in.GetName())
		if err != nil {
			return nil, err
		}
		if a, ok := view.Authority(name); ok {
			return &operatorv1.GetEntryResponse{Authority: d.authorityInfo(ctx, a)}, nil
		}
	default:
		node, err := authority.ParseNode(in.GetName())
		if err != nil {
			return nil, err
		}
		if n, ok := view.Node(node); ok {
			return &operatorv1.GetEntryResponse{Node: nodeInfo(n)}, nil
		}
	}
	return nil, unknownEntry()
}

// FindAuthority answers "who do I ask?".
func (d *Door) FindAuthority(ctx context.Context, in *operatorv1.FindAuthorityRequest) (*operatorv1.FindAuthorityResponse, error) {
	view, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	q, err := queryOf(in)
	if err != nil {
		return nil, err
	}
	out := &operatorv1.FindAuthorityResponse{}
	for _, a := range view.Find(q) {
		out.Authorities = append(out.Authorities, d.authorityInfo(ctx, a))
	}
	return out, nil
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

// look is the directory as it is now, for a caller who may read it.
func (d *Door) look(ctx context.Context) (directory.View, error) {
	if err := d.allow(callerFrom(ctx).Principal, policy.DirectoryRead, authority.Name{}); err != nil {
		return directory.View{}, err
	}
	s := d.c.Directory.Load()
	if s == nil {
		return directory.View{}, fault.New(fault.Retry, "no-directory", "read directory", "this node has no directory yet").
			WithHint("wait until it has reached the hub or a peer")
	}
	return s.At(d.c.Now()), nil
}

func stateOf(view directory.View, name string) (directory.StateEntry, error) {
	state, err := authority.ParseState(name)
	if err != nil {
		return directory.StateEntry{}, err
	}
	s, ok := view.State(state)
	if !ok {
		return directory.StateEntry{}, unknownEntry()
	}
	return s, nil
}

func unknownEntry() error {
	return fault.New(fault.NotFound, "unknown-entry", "read directory", "the directory has no such entry")
}

func stateInfo(s directory.StateEntry) *operatorv1.StateInfo {
	return &operatorv1.StateInfo{Name: s.State.String(), Status: s.Status.String()}
}

func nodeInfo(n directory.NodeEntry) *operatorv1.NodeInfo {
	return &operatorv1.NodeInfo{Name: n.Node.String(), Endpoints: n.Endpoints, Status: n.Status.String()}
}

func (d *Door) authorityInfo(ctx context.Context, a directory.AuthorityEntry) *operatorv1.AuthorityInfo {
	out := &operatorv1.AuthorityInfo{
		Name: a.Name.String(), Acronym: a.Acronym, Type: a.Type, Status: a.Status.String(), Node: a.Node.String(),
		Languages: texts(a.Languages), NationalPointOfContact: a.NationalPointOfContact,
	}
	for _, n := range a.Names {
		out.Names = append(out.Names, &operatorv1.LocalName{Language: n.Language.String(), Value: n.Value})
	}
	for _, c := range a.Competences {
		out.Functions = append(out.Functions, c.Function)
		out.Categories = append(out.Categories, texts(c.Categories)...)
	}
	out.Functions, out.Categories = distinct(out.Functions), distinct(out.Categories)
	for _, desk := range a.Desks {
		out.Desks = append(out.Desks, d.deskInfo(ctx, desk))
	}
	return out
}

// deskInfo adds telephone and mailbox where the node holds the desk's card; a desk without one is still a desk.
func (d *Door) deskInfo(ctx context.Context, desk directory.Desk) *operatorv1.DeskInfo {
	out := &operatorv1.DeskInfo{Slug: desk.Slug, TimeZone: desk.TimeZone, Hours: desk.Hours, Languages: texts(desk.Languages)}
	if d.c.Contacts == nil || desk.Card.IsZero() {
		return out
	}
	if card, err := d.c.Contacts.Card(ctx, desk.Card); err == nil {
		out.Phone, out.Mailbox = card.Phone, card.Mailbox
	}
	return out
}

func distinct(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}
