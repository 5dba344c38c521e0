package registry

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	opBus = "ask for the bus"
	// maxFilters and maxFilter bound what one node may ask for, in number and in bytes of each.
	maxFilters = 512
	maxFilter  = 128
	// maxAnswer bounds what is taken from a hub: addresses, publishers.
	maxAnswer = 1024
)

// Bus gives nodes access to the bus; room bus's at the hub. The node is in good standing.
type Bus interface {
	Access(ctx context.Context, node authority.Node, filters []string) (BusAccess, error)
}

// BusAccess is what a node is given; the fields are room bus's Access.
type BusAccess struct {
	URLs       []string
	CA         []byte
	JWT        string
	Expires    time.Time
	Deliver    string
	Publishers []authority.State
}

// UseBus gives the service a bus; without one it answers that there is none. Call it before the service is served.
func (s *Service) UseBus(b Bus) { s.bus = b }

// GetBusAccess implements enlace.directory.v1: an hour's access for the node that calls, with its consumers made from
// the filters. A hub without a bus answers with no addresses. Errors: TooLarge "too-many", those of Bus. PROTOCOL 11.7.
func (s *Service) GetBusAccess(ctx context.Context, r *directoryv1.GetBusAccessRequest) (*directoryv1.GetBusAccessResponse, error) {
	peer, ok := wire.PeerFrom(ctx)
	if !ok || !peer.IsNode() {
		return nil, fault.New(fault.Denied, "not-allowed", opBus, "only a node uses the bus")
	}
	if len(r.GetFilters()) > maxFilters {
		return nil, fault.New(fault.TooLarge, "too-many", opBus, "too many filters")
	}
	for _, f := range r.GetFilters() {
		if len(f) > maxFilter {
			return nil, fault.New(fault.TooLarge, "too-large", opBus, "a filter is too long to be one")
		}
	}
	if s.bus == nil {
		return &directoryv1.GetBusAccessResponse{}, nil
	}
	a, err := s.bus.Access(ctx, peer.Node, r.GetFilters())
	if err != nil {
		return nil, err
	}
	m := &directoryv1.GetBusAccessResponse{Urls: a.URLs, Ca: a.CA, UserJwt: a.JWT, Expires: a.Expires.UnixMilli(), Deliver: a.Deliver}
	for _, p := range a.Publishers {
		m.Publishers = append(m.Publishers, p.String())
	}
	return m, nil
}

// BusAccess asks for access to the bus for the calling node; no URLs where the network has none. PROTOCOL 11.7.
func (c *Client) BusAccess(ctx context.Context, filters []string) (BusAccess, error) {
	m, err := c.api.GetBusAccess(ctx, &directoryv1.GetBusAccessRequest{Filters: filters})
	if err != nil {
		return BusAccess{}, err
	}
	return parseAccess(m)
}

func parseAccess(m *directoryv1.GetBusAccessResponse) (BusAccess, error) {
	if len(m.GetUrls()) > maxAnswer || len(m.GetPublishers()) > maxAnswer {
		return BusAccess{}, fault.New(fault.TooLarge, "too-many", opBus, "the hub's answer is too large")
	}
	a := BusAccess{URLs: m.GetUrls(), CA: m.GetCa(), JWT: m.GetUserJwt(), Expires: time.UnixMilli(m.GetExpires()).UTC(), Deliver: m.GetDeliver()}
	for _, p := range m.GetPublishers() {
		state, err := authority.ParseState(p)
		if err != nil {
			return BusAccess{}, err
		}
		a.Publishers = append(a.Publishers, state)
	}
	return a, nil
}

// BusAccess is Client.BusAccess at the first hub that answers.
func (f *Follower) BusAccess(ctx context.Context, filters []string) (BusAccess, error) {
	var a BusAccess
	err := f.ask(func(c *Client) error {
		var err error
		a, err = c.BusAccess(ctx, filters)
		return err
	})
	return a, err
}
