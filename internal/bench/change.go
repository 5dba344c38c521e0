package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

const (
	changes     = 60
	changesWarm = 5
	// changeGoal is in milliseconds. DESIGN 15.
	changeGoal = 2000
)

// changed measures how long one enabling statement takes until it is in force at every node of a whole network: from its
// being handed in to the quorum of witnesses and the last node that has confirmed it.
func (o Options) changed(ctx context.Context, dir string) (Figure, error) {
	states := o.fan.filled().states
	o.Tell(fmt.Sprintf("starting a network of %d states", len(states)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n, err := testnet.Start(ctx, testnet.Options{Dir: dir, States: states, FourEyes: "single"})
	if err != nil {
		return Figure{}, err
	}
	defer func() { _ = n.Stop() }()
	var all []time.Duration
	for i := range changes + changesWarm {
		took, err := oneChange(ctx, n, i)
		if err != nil {
			return Figure{}, err
		}
		if i >= changesWarm {
			all = append(all, took)
		}
		o.Tell(fmt.Sprintf("%s, a change at %d nodes: %d of %d", directoryRow, len(states), i+1, changes+changesWarm))
	}
	slices.Sort(all)
	return Figure{Ours: round(milliseconds(all[len(all)*99/100])), Goal: changeGoal}, nil
}

// oneChange has a state say something new of its authority, and waits until every node goes by it.
func oneChange(ctx context.Context, n *testnet.Network, i int) (time.Duration, error) {
	m := n.Members[i%len(n.Members)]
	began := time.Now()
	err := n.Restrict(ctx, m.StateKey, func(d directory.Draft) ([]byte, error) {
		return d.Notice(m.Authority, &formatv1.Notice{Availability: "degraded", Start: d.Created.Unix(), Text: fmt.Sprintf("notice %d", i)})
	})
	if err != nil {
		return 0, err
	}
	want := n.Hub.Directory.Load().Position()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, m := range n.Members {
		if err := inForce(ctx, m, want); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// inForce waits until a node goes by the log up to a position.
func inForce(ctx context.Context, m *testnet.Member, position uint64) error {
	current := m.Daemon.Follower.Current()
	for {
		changed := current.Changed()
		if current.Load().Position() >= position {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), fault.Retry, "timeout", "measure", "a change was not in force everywhere in time: "+m.Authority.String())
		}
	}
}
