package registry_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/registry"
)

// given is a bus that notes who asks for what.
type given struct {
	registry.BusAccess
	node    authority.Node
	filters []string
}

func (g *given) Access(_ context.Context, node authority.Node, filters []string) (registry.BusAccess, error) {
	g.node, g.filters = node, filters
	return g.BusAccess, nil
}

// TestBusAccess: what a node asks comes to the bus under the node's own name, and what it is given comes back whole; a
// hub without a bus says so; too much is refused before anyone looks at it.
func TestBusAccess(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br")
	mx := all[0]
	follower, err := registry.OpenFollower(registry.FollowerOptions{Data: t.TempDir(), Fingerprint: n.current.Load().NetworkID(), Genesis: n.genesis,
		Hubs: []string{h.addr}, TLS: configOf(n.source(mx, mx.node)), Now: n.now, Log: zap.NewNop()})
	must(t, err)
	defer func() { must(t, follower.Close()) }()
	ctx := within(t, 20*time.Second)
	none, err := follower.BusAccess(ctx, []string{"drugs.*.*"})
	if err != nil || len(none.URLs) > 0 {
		t.Errorf("a hub without a bus: %+v, %v", none, err)
	}
	bus := &given{BusAccess: registry.BusAccess{URLs: []string{"tls://127.0.0.1:4222"}, CA: []byte("PEM"), JWT: "token",
		Expires: time.Unix(1800000000, 0).UTC(), Deliver: "deliver.mx.primary", Publishers: []authority.State{all[1].state}}}
	h.service.UseBus(bus)
	got, err := follower.BusAccess(ctx, []string{"drugs.*.*", "fraud.*.urgent"})
	must(t, err)
	if !reflect.DeepEqual(got, bus.BusAccess) {
		t.Errorf("given %+v, came %+v", bus.BusAccess, got)
	}
	if bus.node != mx.node || !slices.Equal(bus.filters, []string{"drugs.*.*", "fraud.*.urgent"}) {
		t.Errorf("%s asked for %q", bus.node, bus.filters)
	}
	bus.node = authority.Node{}
	for name, filters := range map[string][]string{"many": make([]string, 513), "long": {strings.Repeat("x", 129)}} {
		if _, err := h.clientOf(mx).BusAccess(ctx, filters); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v, want too large", name, err)
		}
	}
	if !bus.node.IsZero() {
		t.Error("too much came to the bus")
	}
}
