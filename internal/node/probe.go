package node

import (
	"context"

	"github.com/enlace-network/enlace/internal/doctor"
)

// openProbes lets the node send probes and answer those of others. PROTOCOL 7.6.
func (d *daemon) openProbes(context.Context) error {
	nodeKey, err := d.nodeKey()
	if err != nil {
		return err
	}
	incarnation := d.ledger.Identity().Incarnation
	d.prober = doctor.Prober{
		Node: d.parsed.node, NodeKey: nodeKey, Incarnation: incarnation, Keys: d.ring, Directory: known{d.follower}, Courier: d.courier,
		Clock: d.Clock, Random: d.Random,
	}
	d.probes = &doctor.Answerer{
		Node: d.parsed.node, NodeKey: nodeKey, Incarnation: incarnation, Keys: d.ring, Directory: known{d.follower}, Ledger: d.ledger,
		Clock: d.Clock, Log: d.Log,
	}
	return nil
}
