package registry_test

import (
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/registry"
)

// alerted declares an authority of m that is told of alerts about drugs.
func (n *network) alerted(m *member) {
	n.t.Helper()
	name := mustName(n.t, m.state.String()+"/fgr")
	must(n.t, m.ring.GenerateAuthority(name, time.Now()))
	body := &formatv1.DeclareAuthority{Names: []*formatv1.Text{{Language: "en", Value: "Unit"}}, Type: "police", Node: m.node.String(),
		NoteVerbale: "3/26", Competences: []*formatv1.Competence{{Function: "alerts-in", Categories: []string{"drugs"}}}}
	for purpose, slot := range map[directory.KeyPurpose]keyring.Slot{
		directory.PurposeSign: keyring.AuthoritySign(name), directory.PurposeSeal: keyring.AuthoritySeal(name)} {
		public, err := m.ring.Public(slot)
		must(n.t, err)
		body.Keys = append(body.Keys, directory.DeclareKey(purpose, public, time.Time{}))
	}
	payload, err := n.draft().DeclareAuthority(name, body)
	must(n.t, err)
	n.apply(payload, m.key.sign(directory.RoleState, payload), n.stewards[0].sign(directory.RoleVerify, payload),
		n.stewards[1].sign(directory.RoleCountersign, payload))
}

// unheard is the revocation of m's node, which nobody has yet.
func (n *network) unheard(m *member) []byte {
	n.t.Helper()
	payload, err := n.draft().RevokeNode(m.node, "stolen")
	must(n.t, err)
	return directory.Attach(payload, m.key.sign(directory.RoleState, payload))
}

// selfSuspended is a suspension of m by itself, which nobody has yet.
func (n *network) selfSuspended(m *member, term time.Duration) []byte {
	n.t.Helper()
	payload, err := n.draft().Suspend(directory.OfState(m.state), n.now().Add(term), "")
	must(n.t, err)
	return directory.Attach(payload, m.key.sign(directory.RoleState, payload))
}

func onDrugs(t *testing.T, f *registry.Follower) directory.Audience {
	t.Helper()
	category, err := authority.ParseCategory("drugs.trafficking")
	must(t, err)
	a, err := f.Audience(category, directory.ByCategory, nil)
	must(t, err)
	return a
}

// recomputed is the audience as f has it, from what another attached; false if f cannot tell.
func recomputed(t *testing.T, f *registry.Follower, a directory.Audience) ([]directory.Member, bool) {
	t.Helper()
	base, ok := f.At(a.Position)
	if !ok {
		return nil, false
	}
	category, err := authority.ParseCategory("drugs.trafficking")
	must(t, err)
	members, err := directory.Recompute(base, a.Restrictions, a.Time, category, directory.ByCategory, nil)
	must(t, err)
	return members, true
}

// TestAudienceOfTwo: what one node knows before the log does is attached, and another node, which does not know it and
// has read on or started anew, comes to the same audience. PROTOCOL 7.2, 7.3.
func TestAudienceOfTwo(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br", "jm")
	for _, m := range all {
		n.alerted(m)
	}
	mx, br, jm := all[0], all[1], all[2]
	position := n.current.Load().Position()
	data := t.TempDir()
	publisher, reader := n.follow(mx, t.TempDir(), h.addr), n.follow(jm, data, h.addr)
	publisher.reach(t, position)
	reader.reach(t, position)
	if publisher.Base() != publisher.Current().Load() || len(publisher.Restrictions()) > 0 {
		t.Error("nothing was seen, and the directory is not the log")
	}
	before := onDrugs(t, publisher.Follower)
	if len(before.Members) != 3 || before.Position != position || len(before.Restrictions) > 0 {
		t.Errorf("before: %+v", before)
	}
	addr := h.addr
	h.stop()

	revocation := n.unheard(br)
	if _, err := publisher.Restrict(revocation); err != nil {
		t.Fatal(err)
	}
	a := onDrugs(t, publisher.Follower)
	if len(a.Members) != 2 || len(a.Restrictions) != 1 || directory.MembersDigest(a.Members) == directory.MembersDigest(before.Members) {
		t.Errorf("with the revocation seen: %+v", a)
	}
	if got := publisher.Restrictions(); len(got) != 1 || string(got[0]) != string(revocation) {
		t.Errorf("%d restrictions, want the one seen", len(got))
	}
	if err := publisher.Base().At(n.now()).CheckNode(br.node); err != nil {
		t.Errorf("the base holds what was only seen: %v", err)
	}
	check := func(when string, want directory.Audience) {
		t.Helper()
		members, ok := recomputed(t, reader.Follower, want)
		if !ok || directory.MembersDigest(members) != directory.MembersDigest(want.Members) {
			t.Errorf("%s: the reader has %v, %t; want %v", when, members, ok, want.Members)
		}
	}
	check("while the log is as short", a)

	n.serve(h.data, addr, nil)
	publisher.reach(t, position+1)
	reader.reach(t, position+1)
	eventually(t, func() bool { return publisher.Base() == publisher.Current().Load() })
	if publisher.Relevant() != position+1 || len(publisher.Restrictions()) > 0 {
		t.Errorf("logged at %d, %d restrictions left", publisher.Relevant(), len(publisher.Restrictions()))
	}
	for _, when := range []string{"later", "after a restart"} {
		check(when, a)
		check(when, before)
		check(when, onDrugs(t, publisher.Follower))
		if _, ok := reader.At(position + 2); ok {
			t.Error("a position beyond the log is known")
		}
		reader.stop()
		reader = n.follow(jm, data, addr)
	}
}

// TestSeenWhileLogGrows: what was seen stays in force while entries come that do not hold it. PROTOCOL 4.6.
func TestSeenWhileLogGrows(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br")
	mx, br := all[0], all[1]
	f := n.follow(mx, t.TempDir(), h.addr)
	f.reach(t, n.current.Load().Position())
	addr := h.addr
	h.stop()
	revocation := n.unheard(br)
	if _, err := f.Restrict(revocation); err != nil {
		t.Fatal(err)
	}
	// More entries than are put in force at once, before the hub hears of the revocation.
	l, err := registry.OpenLog(h.data+"/directory.log", nil)
	must(t, err)
	n.propose = nil
	for range 600 {
		must(t, l.Append(n.move(mx, "example.org:443")))
	}
	must(t, l.Close())
	goal := n.current.Load().Position() + 1
	n.serve(h.data, addr, nil)
	seen := 0
	for {
		changed := f.Current().Changed()
		s := f.Current().Load()
		if err := s.At(n.now()).CheckNode(br.node); fault.CodeOf(err) != "revoked" {
			t.Fatalf("at position %d the revocation is not in force: %v", s.Position(), err)
		}
		seen++
		if s.Position() >= goal {
			break
		}
		select {
		case <-changed:
		case <-time.After(30 * time.Second):
			t.Fatalf("at position %d of %d", s.Position(), goal)
		}
	}
	if seen < 2 || len(f.Unlogged()) > 0 {
		t.Errorf("looked at %d snapshots; %d statements wait for the log", seen, len(f.Unlogged()))
	}
}

// TestRestrictionsThatCount: those of keys and those that are over are in force, and attached to nothing; what the log
// has ended is forgotten, at the next start too.
func TestRestrictionsThatCount(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br")
	mx, br := all[0], all[1]
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	f.reach(t, n.current.Load().Position())
	addr := h.addr
	h.stop()
	n.propose = nil
	key := n.current.Load().At(n.now()).Keys(directory.OfNode(br.node))[0].Fingerprint
	payload, err := n.draft().RevokeKey(directory.OfNode(br.node), key, "lost")
	must(t, err)
	for _, signed := range [][]byte{
		directory.Attach(payload, br.key.sign(directory.RoleState, payload)), n.selfSuspended(br, time.Minute), n.selfSuspended(br, time.Hour),
	} {
		if news, err := f.Restrict(signed); err != nil || !news {
			t.Fatalf("%t, %v", news, err)
		}
	}
	count := func(unlogged, attached int) {
		t.Helper()
		if u, r := len(f.Unlogged()), len(f.Restrictions()); u != unlogged || r != attached {
			t.Errorf("%d unlogged and %d that count, want %d and %d", u, r, unlogged, attached)
		}
	}
	count(3, 2)
	n.ahead.Store(int64(2 * time.Minute))
	count(3, 1)
	f.stop()
	// The log ends the state's suspensions, which it never had.
	payload, err = n.draft().Reinstate(directory.OfState(br.state), "")
	must(t, err)
	ended := n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload),
		br.key.sign(directory.RoleState, payload))
	l, err := registry.OpenLog(h.data+"/directory.log", nil)
	must(t, err)
	must(t, l.Append(ended))
	must(t, l.Close())
	h = n.serve(h.data, addr, nil)
	f = n.follow(mx, data, addr)
	f.reach(t, n.current.Load().Position())
	h.stop()
	f.stop()
	f = n.follow(mx, data, addr)
	count(0, 0)
	if err := f.Current().Load().At(n.now()).CheckState(br.state); err != nil {
		t.Errorf("the state was reinstated: %v", err)
	}
}

// TestForgotten: 64 changes later a position is not answered for any more, before a restart and after it.
func TestForgotten(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br")
	mx, br := all[0], all[1]
	data := t.TempDir()
	old := n.current.Load().Position()
	f := n.follow(mx, data, h.addr)
	f.reach(t, old)
	for range 32 {
		n.ahead.Add(int64(time.Minute))
		n.suspend(br)
		n.reinstate(br)
	}
	f.reach(t, old+64)
	for range 2 {
		if _, ok := f.At(old); ok {
			t.Error("64 changes later it is still answered for")
		}
		s, ok := f.At(old + 1)
		if !ok || fault.CodeOf(s.At(n.now()).CheckState(br.state)) != "suspended" {
			t.Errorf("63 changes later: %t", ok)
		}
		f.stop()
		f = n.follow(mx, data, h.addr)
	}
}
