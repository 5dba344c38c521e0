package directory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/merkle"
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
	{"rotate node", func(d Draft, s string, n int) ([]byte, error) {
		return d.RotateNode(nodeOf(s+"/node/n0"), &formatv1.RotateNode{Endpoints: []string{fmt.Sprintf("127.0.0.1:%d", n+1)}})
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
	{"reinstate on their own", func(d Draft, s string, _ int) ([]byte, error) { return d.Reinstate(OfState(stateOf(s)), "") }, stewards},
	{"stewards", func(d Draft, _ string, n int) ([]byte, error) {
		return d.RotateStewards(stewardSet("s-1", "s-2", fmt.Sprintf("s-x%d", n)))
	}, stewards + " new:s-1 new:s-2"},
	{"hub", func(d Draft, _ string, n int) ([]byte, error) {
		return d.RotateHub(hubWith(fmt.Sprintf("log-%d", n%2)))
	}, stewards},
	{"categories", func(d Draft, _ string, n int) ([]byte, error) {
		return d.Categories(categories("drugs", fmt.Sprintf("drugs.kind%d", n%3)))
	}, stewards},
	{"instruments", func(d Draft, _ string, _ int) ([]byte, error) { return d.Instruments(instruments("untoc")) }, stewards},
	{"declare instruments", func(d Draft, s string, n int) ([]byte, error) {
		return d.DeclareInstruments(stateOf(s), []string{"untoc", "uncac"}[:n%3])
	}, byState},
	{"rules", func(d Draft, _ string, n int) ([]byte, error) {
		return d.ChangeRules(d.Snapshot.Position() + 5 + uint64(n))
	}, stewards},
	{"contact point", func(d Draft, s string, n int) ([]byte, error) {
		return d.DesignateContactPoint(nameOf(fmt.Sprintf("%s/a%d", s, n%2)), "NV")
	}, byState + designated},
	{"confirm", func(d Draft, s string, _ int) ([]byte, error) { return d.Confirm(stateOf(s)) }, byState},
	{"notice", func(d Draft, s string, n int) ([]byte, error) {
		return d.Notice(nameOf(fmt.Sprintf("%s/a%d", s, n%2)), noticeBody(d.Created))
	}, byState},
	{"recover", recoverAct, stewards + " new:*-r0 consent:mx-1 consent:jm-1"},
	{"recover too", recoverAct, stewards + " new:*-r0 consent:mx-1 consent:jm-1"},
	{"veto", vetoAct, "state:*-1"},
	{"veto too", vetoAct, "state:*-1"},
	{"complete", completeAct, "new:*-r0"},
	{"complete too", completeAct, "new:*-r0"},
	{"settle", settleAct, stewards + " consent:mx-1 consent:jm-1"},
	{"settle too", settleAct, stewards + " consent:mx-1 consent:jm-1"},
	{"settle alone", settleAct, stewards},
}

// errNothing is an act for which there is no occasion.
var errNothing = errors.New("no occasion")

func recoverAct(d Draft, s string, _ int) ([]byte, error) {
	return d.Recover(stateOf(s), recovery1(recoveryKey(d.Snapshot, s)))
}

func vetoAct(d Draft, s string, _ int) ([]byte, error) {
	payload, err := d.Veto(stateOf(s))
	return payload, occasion(err)
}

func settleAct(d Draft, s string, n int) ([]byte, error) {
	payload, err := d.Settle(stateOf(s), []string{SettleConfirm, SettleCancel}[n%2])
	return payload, occasion(err)
}

func occasion(err error) error {
	if code(err) == "unknown-recovery" {
		return errNothing
	}
	return err
}

// completeAct brings heads that prove 14 days, but for every fifth that lacks a second of them and every seventh that is
// cosigned by one node alone.
func completeAct(d Draft, s string, n int) ([]byte, error) {
	e, ok := d.Snapshot.At(start).State(stateOf(s))
	if !ok || e.Recovery == nil {
		return nil, errNothing
	}
	after, nodes := RecoveryTime, []string{"mx/node/n0", "jm/node/n0"}
	if n%5 == 4 {
		after -= time.Second
	}
	if n%7 == 6 {
		nodes = nodes[:1]
	}
	earlier, err := headAt(d.Snapshot, e.Recovery.Position, start, nodes)
	if err != nil {
		return nil, err
	}
	later, err := headAt(d.Snapshot, d.Snapshot.Position(), start.Add(after), nodes)
	if err != nil {
		return nil, err
	}
	return d.CompleteRecovery(stateOf(s), earlier, later)
}

// headAt is a head of a size under the log key in force there, as the names of the acts have it.
func headAt(s *Snapshot, size uint64, at time.Time, nodes []string) (Head, error) {
	log := "log"
	for _, name := range []string{"log-0", "log-1"} {
		if s.LogKey(size) == public(name) {
			log = name
		}
	}
	c := merkle.Checkpoint{Origin: s.Origin(), Size: int64(size), Root: tlog.Hash{byte(size)}}
	note, err := merkle.Sign(c, logSigner{log})
	if err != nil {
		return Head{}, err
	}
	for _, node := range nodes {
		line, err := merkle.Cosign(c, node, logSigner{node + "-witness"}, at)
		if err != nil {
			return Head{}, err
		}
		note = append(note, line...)
	}
	return ParseHead(note)
}

// panelText is the keys that sign for a state by the log, and how many must.
func panelText(s *Snapshot, state authority.State) string {
	p, least := s.statePanel(state, logged)
	return fmt.Sprint(p, least)
}

// mayChangeKeys says, a second way, by what a state's keys change. PROTOCOL 4.11, 4.14, 4.20.
func mayChangeKeys(before *Snapshot, st Statement) bool {
	e, known := before.At(start).State(st.Subject().State())
	switch st.Kind() {
	case KindAdmitState:
		return !known
	case KindRotateState, KindRevoke:
		return st.count(RoleState) >= e.Threshold && st.count(RoleSteward) == 0
	case KindCompleteRecovery:
		return e.Recovery != nil && !e.Recovery.Vetoed && e.Recovery.Statement == st.Body().(Completion).Recovery
	case KindSettle:
		return e.Recovery != nil && e.Recovery.Vetoed && e.Recovery.Statement == st.Body().(Settlement).Recovery
	}
	return false
}

// replayed fails if a suspension of before a reinstatement has an effect again. PROTOCOL 4.7.
func replayed(t *rapid.T, s *Snapshot, reinstated Statement, history [][]byte) {
	body := reinstated.Body().(Reinstatement)
	for _, b := range history {
		old, err := ParseStatement(b)
		if err != nil || old.Kind() != KindSuspend || old.Subject() != reinstated.Subject() || old.Position() > body.Position {
			continue
		}
		if old.count(RoleState) > 0 && reinstated.count(RoleState) == 0 {
			continue
		}
		if next, err := Restrict(s, old); err == nil && next != s {
			t.Fatalf("a suspension of position %d, reinstated up to %d, has an effect on sight again", old.Position(), body.Position)
		}
		if _, err := Apply(s, old); err == nil {
			t.Fatalf("a suspension of position %d, reinstated up to %d, has an effect in the log again", old.Position(), body.Position)
		}
	}
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
	n := *s.network
	n.genesis = nil
	lines := []string{fmt.Sprint(s.position, s.changed, n)}
	write := func(name string, r record, rest any) {
		l := r.limits
		l.suspensions = slices.DeleteFunc(slices.Clone(l.suspensions), func(s suspension) bool { return !s.logged })
		if !l.ended.on(logged) {
			l.ended = mark{}
		}
		lines = append(lines, fmt.Sprint(name, r.last, r.declared, r.keys, l, rest))
	}
	for k, v := range s.states.all() {
		admission := v.admission
		write(k.String(), v.record, fmt.Sprint(v.threshold, v.authorities, v.nodes, v.instruments, v.recovered, recoveryText(v.recovery), admission))
	}
	for k, v := range s.authorities.all() {
		write(k.String(), v.record, fmt.Sprint(*v.said, noticeText(v.notice)))
	}
	for k, v := range s.nodes.all() {
		write(k.String(), v.record, v.said)
	}
	for k, v := range s.keys.all() {
		revoked := v.revoked
		if !revoked.on(logged) {
			revoked = mark{}
		}
		lines = append(lines, fmt.Sprint(k, v.Key, v.owner, v.rotated, revoked, v.recovering))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func recoveryText(r *recovery) string {
	if r == nil {
		return ""
	}
	vetoed := r.vetoed
	if !vetoed.on(logged) {
		vetoed = mark{}
	}
	return fmt.Sprint(r.hash, r.position, r.new, r.old, vetoed)
}

func noticeText(n *Notice) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

// everything is inLog and what was only seen.
func everything(s *Snapshot) string {
	text := inLog(s)
	for _, e := range s.At(start).States() {
		r, _ := s.states.get(e.State)
		text += fmt.Sprintln(e.State, r.limits, s.vetoOf(e.State))
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
		w.declareWitness(s + "/node/n0")
		w.declareAuthority(s+"/a0", s+"/node/n0")
	}
	held := *w
	held.recover("jm", "jm-r0")
	onSight, done, again := 0, map[Kind]int{}, []string{}
	rapid.Check(t, func(t *rapid.T) {
		hub := rapid.SampledFrom([]*Snapshot{w.s, held.s}).Draw(t, "begin") // reads the log alone
		node := hub                                                         // also applies on sight
		other := hub                                                        // as well, but others and later
		drafts := []*Snapshot{hub}
		var history [][]byte
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			b := handIn(t, drafts, history, i)
			history = append(history, b)
			before, text, panel := node, everything(node), hub
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
				for range rapid.IntRange(0, 3).Draw(t, "late") {
					if late, err := ParseStatement(rapid.SampledFrom(history).Draw(t, "seen late")); err == nil && late.Restricting() {
						if next, err := Restrict(other, late); err == nil {
							other = next
						}
					}
				}
				checkBlocked(t, hub, node, st)
				atHub, hubErr := Apply(hub, st)
				atNode, nodeErr := Apply(node, st)
				atOther, otherErr := Apply(other, st)
				if code(hubErr) != code(nodeErr) || code(hubErr) != code(otherErr) {
					t.Fatalf("%s: hub says %v, node says %v, another %v", st.Kind(), hubErr, nodeErr, otherErr)
				}
				if code(hubErr) == codeNewerRules {
					return // everyone halts, and nobody skips
				}
				if hubErr != nil {
					atHub, atNode, atOther = hub.Skip(), node.Skip(), other.Skip()
				} else {
					done[st.Kind()]++
				}
				hub, node, other = atHub, atNode, atOther
				drafts = append(drafts, hub)
				if hubErr == nil && st.Kind() == KindReinstate {
					replayed(t, node, st, history)
				}
			}
			if !same(others(before, st.Subject().State()), others(node, st.Subject().State())) {
				t.Fatalf("%s about %s changed somebody else's entry", st.Kind(), st.Subject())
			}
			for _, state := range []string{"mx", "jm", "x-rss"} {
				if s := stateOf(state); panelText(panel, s) != panelText(hub, s) && (s != st.Subject().State() || !mayChangeKeys(panel, st)) {
					t.Fatalf("%s about %s, signed %v, changed the keys of %s", st.Kind(), st.Subject(), st.Signatures(), s)
				}
			}
			if everything(before) != text {
				t.Fatalf("%s changed an older snapshot", st.Kind())
			}
			for _, reader := range []*Snapshot{node, other} {
				if got, want := inLog(reader), inLog(hub); got != want {
					t.Fatalf("after %s the logs differ:\n%s\n\nhub:\n%s", st.Kind(), got, want)
				}
			}
		}
	})
	for kind := range forms {
		if done[kind] == 0 && kind != KindGenesis {
			again = append(again, string(kind))
		}
	}
	// A few kinds are rare: which come up differs from run to run.
	if len(again) > 6 || onSight < 5 {
		t.Errorf("never valid: %v; %d on sight: the test proves little", again, onSight)
	}
}

// checkBlocked says a second way when a witness cosigns no head with the entry. PROTOCOL 4.20.
func checkBlocked(t *rapid.T, hub, node *Snapshot, st Statement) {
	_, err := Apply(hub, st)
	e, _ := node.At(start).State(st.Subject().State())
	want := err == nil && st.Kind() == KindCompleteRecovery && e.Recovery.Unconfirmed
	if got := node.BlockedBySight(st); got != want {
		t.Fatalf("%s, valid %t: blocked %t", st.Kind(), err == nil, got)
	}
}

// rightful are the signatures that an act needs now: of the state's keys in force, and of those of its recovery.
func rightful(s *Snapshot, by, state, signer string) string {
	by = strings.ReplaceAll(by, "new:*-r0", "new:"+recoveryKey(s, state))
	by = strings.ReplaceAll(strings.ReplaceAll(by, "*", signer), " consent:"+state+"-1", "")
	for _, one := range []string{"mx", "jm", "x-rss"} {
		for n := range 4 {
			name := fmt.Sprintf("%s-r%d", one, n)
			if p, _ := s.statePanel(stateOf(one), logged); !p[public(name).Fingerprint()].IsZero() {
				by = strings.ReplaceAll(strings.ReplaceAll(by, "state:"+one+"-1", "state:"+name), " state:"+one+"-2", "")
				by = strings.ReplaceAll(by, "consent:"+one+"-1", "consent:"+name)
			}
		}
	}
	return by
}

// recoveryKey is the key of the recovery that runs or, if none does, the first that was never declared.
func recoveryKey(s *Snapshot, state string) string {
	for n := range 4 {
		name := fmt.Sprintf("%s-r%d", state, n)
		if k, ok := s.keys.get(public(name).Fingerprint()); !ok || k.recovering {
			return name
		}
	}
	return state + "-r0"
}

// handIn makes a statement: mostly right, sometimes stale, by another state, with a signer too few, repeated or spoiled.
func handIn(t *rapid.T, drafts []*Snapshot, history [][]byte, n int) []byte {
	// Small numbers are drawn more often: they are no trouble.
	trouble := rapid.IntRange(0, 9).Draw(t, "trouble")
	if trouble == 9 && len(history) > 0 {
		return rapid.SampledFrom(history).Draw(t, "again")
	}
	a := rapid.SampledFrom(acts).Draw(t, "act")
	state := rapid.SampledFrom([]string{"mx", "jm", "x-rss"}).Draw(t, "state")
	signer := state
	if trouble == 8 {
		signer = "jm"
	}
	from := drafts[len(drafts)-1]
	if trouble == 7 {
		from = rapid.SampledFrom(drafts).Draw(t, "stale")
	}
	when := start.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "days")) * 24 * time.Hour)
	variant := rapid.IntRange(0, 40).Draw(t, "variant")
	payload, err := a.make(Draft{from, when, bytes.NewReader(bytes.Repeat([]byte{byte(n)}, 16))}, state, variant)
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		t.Fatalf("%s: %v", a.name, err)
	}
	by := rightful(from, a.by, state, signer)
	if trouble == 6 {
		by = by[:strings.LastIndexByte(" "+by, ' ')]
	}
	b := signed(payload, by)
	if trouble == 5 {
		b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	}
	return b
}
