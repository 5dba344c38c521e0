package directory

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// act is one thing that somebody, honest or not, may hand in.
type act struct {
	name string
	// make drafts it for a state; n makes names and keys differ.
	make func(d Draft, state string, n int) ([]byte, error)
	// by are its rightful signers, with * for the state.
	by string
}

const byState = "state:*-1 state:*-2"

var acts = []act{
	{"admit", func(d Draft, s string, _ int) ([]byte, error) { return d.AdmitState(stateOf(s), admission(s)) }, stewards + " " + byState},
	{"node", func(d Draft, s string, n int) ([]byte, error) {
		name := fmt.Sprintf("%s/node/n%d", s, n%2)
		return d.DeclareNode(nodeOf(name), nodeBody(name))
	}, byState + designated},
	{"authority", func(d Draft, s string, n int) ([]byte, error) {
		name := fmt.Sprintf("%s/a%d", s, n%2)
		return d.DeclareAuthority(nameOf(name), authorityBody(name, s+"/node/n0"))
	}, byState + designated},
	{"amend", func(d Draft, s string, n int) ([]byte, error) {
		name := fmt.Sprintf("%s/a%d", s, n%2)
		body := authorityBody(name, fmt.Sprintf("%s/node/n%d", s, n%3%2))
		body.Keys, body.Hidden, body.NationalPointOfContact = nil, n%5 == 0, n%3 == 0
		if n%7 == 0 {
			body.Competences = nil
		}
		return d.DeclareAuthority(nameOf(name), body)
	}, byState + designated},
	{"rotate authority", func(d Draft, s string, n int) ([]byte, error) {
		return d.RotateAuthorityKeys(nameOf(s+"/a0"), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, fmt.Sprintf("%s-k%d", s, n))})
	}, byState},
	{"rotate state", func(d Draft, s string, n int) ([]byte, error) {
		return d.RotateState(stateOf(s), &formatv1.RotateState{Threshold: 2,
			Keys: declared(PurposeState, s+"-1", s+"-2", fmt.Sprintf("%s-s%d", s, n))})
	}, byState + " new:*-1 new:*-2"},
	{"retire", func(d Draft, s string, n int) ([]byte, error) {
		return d.Retire(nameOf(fmt.Sprintf("%s/a%d", s, n%2)), "")
	}, byState},
	{"revoke node", func(d Draft, s string, n int) ([]byte, error) {
		return d.RevokeNode(nodeOf(fmt.Sprintf("%s/node/n%d", s, n%2)), "")
	}, byState},
	{"revoke key", func(d Draft, s string, n int) ([]byte, error) {
		return d.RevokeKey(OfState(stateOf(s)), public(fmt.Sprintf("%s-s%d", s, n)).Fingerprint(), "")
	}, byState},
	{"suspend itself", func(d Draft, s string, _ int) ([]byte, error) {
		return d.Suspend(OfState(stateOf(s)), d.Created.Add(time.Hour), "")
	}, byState},
	{"suspend", func(d Draft, s string, n int) ([]byte, error) {
		return d.Suspend(OfAuthority(nameOf(fmt.Sprintf("%s/a%d", s, n%2))), d.Created.Add(MaxSuspension), "")
	}, stewards},
	{"suspend alone", func(d Draft, s string, _ int) ([]byte, error) {
		return d.Suspend(OfState(stateOf(s)), d.Created.Add(time.Hour), "")
	}, "steward:s-3"},
	{"suspend node", func(d Draft, s string, n int) ([]byte, error) {
		return d.Suspend(OfNode(nodeOf(fmt.Sprintf("%s/node/n%d", s, n%2))), d.Created.Add(24*time.Hour), "")
	}, byState},
	{"suspend authority alone", func(d Draft, s string, n int) ([]byte, error) {
		return d.Suspend(OfAuthority(nameOf(s+"/a0")), d.Created.Add(MaxLoneSuspension), "")
	}, "steward:s-3"},
	{"reinstate authority", func(d Draft, s string, _ int) ([]byte, error) {
		return d.Reinstate(OfAuthority(nameOf(s+"/a0")), "")
	}, stewards},
	{"reinstate", func(d Draft, s string, _ int) ([]byte, error) { return d.Reinstate(OfState(stateOf(s)), "") }, stewards + " " + byState},
}

// others is everything in the snapshot that does not belong to a state, by identity of the records.
func others(s *Snapshot, state authority.State) map[string]any {
	all := map[string]any{}
	for k, v := range s.states.all() {
		if k != state {
			all[k.String()] = v
		}
	}
	for k, v := range s.authorities.all() {
		if k.State() != state {
			all[k.String()] = v
		}
	}
	for k, v := range s.nodes.all() {
		if k.State() != state {
			all[k.String()] = v
		}
	}
	for k, v := range s.keys.all() {
		if v.owner.State() != state {
			all[k.String()] = v
		}
	}
	return all
}

func same(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// inLog writes down what a snapshot holds from the log, leaving out what was only seen.
func inLog(s *Snapshot) string {
	lines := []string{fmt.Sprint(s.position)}
	write := func(name string, r record, rest any) {
		l := r.limits
		l.suspensions = slices.DeleteFunc(slices.Clone(l.suspensions), func(s suspension) bool { return !s.logged })
		if !l.ended.on(logged) {
			l.ended = mark{}
		}
		lines = append(lines, fmt.Sprint(name, r.last, r.declared, r.keys, l, rest))
	}
	for k, v := range s.states.all() {
		write(k.String(), v.record, fmt.Sprint(v.threshold, v.authorities, v.nodes))
	}
	for k, v := range s.authorities.all() {
		write(k.String(), v.record, v.said.Acronym)
	}
	for k, v := range s.nodes.all() {
		write(k.String(), v.record, v.said.Endpoints)
	}
	for k, v := range s.keys.all() {
		revoked := v.revoked
		if !revoked.on(logged) {
			revoked = mark{}
		}
		lines = append(lines, fmt.Sprint(k, v.owner, v.rotated, revoked))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// everything is inLog and what was only seen.
func everything(s *Snapshot) string {
	text := inLog(s)
	for _, e := range s.At(start).States() {
		r, _ := s.states.get(e.State)
		text += fmt.Sprintln(e.State, r.limits)
	}
	return text
}

// PROTOCOL 4.4, 4.6, 4.15; P6. Whatever is handed in, in any order, again, spoiled, on sight or from the log: nothing
// panics, a statement changes its own state's entries alone, an older snapshot stays as it was, and who has seen
// restrictions early agrees on the log with who has not.
func TestAnythingInAnyOrder(t *testing.T) {
	// mx and jm have taken their first steps, x-rss is a stranger yet.
	w := founded(t)
	for _, s := range []string{"mx", "jm"} {
		w.admit(s)
		w.declareNode(s + "/node/n0")
		w.declareAuthority(s+"/a0", s+"/node/n0")
	}
	applied, onSight := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		hub := w.s  // reads the log alone
		node := hub // also applies on sight
		drafts := []*Snapshot{hub}
		var history [][]byte
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			b := handIn(t, drafts, history, i)
			history = append(history, b)
			before, text := node, everything(node)
			st, err := ParseStatement(b)
			if err != nil {
				continue
			}
			if st.Restricting() && rapid.Bool().Draw(t, "on sight") {
				if next, err := Restrict(node, st); err == nil {
					node = next
					onSight++
				}
			} else {
				atHub, hubErr := Apply(hub, st)
				atNode, nodeErr := Apply(node, st)
				if code(hubErr) != code(nodeErr) {
					t.Fatalf("%s: hub says %v, node says %v", st.Kind(), hubErr, nodeErr)
				}
				if hubErr != nil {
					atHub, atNode = hub.Skip(), node.Skip()
				} else {
					applied++
				}
				hub, node = atHub, atNode
				drafts = append(drafts, hub)
			}
			if !same(others(before, st.Subject().State()), others(node, st.Subject().State())) {
				t.Fatalf("%s about %s changed somebody else's entry", st.Kind(), st.Subject())
			}
			if everything(before) != text {
				t.Fatalf("%s changed an older snapshot", st.Kind())
			}
			if got, want := inLog(node), inLog(hub); got != want {
				t.Fatalf("after %s the logs differ:\n%s\n\nhub:\n%s", st.Kind(), got, want)
			}
		}
	})
	if applied < 100 || onSight < 5 {
		t.Errorf("%d statements were valid, %d on sight: the test proves little", applied, onSight)
	}
}

// handIn makes a statement: mostly right, sometimes stale, by another state, with a signer too few, repeated or spoiled.
func handIn(t *rapid.T, drafts []*Snapshot, history [][]byte, n int) []byte {
	trouble := rapid.IntRange(0, 9).Draw(t, "trouble")
	if trouble == 0 && len(history) > 0 {
		return rapid.SampledFrom(history).Draw(t, "again")
	}
	a := rapid.SampledFrom(acts).Draw(t, "act")
	state := rapid.SampledFrom([]string{"mx", "jm", "x-rss"}).Draw(t, "state")
	signer := state
	if trouble == 1 {
		signer = "jm"
	}
	from := drafts[len(drafts)-1]
	if trouble == 2 {
		from = rapid.SampledFrom(drafts).Draw(t, "stale")
	}
	when := start.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "days")) * 24 * time.Hour)
	payload, err := a.make(Draft{from, when, bytes.NewReader(bytes.Repeat([]byte{byte(n)}, 16))}, state, n)
	if err != nil {
		t.Fatalf("%s: %v", a.name, err)
	}
	by := strings.ReplaceAll(a.by, "*", signer)
	if trouble == 3 {
		by = by[:strings.LastIndexByte(" "+by, ' ')]
	}
	b := signed(payload, by)
	if trouble == 4 {
		b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	}
	return b
}
