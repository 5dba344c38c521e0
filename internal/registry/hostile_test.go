package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	sumnote "golang.org/x/mod/sumdb/note"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/merkle"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/witness"
	"github.com/enlace-network/enlace/internal/witness/witnesstest"
)

// TestHeldShare: while the gate is shut one state cannot fill the room for restrictions that is for those of all.
// PROTOCOL 11.3, 11.11.
func TestHeldShare(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.witnesses("mx", "br")
	mx := all[0].member
	ctx := within(t, 2*time.Minute)
	subjects := []directory.Subject{directory.OfState(mx.state), directory.OfNode(mx.node)}
	for i := range 3 {
		slug := fmt.Sprintf("unit%d", i)
		_, err := h.client(n.stewards[0]).Propose(ctx, n.designate(mx, slug, directory.Hash{1}))
		must(t, err)
		subjects = append(subjects, directory.OfAuthority(mustName(t, mx.state.String()+"/"+slug)))
	}
	h.stop()
	h = n.serve(h.data, "127.0.0.1:0", nil)
	client, taken := h.client(mx.key), 0
	for i := range 32 {
		for _, of := range subjects {
			payload, err := n.draft().Suspend(of, n.now().Add(time.Duration(i+1)*time.Hour), "")
			must(t, err)
			_, err = client.Propose(ctx, directory.Attach(payload, mx.key.sign(directory.RoleState, payload)))
			if err == nil {
				taken++
			} else if fault.CodeOf(err) != "too-many" {
				t.Fatal(err)
			}
		}
	}
	if taken < 120 || taken > 125 {
		t.Errorf("%d suspensions of one state are kept, want its budget of 120", taken)
	}
}

// TestFullDiskAtTheHub: a full disk lets nothing more be kept, and stops nothing that is. PROTOCOL 11.8.
func TestFullDiskAtTheHub(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no device is always full here")
	}
	n := newNetwork(t)
	h := n.start()
	w := h.witnesses("mx")[0]
	f := h.watch(w, 1, nil, false)
	f.asked()
	full := func(path string) { must(t, os.Symlink("/dev/full", filepath.Join(h.data, path)+".new")) }
	full("head")
	head := f.newest()
	line := must2(merkle.Cosign(head.Checkpoint, w.node.String(), w.pen, n.now()))(t)
	ctx := within(t, 60*time.Second)
	if _, err := f.api.Cosign(ctx, &directoryv1.CosignRequest{Cosignature: line, Size: head.Position()}); fault.CodeOf(err) != "disk-full" {
		t.Errorf("Cosign: %v, want disk-full", err)
	}
	card, hash, err := directory.Card{Authority: mustName(t, "mx/unit"), Desk: "duty", Phone: "+52 1"}.Marshal(bytes.Repeat([]byte{1}, 16))
	must(t, err)
	full(filepath.Join("cards", hash.String()))
	statement := n.designate(w.member, "unit", hash)
	if _, err := h.client(n.stewards[0]).Propose(ctx, statement, card); fault.CodeOf(err) != "disk-full" {
		t.Errorf("Propose: %v, want disk-full", err)
	}
	select {
	case <-h.service.Failed():
		t.Error("the hub stops because its disk is full")
	default:
	}
	_, err = h.client(n.stewards[0]).Propose(ctx, statement, card)
	must(t, err)
	f.asked()
	f.consent()
	f.confirmed(nil)
}

// TestThirdParty: a witness of somebody else cosigns each confirmed head; its line is served, counts for nothing, and is
// sent to nobody. PROTOCOL 11.8, 11.10.
func TestThirdParty(t *testing.T) {
	n := newNetwork(t)
	logKey := must2(n.hub.NoteSigner(keyring.HubLog))(t)
	origin := n.current.Load().Origin()
	lite := witnesstest.Litewitness(t, origin, must2(sumnote.NewEd25519VerifierKey(origin, logKey.PublicKey().Bytes()))(t))
	party := witness.ThirdParty{Name: lite.Name, Key: must2(authority.ParsePublicKey(authority.Ed25519, lite.Key))(t), URL: lite.URL}
	dead := witness.ThirdParty{Name: "dead.example/w", Key: party.Key, URL: "http://" + witnesstest.Free(t)}
	h := n.serveWith(registry.ServiceOptions{Data: n.founded(), Parties: []witness.ThirdParty{dead, party}}, "127.0.0.1:0")
	verifier := must2(merkle.NewCosignatureVerifier(party.Name, party.Key))(t)
	served := func() bool {
		head := h.service.Head()
		c, signatures, err := merkle.Split(head.Note())
		must(t, err)
		_, _, ok := signatures.Verified(c, verifier)
		return ok && n.confirms(head, nil)
	}
	all := h.witnesses("mx", "br")
	mx := h.watch(all[0], 1, nil, true)
	mx.asked()
	still(t, "confirmed by one of two and a third party", func() bool { return !n.confirms(h.service.Head(), nil) })
	h.watch(all[1], 1, nil, true)
	sent := mx.confirmed(nil)
	eventually(t, served)
	if bytes.Contains(sent.Note(), []byte(party.Name)) {
		t.Error("the line of a third party was sent to a follower")
	}
	n.move(all[0].member, "example.org:1") // and it is shown that the log has grown
	eventually(t, served)
}

// TestFollowsOfOne: one caller cannot have any number of streams woken at each head. PROTOCOL 11.4, promise P12.
func TestFollowsOfOne(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	api := h.dial(mx)
	open := func() (context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(within(t, 60*time.Second))
		stream, err := api.Follow(ctx, &directoryv1.FollowRequest{})
		must(t, err)
		_, err = stream.Recv()
		return cancel, err
	}
	var first context.CancelFunc
	for i := range 16 {
		cancel, err := open()
		must(t, err)
		defer cancel()
		if i == 0 {
			first = cancel
		}
	}
	if _, err := open(); fault.CodeOf(err) != "busy" {
		t.Errorf("the 17th stream: %v, want busy", err)
	}
	first()
	eventually(t, func() bool { _, err := open(); return err == nil })
}

// TestReturnedHeadIsBare: what a returned head bears beside the lines that count goes to nobody. PROTOCOL 11.11.
func TestReturnedHeadIsBare(t *testing.T) {
	n, _, all, _, b := lived(t)
	h := n.serve(t.TempDir(), "127.0.0.1:0", nil)
	head := must2(directory.ParseHead(b.head))(t)
	for i := range 50 {
		junk := must2(merkle.Cosign(head.Checkpoint, fmt.Sprintf("junk.example/%d", i), pen{newHolder(t)}, n.now()))(t)
		head = must2(head.With(junk))(t)
	}
	_, err := (back{b.entries, head.Note()}).give(within(t, 60*time.Second), h.dial(all[0].member), 1)
	must(t, err)
	if got := h.service.Head().Note(); bytes.Contains(got, []byte("junk.example")) || !n.confirms(h.service.Head(), nil) {
		t.Errorf("the hub serves\n%s", got)
	}
}

// TestNewerRulesAtTheHub: a hub that does not know the rules in force logs nothing more, keeps what it has over a restart, and
// takes restrictions on sight, which it does not forget. PROTOCOL 4.21.
func TestNewerRulesAtTheHub(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	payload, err := n.draft().ChangeRules(n.current.Load().Position() + 2)
	must(t, err)
	n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload))
	position := n.current.Load().Position()
	n.propose = nil
	ctx := within(t, 60*time.Second)
	enabling := n.drafted(mx, "example.org:1")
	payload, err = n.draft().RevokeNode(mx.node, "stolen")
	must(t, err)
	removal := directory.Attach(payload, mx.key.sign(directory.RoleState, payload))
	client := h.client(mx.key)
	if _, err := client.Propose(ctx, enabling); fault.CodeOf(err) != "newer-rules" {
		t.Errorf("Propose: %v, want newer-rules", err)
	}
	if at, err := client.Propose(ctx, removal); err != nil || at != 0 {
		t.Errorf("a removal: %d, %v; want it kept", at, err)
	}
	for range 3 {
		now := h.service.Current().Load()
		if err := now.At(n.now()).CheckNode(mx.node); fault.CodeOf(err) != "revoked" || now.Position() != position {
			t.Errorf("at %d: %v, want revoked at %d", now.Position(), err, position)
		}
		h.stop()
		h = n.serve(h.data, "127.0.0.1:0", nil)
	}
}
