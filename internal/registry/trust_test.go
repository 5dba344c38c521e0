package registry_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/directory"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/wire"
)

// liar has the hub's keys and streams whatever it likes, for as long as it is listened to.
type liar struct {
	directoryv1.UnimplementedDirectoryServiceServer
	entry    func(position uint64) []byte
	sessions atomic.Int32
}

func (l *liar) Follow(r *directoryv1.FollowRequest, s grpc.ServerStreamingServer[directoryv1.FollowResponse]) error {
	l.sessions.Add(1)
	if err := s.Send(&directoryv1.FollowResponse{Size: r.GetFrom()}); err != nil { // a heartbeat: it was heard
		return err
	}
	for p := r.GetFrom(); ; p++ {
		if err := s.Send(&directoryv1.FollowResponse{Position: p, Statement: l.entry(p), Size: p}); err != nil {
			return err
		}
	}
}

// lie serves instead of the hub.
func (n *network) lie(entry func(uint64) []byte) (*liar, string) {
	n.t.Helper()
	id, err := authority.HubID(networkName)
	must(n.t, err)
	l := &liar{entry: entry}
	identity := wire.VisitorIdentity(n.current, n.now)
	server := wire.NewServer(wire.ServerOptions{TLS: n.hub.HubSource(id, nil, n.now).ServerTLS(identity.Verify),
		Authorise: identity.Authorise(registry.Allow), Log: zap.NewNop()})
	directoryv1.RegisterDirectoryServiceServer(server, l)
	door, err := net.Listen("tcp", "127.0.0.1:0")
	must(n.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(door)
	}()
	n.t.Cleanup(func() { server.Shut(time.Second); <-done })
	return l, door.Addr().String()
}

// forged is a revocation of m's node that anybody could make: it parses, and holds nowhere.
func (n *network) forged(m *member, key holder) []byte {
	payload, err := n.draft().RevokeNode(m.node, "forged")
	if err != nil {
		panic(err) // on a goroutine of the server
	}
	return directory.Attach(payload, key.sign(directory.RoleState, payload))
}

// TestJunkIsNeverStored: what no hub can have in its log leaves nothing on the node's disk, costs one alarm, and the hub
// is hardly asked again.
func TestJunkIsNeverStored(t *testing.T) {
	n, other := newNetwork(t), newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	size := n.current.Load().Position()
	f.reach(t, size)
	f.stop()
	h.stop()
	stranger := other.candidate("mx")
	other.take(stranger)
	before, err := os.Stat(filepath.Join(data, "directory.log"))
	must(t, err)

	for name, entry := range map[string][]byte{
		"garbage":         bytes.Repeat([]byte{7}, directory.MaxStatement),
		"nothing":         nil,
		"too large":       make([]byte, directory.MaxStatement+1),
		"another network": other.move(stranger, "example.org:443"),
		"another genesis": other.genesis,
	} {
		t.Run(name, func(t *testing.T) {
			l, addr := n.lie(func(uint64) []byte { return entry })
			f := n.follow(mx, data, addr)
			defer f.stop()
			eventually(t, func() bool { return l.sessions.Load() > 0 && len(f.alarms.raised()) > 0 })
			_, heard := f.Freshness()
			time.Sleep(1500 * time.Millisecond) // a first pause is 0.75 s at the most
			if got := l.sessions.Load(); got != 1 {
				t.Errorf("%d sessions, want 1 until the longest pause is over", got)
			}
			if got := f.alarms.raised(); !slices.Equal(got, []string{"not-a-statement"}) {
				t.Errorf("alarms %v, want one of not-a-statement", got)
			}
			if _, again := f.Freshness(); !again.Equal(heard) {
				t.Errorf("heard at %v and again at %v", heard, again)
			}
			after, err := os.Stat(filepath.Join(data, "directory.log"))
			must(t, err)
			if after.Size() != before.Size() || f.Current().Load().Position() != size {
				t.Errorf("the log grew by %d bytes to position %d", after.Size()-before.Size(), f.Current().Load().Position())
			}
		})
	}
	// The honest hub's log still goes on where the node is.
	h = n.serve(h.data, "127.0.0.1:0", nil)
	h.known()
	f = n.follow(mx, data, h.addr)
	n.move(mx, "example.org:443")
	f.reach(t, size+1)
	if got := f.alarms.raised(); len(got) > 0 {
		t.Errorf("alarms with the honest hub: %v", got)
	}
}

// TestInvalidEntriesHaveABudget: a hub that appends what parses and holds nowhere is followed for 64 entries, over all
// sessions and restarts. An operator gets the node out of it by deleting its copy of the log. PROTOCOL 4.15.
func TestInvalidEntriesHaveABudget(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	size := n.current.Load().Position()
	f.reach(t, size)
	f.stop()

	key := newHolder(t)
	l, addr := n.lie(func(uint64) []byte {
		time.Sleep(5 * time.Millisecond) // so that they come in several batches, each a chance to tell
		return n.forged(mx, key)
	})
	want := []string{"invalid-entry", "invalid-entries"}
	for start := int32(1); start <= 3; start++ {
		f = n.follow(mx, data, addr)
		eventually(t, func() bool { return slices.Contains(f.alarms.raised(), "invalid-entries") })
		time.Sleep(time.Second)
		if got := l.sessions.Load(); got != start {
			t.Errorf("%d sessions after start %d, want as many", got, start)
		}
		if got := f.alarms.raised(); !slices.Equal(got, want) {
			t.Errorf("start %d: alarms %v, want %v", start, got, want)
		}
		if got := f.Status().Stored; got != size+64 {
			t.Errorf("start %d: position %d, want %d", start, got, size+64)
		}
		f.stop()
	}

	f = n.follow(mx, data, h.addr)
	eventually(t, func() bool { return slices.Contains(f.alarms.raised(), "beyond-log") })
	f.stop()
	must(t, os.Remove(filepath.Join(data, "directory.log")))
	f = n.follow(mx, data, h.addr)
	n.move(mx, "example.org:443")
	f.reach(t, size+1)
	if got := f.alarms.raised(); len(got) > 0 {
		t.Errorf("alarms after the log was fetched anew: %v", got)
	}
}

// TestValidEntriesPayOff: each valid entry makes room for one invalid one, and no more.
func TestValidEntriesPayOff(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	h.stop()
	l, err := registry.OpenLog(filepath.Join(h.data, "directory.log"), nil)
	must(t, err)
	key := newHolder(t)
	forge := func(times int) {
		for range times {
			must(t, l.Append(n.forged(mx, key)))
			must(t, n.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) { return s.Skip(), nil }))
		}
	}
	n.propose = func(statement []byte, _ ...[]byte) { must(t, l.Append(statement)) }
	forge(64)
	n.move(mx, "example.org:1")
	n.move(mx, "example.org:2")
	forge(2)
	end := n.current.Load().Position()
	forge(1)
	n.move(mx, "example.org:3")
	must(t, l.Close())

	h = n.serve(h.data, "127.0.0.1:0", nil)
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	for range 2 {
		eventually(t, func() bool { return slices.Contains(f.alarms.raised(), "invalid-entries") })
		if got := f.Status().Stored; got != end {
			t.Errorf("position %d, want %d", got, end)
		}
		f.stop()
		f = n.follow(mx, data, h.addr)
	}
}

// TestLaterVersion: a statement of a kind that only later versions know counts a position and is skipped. PROTOCOL 4.3.
func TestLaterVersion(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	h.stop()
	payload := canonical.Marshal(&formatv1.Statement{Rules: 1, Kind: "later", Subject: "network", Created: 1, Position: 1,
		Network: n.current.Load().NetworkID()})
	l, err := registry.OpenLog(filepath.Join(h.data, "directory.log"), nil)
	must(t, err)
	must(t, l.Append(directory.Attach(payload)))
	must(t, l.Close())
	must(t, n.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) { return s.Skip(), nil }))
	h = n.serve(h.data, "127.0.0.1:0", nil)
	h.known()
	f := n.follow(mx, t.TempDir(), h.addr)
	n.move(mx, "example.org:443")
	f.reach(t, n.current.Load().Position())
}
