package operator

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/catalog"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// GetEntry finds a state, an authority or a node by its full name; hidden authorities too, for whoever knows the name
// may ask.
func (d *Door) GetEntry(ctx context.Context, in *operatorv1.GetEntryRequest) (*operatorv1.GetEntryResponse, error) {
	r, err := d.read(ctx, in.GetLanguage(), in.GetZone(), true)
	if err != nil {
		return nil, err
	}
	defer r.close()
	switch strings.Count(in.GetName(), "/") {
	case 0:
		s, err := stateOf(r.view, in.GetName())
		if err != nil {
			return nil, err
		}
		return &operatorv1.GetEntryResponse{State: r.state(s)}, nil
	case 1:
		name, err := authority.ParseName(in.GetName())
		if err != nil {
			return nil, err
		}
		if a, ok := r.view.Authority(name); ok {
			out := r.authority(a)
			r.common(out, name.State())
			return &operatorv1.GetEntryResponse{Authority: out}, nil
		}
	default:
		node, err := authority.ParseNode(in.GetName())
		if err != nil {
			return nil, err
		}
		if n, ok := r.view.Node(node); ok {
			return &operatorv1.GetEntryResponse{Node: r.node(n)}, nil
		}
	}
	return nil, unknownEntry()
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

// ListCodes gives the categories and instruments that hold now. PROTOCOL 4.18.
func (d *Door) ListCodes(context.Context, *operatorv1.ListCodesRequest) (*operatorv1.ListCodesResponse, error) {
	view, err := d.snapshotNow()
	if err != nil {
		return nil, err
	}
	now := catalog.Now(view, d.c.Lists)
	return &operatorv1.ListCodesResponse{
		Categories: registeredCodes(now.All(catalog.Categories)), CategoriesRegistered: len(view.Categories()) > 0,
		Instruments: registeredCodes(now.All(catalog.Instruments)), InstrumentsRegistered: len(view.Instruments()) > 0,
	}, nil
}

func registeredCodes(all []message.Entry) []*operatorv1.RegisteredCode {
	var out []*operatorv1.RegisteredCode
	for _, e := range all {
		c := &operatorv1.RegisteredCode{Code: e.Code, Status: e.Fields["status"], Successor: e.Fields["successor"]}
		for _, l := range e.Languages() {
			c.Titles = append(c.Titles, &operatorv1.LocalName{Language: l.String(), Value: e.Titles[l]})
		}
		out = append(out, c)
	}
	return out
}

// GetDirectoryStatus says which log the node holds, who stands behind it, and what is wrong with it. PROTOCOL 11.6, 11.9.
func (d *Door) GetDirectoryStatus(ctx context.Context, _ *operatorv1.GetDirectoryStatusRequest) (*operatorv1.GetDirectoryStatusResponse, error) {
	view, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	s := d.c.Directory.Status()
	version, _ := view.Snapshot().Rules()
	out := &operatorv1.GetDirectoryStatusResponse{
		Network: view.Snapshot().NetworkID(), Confirmed: s.Confirmed, Stored: s.Stored, Freshness: s.Freshness, Since: milli(s.Since),
		Needed: uint32(s.Judgement.Needed), Votes: texts(s.Judgement.Votes), QuorumTime: milli(s.Judgement.Quorum),
		HeadConfirmed: s.Judgement.Confirmed, Rules: uint32(version),
	}
	if !s.Head.IsZero() {
		out.HeadSize, out.HeadRoot, out.Head = s.Head.Position(), hex.EncodeToString(s.Head.Root[:]), string(s.Head.Note())
	}
	if s.Halted != nil {
		out.Halted, out.HaltedText = fault.CodeOf(s.Halted), fault.As(s.Halted).Say
	}
	s.wrongs(out)
	d.census(view, out)
	return out, nil
}

// wrongs are what the hub was caught at.
func (s LogStatus) wrongs(out *operatorv1.GetDirectoryStatusResponse) {
	for _, p := range s.Proofs {
		out.Proofs = append(out.Proofs, &operatorv1.ProofInfo{
			Kind: p.Kind, Time: milli(p.At), First: string(p.Head), Second: string(p.Other), FirstBy: p.By, SecondBy: p.OtherBy,
			Id: p.ID, Agreed: p.Agreed,
		})
	}
	for _, o := range s.Omitted {
		out.Omitted = append(out.Omitted, &operatorv1.OmittedInfo{
			Hash: o.Hash.String(), Kind: string(o.Kind), Subject: o.Subject.String(), Since: milli(o.Since),
		})
	}
}

// census counts what a caller may see. One pass: a status is asked for now and then.
func (d *Door) census(view directory.View, out *operatorv1.GetDirectoryStatusResponse) {
	r := &reader{door: d, view: view}
	for _, s := range view.States() {
		out.States++
		if _, ok := view.ContactPoint(s.State); !ok {
			out.MissingContactPoints++
		}
		for _, node := range s.Nodes {
			out.Nodes++
			out.StaleEntries += r.staleOne(directory.OfNode(node))
		}
		for _, name := range s.Authorities {
			if a, _ := view.Authority(name); r.visible(a) {
				out.Authorities++
				out.StaleEntries += r.staleOne(directory.OfAuthority(name))
			}
		}
	}
}

func (r *reader) staleOne(subject directory.Subject) uint32 {
	if _, stale := r.view.Stale(subject); stale {
		return 1
	}
	return 0
}
