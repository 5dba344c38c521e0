package registry_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/wire"
)

// TestVetoWithheld: a node that holds a veto which the hub does not log cosigns no head that would let the recovery take
// effect, before and after a restart; what comes before it does cosign. PROTOCOL 4.20.
func TestVetoWithheld(t *testing.T) {
	n := newNetwork(t)
	log := n.record()
	mx, br, jm := n.witness("mx"), n.witness("br"), n.witness("jm")
	key := newHolder(t)
	payload, err := n.draft().Recover(jm.state, &formatv1.Recover{Threshold: 1, Reason: "stolen",
		Keys: []*formatv1.Key{directory.DeclareKey(directory.PurposeState, key.public(), time.Time{})}})
	must(t, err)
	n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload),
		key.sign(directory.RoleNew, payload), mx.key.sign(directory.RoleConsent, payload))
	before := *log
	head := func(at time.Time) directory.Head { return must2(directory.ParseHead(n.headAt(before, at, mx, br)))(t) }
	earlier := head(n.now())
	n.ahead.Store(int64(15 * 24 * time.Hour))
	later := head(n.now())
	veto, err := n.draft().Veto(jm.state)
	must(t, err)
	veto = directory.Attach(veto, jm.key.sign(directory.RoleState, veto))
	payload, err = n.draft().CompleteRecovery(jm.state, earlier, later)
	must(t, err)
	n.apply(payload, key.sign(directory.RoleNew, payload))
	all := *log
	o := n.cosigning(mx, t.TempDir(), "127.0.0.1:1")
	f := n.open(o)
	must(t, gives(t, f, before, 2, later.Note()))
	if _, err := f.Restrict(veto); err != nil {
		t.Fatal(err)
	}
	must(t, gives(t, f, all, len(all), n.headOf(all)))
	vote := func(entries [][]byte) error {
		_, err := f.Vote(must2(directory.ParseHead(n.headOf(entries)))(t))
		return err
	}
	must(t, vote(before))
	for range 2 {
		if err := vote(all); fault.CodeOf(err) != "vetoed" {
			t.Errorf("%v, want vetoed", err)
		}
		must(t, f.Close())
		f = n.open(o)
	}
}

// TestGiveBack: nodes give a hub back what it has lost, of an old copy and of all, by their ordinary code; it comes back to the
// same log and head, proposes nothing before, and goes on after. PROTOCOL 11.11.
func TestGiveBack(t *testing.T) {
	for _, name := range []string{"an old copy", "nothing"} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			h := n.start()
			all := h.witnesses("mx", "br")
			left := t.TempDir()
			if name == "an old copy" {
				left = copied(t, h)
			}
			options := []registry.FollowerOptions{n.cosigning(all[0], t.TempDir(), h.addr), n.cosigning(all[1], t.TempDir(), h.addr)}
			nodes := []*following{n.run(options[0]), n.run(options[1])}
			n.move(all[0].member, "example.org:1")
			size := n.current.Load().Position()
			for _, f := range nodes {
				eventually(t, func() bool { return f.Status().Confirmed == size })
				f.stop()
			}
			root := h.service.Head().Root
			h.stop()
			n.propose = nil
			h = n.serve(left, h.addr, nil)
			next := n.move(all[1].member, "example.org:2")
			steward := h.client(n.stewards[0])
			if _, err := steward.Propose(within(t, 20*time.Second), next); err == nil {
				t.Error("a hub that lost entries proposes")
			}
			if got := h.service.Current().Load().Position(); got >= size {
				t.Errorf("position %d of %d: it lost nothing", got, size)
			}
			for _, o := range options {
				f := n.run(o)
				eventually(t, func() bool { return h.service.Current().Load().Position() == size || f.Status().Stored > size })
			}
			if got := h.service.Head(); got.Position() != size || got.Root != root {
				t.Errorf("another head than before, of %d", got.Position())
			}
			eventually(t, func() bool { _, err := steward.Propose(within(t, 20*time.Second), next); return err == nil })
			eventually(t, func() bool { return h.service.Head().Position() == size+1 })
		})
	}
}

// TestStops: wherever the machine stops, the next start has what was confirmed, loses no restriction, and goes on to the end.
// PROTOCOL 11.8, promises P1 and P7.
func TestStops(t *testing.T) {
	n := newNetwork(t)
	log := n.record()
	mx, br, jm := n.witness("mx"), n.witness("br"), n.witness("jm")
	first, unlogged := *log, n.unheard(jm.member)
	n.move(mx.member, "example.org:1")
	n.revoke(br.member)
	n.move(mx.member, "example.org:2")
	all := *log
	data := t.TempDir()
	var stops []string
	stop := func() {
		to := t.TempDir()
		must(t, os.CopyFS(to, os.DirFS(data)))
		stops = append(stops, to)
	}
	o := n.options(mx.member, data, "127.0.0.1:1")
	o.Sync = func(f *os.File) error {
		stop()
		defer stop()
		return f.Sync()
	}
	f := n.open(o)
	last := n.headOf(all, mx, br, jm)
	must(t, gives(t, f, first, 2, n.headOf(first, mx, br, jm)))
	stop()
	held := len(stops)
	_, err := f.Restrict(unlogged)
	must(t, err)
	durable := len(stops)
	stop()
	must(t, gives(t, f, all, len(first)+1, n.headOf(all)))
	stored := len(stops)
	stop()
	must(t, gives(t, f, nil, 1, last))
	ended := len(stops)
	stop()
	for i, at := range stops {
		c := n.options(mx.member, at, "127.0.0.1:1")
		again := n.open(c)
		s := again.Status()
		view := again.Current().Load().At(n.now())
		switch {
		case i >= held-1 && s.Confirmed < uint64(len(first)), i >= stored && s.Stored < uint64(len(all)), i >= ended && s.Confirmed < uint64(len(all)):
			t.Errorf("stop %d of %d: confirmed to %d of %d", i, len(stops), s.Confirmed, s.Stored)
		case i >= durable && fault.CodeOf(view.CheckNode(jm.node)) != "revoked", i >= stored && fault.CodeOf(view.CheckNode(br.node)) != "revoked":
			t.Errorf("stop %d of %d: a restriction is gone", i, len(stops))
		}
		must(t, gives(t, again, all, int(s.Stored)+1, last))
		if got := again.Status(); got.Confirmed != uint64(len(all)) || len(got.Proofs) > 0 {
			t.Errorf("stop %d of %d does not go on: %+v", i, len(stops), got)
		}
		must(t, again.Close())
	}
}

// player has the hub's keys and plays what a test wrote, and then says nothing.
type player struct {
	directoryv1.UnimplementedDirectoryServiceServer
	say []*directoryv1.FollowResponse
}

func (p *player) Follow(_ *directoryv1.FollowRequest, s grpc.ServerStreamingServer[directoryv1.FollowResponse]) error {
	for _, r := range p.say {
		if err := s.Send(r); err != nil {
			return err
		}
	}
	<-s.Context().Done()
	return nil
}

// play serves instead of the hub.
func (n *network) play(say ...*directoryv1.FollowResponse) string {
	n.t.Helper()
	id, err := authority.HubID(networkName)
	must(n.t, err)
	identity := wire.VisitorIdentity(n.current, n.now)
	server := wire.NewServer(wire.ServerOptions{TLS: n.hub.HubSource(id, nil, n.now).ServerTLS(identity.Verify),
		Authorise: identity.Authorise(registry.Allow), Log: zap.NewNop()})
	directoryv1.RegisterDirectoryServiceServer(server, &player{say: say})
	door, err := net.Listen("tcp", "127.0.0.1:0")
	must(n.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(door)
	}()
	n.t.Cleanup(func() { server.Shut(time.Second); <-done })
	return door.Addr().String()
}

// TestHostileStream: what a hub may try with entries and heads is noticed, changes nothing that is in force, and where a head
// bears its signature is kept as proof. PROTOCOL 11.8, 11.9.
func TestHostileStream(t *testing.T) {
	n, mx, br, one, other := branches(t)
	common := one[:len(one)-1]
	size := uint64(len(common))
	head := func(note []byte) *directoryv1.FollowResponse {
		return &directoryv1.FollowResponse{Size: size, Head: note}
	}
	next := func(entry []byte) *directoryv1.FollowResponse {
		return &directoryv1.FollowResponse{Position: size + 1, Size: size + 1, Statement: entry}
	}
	tests := []struct {
		name, alarm, proof string
		say                []*directoryv1.FollowResponse
	}{
		{"a statement withheld", "withheld", "withheld", []*directoryv1.FollowResponse{head(n.headOf(one, mx, br))}},
		{"another statement sent", "withheld", "withheld", []*directoryv1.FollowResponse{next(one[size]), head(n.headOf(other, mx, br))}},
		{"a rollback", "fork", "fork", []*directoryv1.FollowResponse{head(n.headOf(append(append([][]byte{}, common[:size-1]...), other[size]), mx, br))}},
		{"truncated", "beyond-log", "", []*directoryv1.FollowResponse{{Size: size - 1}}},
		{"an entry missing", "out-of-order", "", []*directoryv1.FollowResponse{{Position: size + 2, Size: size + 2, Statement: one[size]}}},
		{"an old head, signed anew", "", "", []*directoryv1.FollowResponse{head(n.headOf(common[:size-1], mx, br))}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := n.options(mx.member, t.TempDir(), "127.0.0.1:1")
			f := n.open(o)
			must(t, gives(t, f, common, 2, n.headOf(common, mx, br)))
			note := f.Heads().Head
			must(t, f.Close())
			o.Hubs = []string{n.play(test.say...)}
			running := n.run(o)
			if test.alarm != "" {
				eventually(t, func() bool { return len(running.alarms.raised()) > 0 })
			} else {
				still(t, "an alarm", func() bool { return len(running.alarms.raised()) == 0 })
			}
			if got := running.alarms.raised(); test.alarm != "" && got[0] != test.alarm {
				t.Errorf("alarms %v, want %s", got, test.alarm)
			}
			s := running.Status()
			if s.Confirmed != size || !bytes.Equal(s.Head.Note(), note) {
				t.Errorf("confirmed to %d under another head", s.Confirmed)
			}
			if test.proof == "" && len(s.Proofs) != 0 || test.proof != "" && (len(s.Proofs) != 1 || s.Proofs[0].Kind != test.proof) {
				t.Errorf("proofs: %+v", s.Proofs)
			}
			files, err := filepath.Glob(filepath.Join(o.Data, "proofs", "*.json"))
			if err != nil || len(files) != len(s.Proofs) {
				t.Errorf("%d files of proofs, %v", len(files), err)
			}
		})
	}
}
