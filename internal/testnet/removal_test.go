package testnet_test

import (
	"context"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/testnet"
	"github.com/enlace-network/enlace/internal/wire"
)

// TestRemovalThroughPeers: stewards hand the suspension of a state to one node, with the hub stopped and with the hub up.
// Within 10 s every other node refuses the state, over connections that it has open, and a stream of it to another node
// is cut. With the hub up, the hub has it in its log too. P7; PROTOCOL 4.6, 10.10.
func TestRemovalThroughPeers(t *testing.T) {
	for name, hub := range map[string]bool{"hub stopped": false, "hub up": true} {
		t.Run(name, func(t *testing.T) { removal(t, hub) })
	}
}

func removal(t *testing.T, hub bool) {
	relays := map[string]*relay{}
	n := start(t, testnet.Options{States: []string{"mx", "jm", "br", "ht", "us"}, Relay: func(listen string) (string, error) {
		relays[listen] = newRelay(t, listen)
		return relays[listen].addr(), nil
	}})
	first, second, bad := n.Members[0], n.Members[1], n.Members[4]
	for _, r := range relays {
		r.slow(slowRate)
	}
	x := unfinished(t, bad, second)
	frozen := &directory.Current{}
	frozen.Store(bad.Daemon.Follower.Current().Load())
	if err := bad.Stop(); err != nil { // the test plays a node that does not obey
		t.Fatal(err)
	}
	stream := x.resume(t, dial(t, bad, second, frozen))
	idle := map[*testnet.Member]func() error{}
	for _, m := range n.Members[:4] {
		idle[m] = asked(t, bad, dial(t, bad, m, frozen))
		if err := idle[m](); err != nil {
			t.Fatal(err)
		}
	}
	if !hub {
		if err := n.StopHub(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	suspension, err := n.Restriction(nil, func(d directory.Draft) ([]byte, error) {
		return d.Suspend(directory.OfState(bad.State), began.Add(24*time.Hour), "an exercise")
	})
	if err != nil {
		t.Fatal(err)
	}
	handIn(t, first, suspension)
	for m, call := range idle {
		refused(t, began, "a connection to "+m.Daemon.Node.String(), call)
	}
	refused(t, began, "a stream", func() error { return push(stream) })
	if hub {
		logged(t, n, bad)
	}
}

// TestRemovalAt34NodesWithoutTheHub: the same at a network of 34, where no two nodes are connected when it begins. P7.
func TestRemovalAt34NodesWithoutTheHub(t *testing.T) {
	if raced {
		t.Skip("the race detector makes every handshake many times slower")
	}
	var states []string
	for i := range 34 {
		states = append(states, string([]byte{'a' + byte(i/26), 'a' + byte(i%26)}))
	}
	n := start(t, testnet.Options{States: states})
	if err := n.StopHub(); err != nil {
		t.Fatal(err)
	}
	bad := n.Members[33]
	began := time.Now()
	suspension, err := n.Restriction(nil, func(d directory.Draft) ([]byte, error) {
		return d.Suspend(directory.OfState(bad.State), began.Add(24*time.Hour), "an exercise")
	})
	if err != nil {
		t.Fatal(err)
	}
	handIn(t, n.Members[0], suspension)
	for _, m := range n.Members[:33] {
		for m.Daemon.Follower.Current().Load().At(time.Now()).CheckNode(bad.Daemon.Node) == nil {
			if time.Since(began) > removedWithin {
				t.Fatalf("%s does not refuse the suspended state after %s", m.Daemon.Node, time.Since(began))
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	t.Logf("33 nodes refuse the state after %s", time.Since(began))
}

// asked is a small call over an open connection that fails only where the caller is refused.
func asked(t *testing.T, by *testnet.Member, client peerv1.PeerServiceClient) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(t.Context(), removedWithin)
		defer cancel()
		_, err := client.AttachmentStatus(ctx, &peerv1.AttachmentStatusRequest{Sender: by.Authority.String(), MessageId: make([]byte, 16)})
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
			return nil // let in, and told that there is no such attachment
		}
		return err
	}
}

// handIn brings a statement to a node as the holder of a state's key, who may.
func handIn(t *testing.T, to *testnet.Member, statement []byte) {
	t.Helper()
	judge := wire.ThisNode(to.Daemon.Follower.Current(), time.Now, to.Daemon.Node)
	conn, err := wire.Dial(to.Daemon.PeerAddr.String(), wire.ClientOptions{TLS: to.StateKey.Source(time.Now).ClientTLS(judge.Verify)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	r, err := peerv1.NewPeerServiceClient(conn).HandIn(t.Context(), &peerv1.HandInRequest{Statement: statement})
	if err != nil {
		t.Fatal(err)
	}
	if r.GetOutcome() == "kept" {
		t.Errorf("a restriction was kept, want it in force")
	}
}

// logged waits until a restriction of a state is in the hub's log, where the node that was handed it brought it.
func logged(t *testing.T, n *testnet.Network, m *testnet.Member) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		state, _ := n.Hub.Directory.Load().At(time.Now()).State(m.State)
		if state.Status == directory.Suspended && !state.Unconfirmed {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the hub does not have the suspension in its log")
		}
	}
}
