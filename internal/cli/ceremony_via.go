package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/wire"
)

// via hands statements in at the door of a node, which keeps them for the hub and puts restrictions in force at once. The
// node is looked up in the directory, so that it can be told from a stranger. PROTOCOL 10.10.
func (a *app) via(ctx context.Context, to string, s *directory.Snapshot, key *keyring.OfflineKey, b directory.Bundle) error {
	entry, err := nodeAt(s.At(a.clock()), to)
	if err != nil {
		return err
	}
	current, source := &directory.Current{}, key.Source(a.clock)
	current.Store(s)
	courier := peer.NewCourier(current, a.clock, func(n authority.Node) *tls.Config {
		return source.ClientTLS(wire.ThisNode(current, a.clock, n).Verify)
	})
	defer courier.Close()
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	type taken struct {
		submitted
		Outcome string `json:"outcome"`
	}
	var done []taken
	for _, st := range b.Statements {
		outcome, position, err := courier.HandIn(ctx, entry, st.Signed(), b.CardsOf(st)...)
		if err != nil {
			a.note("%s about %s was not taken; %d before it were.", st.Kind(), st.Subject(), len(done))
			return err
		}
		// If the program stops here the node has it; handed in again it is the same.
		done = append(done, taken{submitted{string(st.Kind()), st.Subject().String(), position, st.Hash().String()}, outcome})
	}
	return a.print(map[string]any{"submitted": done, "node": entry.Node.String()}, func(w io.Writer) {
		for _, d := range done {
			fmt.Fprintf(w, "%s  %s %s at %s\n", d.Outcome, d.Kind, d.Subject, entry.Node)
		}
	})
}

// nodeAt finds a node by its name or by an address that it declares.
func nodeAt(v directory.View, to string) (directory.NodeEntry, error) {
	for _, n := range v.Nodes() {
		if n.Node.String() == to || slices.Contains(n.Endpoints, to) {
			return n, nil
		}
	}
	return directory.NodeEntry{}, fault.New(fault.NotFound, "unknown-node", "hand in", "the directory has no node "+to).
		WithHint("name a node, such as jm/node/primary, or an address that it declares; --log FILE is the directory where the hub is down")
}
