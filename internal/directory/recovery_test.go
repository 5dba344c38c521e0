package directory

import (
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/merkle"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// watched is union5 with a witnessing node each of mx, jm, br and ht.
func watched(t testing.TB) *world {
	t.Helper()
	w := union5(t)
	w.addWitness("mx/node/primary")
	w.addWitness("jm/node/primary")
	w.declareWitness("br/node/primary")
	w.declareWitness("ht/node/primary")
	return w
}

// three make the quorum of four.
var three = []string{"jm/node/primary", "br/node/primary", "ht/node/primary"}

// recovering is watched with a recovery of mx that began.
func recovering(t testing.TB) *world {
	t.Helper()
	w := watched(t)
	w.recover("mx", "r-1", "r-2")
	return w
}

func (w *world) completion(earlier, later Head) ([]byte, error) {
	return w.draft().CompleteRecovery(stateOf("mx"), earlier, later)
}

const byRecovering = "new:r-1 new:r-2"

// PROTOCOL 4.20: without veto, 14 days later, the new set is in force, the old revoked, and the rest of the entries stands.
func TestRecoveryTakesEffect(t *testing.T) {
	w := recovering(t)
	mx, before := stateOf("mx"), w.view().Authorities()
	e, _ := w.view().State(mx)
	if r := e.Recovery; r == nil || r.Position != w.s.Position() || r.Statement != e.Last || r.Vetoed {
		t.Fatalf("the recovery shows as %+v", r)
	}
	if h, _ := w.view().Holder(public("r-1").Fingerprint()); h.Status != KeyPending || h.Owner != OfState(mx) {
		t.Errorf("a key of the recovery is %s of %s", h.Status, h.Owner)
	}
	earlier := w.head(w.now, three...)
	payload, err := w.completion(earlier, w.head(w.now.Add(RecoveryTime-time.Second), three...))
	w.refuse(payload, err, byRecovering, "too-soon")
	payload, err = w.completion(earlier, w.head(w.now.Add(RecoveryTime), three...))
	w.do(payload, err, byRecovering)
	position := w.s.Position()
	for _, old := range []string{"mx-1", "mx-2", "mx-3"} {
		if h, _ := w.view().Holder(public(old).Fingerprint()); h.Status != KeyRevoked || h.Position != position {
			t.Errorf("%s is %s at %d", old, h.Status, h.Position)
		}
	}
	e, _ = w.view().State(mx)
	if e.Recovery != nil || e.Threshold != 2 || len(e.Authorities) != 1 || len(w.view().Authorities()) != len(before) {
		t.Errorf("after it: %+v", e)
	}
	retire, err := w.draft().Retire(nameOf("mx/fgr"), "")
	w.refuse(retire, err, byMX, "signers")
	w.do(retire, err, "state:r-1 state:r-2")
	veto, err := w.draft().restricting(KindVeto, OfState(mx), &formatv1.Veto{Recovery: recoveryIn(t, w)})
	w.refuse(veto, err, "state:mx-1", "too-late")
	w.refuse(payload, nil, byRecovering, "not-next")
}

// PROTOCOL 4.20: heads that prove no 14 days.
func TestHeadsThatCompleteNothing(t *testing.T) {
	w := watched(t)
	ago := w.now.Add(-RecoveryTime)
	older := w.head(ago, three...)
	w.recover("mx", "r-1", "r-2")
	after := w.now.Add(RecoveryTime)
	earlier, later := w.head(w.now, three...), w.head(after, three...)
	stranger := founded(t)
	body := genesisBody()
	body.Nonce[0] = 9
	payload, err := DraftGenesis(start, body)
	stranger.s = nil
	stranger.do(payload, err, everyone)
	foreign := merkle.Checkpoint{Origin: stranger.s.Origin(), Size: later.Size, Root: later.Root}
	beyond := merkle.Checkpoint{Origin: w.s.Origin(), Size: later.Size + 1, Root: later.Root}
	signedBy := func(c merkle.Checkpoint, log string, at time.Time, nodes ...string) Head {
		note, err := merkle.Sign(c, logSigner{log})
		if err != nil {
			t.Fatal(err)
		}
		h, err := ParseHead(note)
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range nodes {
			h = w.cosigned(h, node, node+"-witness", at)
		}
		return h
	}
	mixed := func(h Head, at time.Time, nodes ...string) Head {
		for _, node := range nodes {
			h = w.cosigned(h, node, node+"-witness", at)
		}
		return h
	}
	tests := []struct {
		name           string
		earlier, later Head
		want           string
	}{
		{"a head of before the recovery", older, later, "wrong-head"},
		{"the later first", signedBy(beyond, "log", w.now, three...), later, "wrong-head"},
		{"a head of more than the log", earlier, signedBy(beyond, "log", after, three...), "wrong-head"},
		{"one head twice", earlier, earlier, "too-soon"},
		{"a later head twice", later, later, "too-soon"},
		{"heads of another network", signedBy(foreign, "log", w.now, three...), signedBy(foreign, "log", after, three...), "wrong-origin"},
		{"a log key that never was", earlier, w.headOf(w.root(), "log-2", after, three...), "bad-signature"},
		{"too few on the earlier", w.head(w.now, three[:2]...), later, "unconfirmed"},
		{"too few on the later", earlier, w.head(after, three[:2]...), "unconfirmed"},
		{"one node twice", earlier, w.head(after, three[0], three[1], three[0]), "unconfirmed"},
		// One of three is in league with the thief: it cannot put its time ahead of the others', nor pull the earlier back.
		{"one witness ahead by years", earlier, mixed(w.head(w.now, three[:2]...), after.AddDate(5, 0, 0), three[2]), "too-soon"},
		{"one witness behind by years", mixed(w.head(after, three[:2]...), w.now.AddDate(-5, 0, 0), three[2]), later, "too-soon"},
		{"an old cosignature and a new one on the earlier", mixed(earlier, after, three[0]), later, "too-soon"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			payload, err := w.completion(test.earlier, test.later)
			w.refuse(payload, err, byRecovering, test.want)
		})
	}
	// A re-cosigned head of the same size proves the time: nothing need have happened meanwhile.
	payload, err = w.completion(earlier, mixed(earlier, after, three...))
	w.do(payload, err, byRecovering)
}

// PROTOCOL 4.20, 11.6: it is the witnesses of the log before the entry that count, and a log key for its sizes alone.
func TestHeadsUnderOtherKeys(t *testing.T) {
	w := recovering(t)
	earlier := w.head(w.now, three...)
	payload, err := w.draft().RotateHub(hubWith("log-2"))
	w.do(payload, err, stewards)
	after := w.now.Add(RecoveryTime)
	payload, err = w.completion(earlier, w.headOf(w.root(), "log", after, three...))
	w.refuse(payload, err, byRecovering, "bad-signature")
	later := w.headOf(w.root(), "log-2", after, three...)
	payload, _ = w.completion(earlier, later)
	if _, err := Follow(w.s, signed(payload, byRecovering)); err != nil {
		t.Errorf("each head under the log key of its size: %v", err)
	}
	// A witness whose key is revoked since gives no vote any more, and neither head has its quorum.
	revoke, err := w.draft().RevokeKey(OfNode(nodeOf("ht/node/primary")), public("ht/node/primary-witness").Fingerprint(), "")
	w.do(revoke, err, stateKeys("ht"))
	revoke, err = w.draft().RevokeKey(OfNode(nodeOf("mx/node/primary")), public("mx/node/primary-witness").Fingerprint(), "")
	w.do(revoke, err, byMX)
	if n := w.s.Judge(earlier, nil, time.Time{}); n.Needed != 2 || len(n.Votes) != 2 {
		t.Fatalf("%d votes of %d needed", len(n.Votes), n.Needed)
	}
	w.declareWitness("ht/node/second")
	payload, _ = w.completion(earlier, later)
	if _, err = Follow(w.s, signed(payload, byRecovering)); err != nil {
		t.Errorf("two of three: %v", err)
	}
	w.declareWitness("pa/node/primary")
	payload, err = w.completion(earlier, later)
	w.refuse(payload, err, byRecovering, "unconfirmed")
}

// Where nobody witnesses there is no cosigned time: a settlement is the only way. PROTOCOL 4.20.
func TestRecoveryWithoutWitnesses(t *testing.T) {
	w := union5(t)
	w.recover("mx", "r-1", "r-2")
	payload, err := w.completion(w.head(w.now), w.head(w.now.Add(2*RecoveryTime)))
	w.refuse(payload, err, byRecovering, "too-soon")
}

// PROTOCOL 4.20: a veto, by one key alone, stops it; a settlement by stewards and most states decides.
func TestRecoveryVetoed(t *testing.T) {
	mx := stateOf("mx")
	for _, outcome := range []string{SettleConfirm, SettleCancel} {
		w := recovering(t)
		earlier, later := w.head(w.now, three...), w.head(w.now.Add(RecoveryTime), three...)
		w.veto("mx", "state:mx-3")
		if e, _ := w.view().State(mx); e.Recovery == nil || !e.Recovery.Vetoed || e.Recovery.Unconfirmed {
			t.Errorf("the recovery shows as %+v", e.Recovery)
		}
		payload, err := w.completion(earlier, later)
		w.refuse(payload, err, byRecovering, "vetoed")
		again, err := w.draft().Veto(mx)
		w.refuse(again, err, "state:mx-1", "duplicate")
		payload, err = w.draft().Settle(mx, outcome)
		w.do(payload, err, stewards+w.consents("mx", most))
		e, _ := w.view().State(mx)
		if e.Recovery != nil {
			t.Error("the recovery goes on")
		}
		by, status := "state:r-1 state:r-2", KeyActive
		if outcome == SettleCancel {
			by, status = byMX, KeyRevoked
		}
		if h, _ := w.view().Holder(public("r-1").Fingerprint()); h.Status != status {
			t.Errorf("after %s the new key is %s", outcome, h.Status)
		}
		payload, err = w.draft().Confirm(mx)
		w.do(payload, err, by)
		payload, err = w.draft().restricting(KindVeto, OfState(mx), &formatv1.Veto{Recovery: recoveryIn(t, w)})
		w.refuse(payload, err, "state:mx-1", "too-late")
	}
}

// recoveryIn is the hash of the recovery in the log.
func recoveryIn(t testing.TB, w *world) []byte {
	t.Helper()
	for _, b := range w.log {
		if st, err := ParseStatement(b); err == nil && st.Kind() == KindRecover {
			h := st.Hash()
			return h[:]
		}
	}
	t.Fatal("no recovery is in the log")
	return nil
}

// PROTOCOL 4.20: stewards and states confirm nothing before a veto, for its holders have their 14 days; to call it off they
// may, or nobody could where the new keys are lost as well.
func TestSettleWithoutVeto(t *testing.T) {
	w := recovering(t)
	mx := stateOf("mx")
	payload, err := w.draft().Settle(mx, SettleConfirm)
	w.refuse(payload, err, stewards+w.consents("mx", most), "not-vetoed")
	seen, err := w.draft().Veto(mx)
	w.see(seen, err, "state:mx-1")
	w.refuse(payload, nil, stewards+w.consents("mx", most), "not-vetoed")
	payload, err = w.draft().Settle(mx, SettleCancel)
	w.do(payload, err, stewards+w.consents("mx", most))
	w.recover("mx", "r-3")
}

// PROTOCOL 4.6, 4.20: a veto works on sight, keeps a witness from the head, and decides nothing in the log.
func TestVetoOnSight(t *testing.T) {
	w := recovering(t)
	mx := stateOf("mx")
	payload, err := w.completion(w.head(w.now, three...), w.head(w.now.Add(RecoveryTime), three...))
	complete := w.parse(payload, err, byRecovering)
	early := w.parse(payload, err, "new:r-1") // lacks a signer, so it would have no effect
	if w.s.BlockedBySight(complete) {
		t.Error("blocked with no veto seen")
	}
	blind := w.s
	veto, err := w.draft().Veto(mx)
	st := w.see(veto, err, "state:mx-3")
	if e, _ := w.view().State(mx); !e.Recovery.Vetoed || !e.Recovery.Unconfirmed || w.s.Standing(st) != Unconfirmed {
		t.Errorf("on sight: %+v, standing %d", e.Recovery, w.s.Standing(st))
	}
	if again, err := Restrict(w.s, st); again != w.s || err != nil {
		t.Errorf("a repeat is new, or %v", err)
	}
	if !w.s.BlockedBySight(complete) || w.s.BlockedBySight(early) || w.s.BlockedBySight(st) {
		t.Error("a witness would cosign what it must not, or not what it may")
	}
	after, err := Apply(w.s, complete)
	if err != nil {
		t.Fatalf("what was only seen refused an entry of the log: %v", err)
	}
	other, err := Apply(blind, complete)
	if err != nil || inLog(after) != inLog(other) {
		t.Errorf("who saw the veto and who did not differ on the log (%v)", err)
	}
	if _, err := Restrict(after, st); code(err) != "too-late" {
		t.Errorf("a veto on sight after the effect: %v", err)
	}
	w.do(veto, nil, "state:mx-3")
	if w.s.Standing(st) != Logged || w.s.BlockedBySight(complete) {
		t.Error("a veto in the log still counts as seen")
	}
	w.refuse(payload, nil, byRecovering, "vetoed")
}

// A veto names the recovery and is by the set in force when that was logged, whatever became of the key. PROTOCOL 4.20.
func TestWhoMayVeto(t *testing.T) {
	w := watched(t)
	mx := stateOf("mx")
	rotate, err := w.draft().RotateState(mx, &formatv1.RotateState{Keys: declared(PurposeState, "mx-2", "mx-3", "mx-4"), Threshold: 2})
	w.do(rotate, err, byMX+" new:mx-3 new:mx-4")
	w.recover("mx", "r-1", "r-2")
	payload, err := w.draft().Veto(mx)
	w.refuse(payload, err, "state:mx-1", "signers") // rotated before
	w.refuse(payload, nil, "state:r-1", "signers")
	w.refuse(payload, nil, "state:jm-1", "signers")
	w.refuse(payload, nil, "steward:s-1 steward:s-2", "signers")
	// The thief, who has two keys, revokes the third: its holder may veto yet.
	revoke, err := w.draft().RevokeKey(OfState(mx), public("mx-4").Fingerprint(), "")
	w.do(revoke, err, "state:mx-2 state:mx-3")
	wrong, err := w.draft().restricting(KindVeto, OfState(mx), &formatv1.Veto{Recovery: make([]byte, 32)})
	w.refuse(wrong, err, "state:mx-4", "unknown-recovery")
	w.do(payload, nil, "state:mx-4")
}

// PROTOCOL 4.20: while a recovery runs every enabling statement of the state is held, of the neighbours none, and restrictions
// go on.
func TestHeldWhileRecovering(t *testing.T) {
	w := recovering(t)
	mx, fgr, primary := stateOf("mx"), nameOf("mx/fgr"), nodeOf("mx/node/primary")
	amended := authorityBody("mx/fgr", "mx/node/primary")
	amended.Keys = nil
	d := w.draft()
	for name, c := range map[string]struct {
		draft func() ([]byte, error)
		by    string
	}{
		"rotate state": {func() ([]byte, error) {
			return d.RotateState(mx, &formatv1.RotateState{Keys: declared(PurposeState, "n-1"), Threshold: 1})
		}, byMX + " new:n-1"},
		"declare": {func() ([]byte, error) {
			return d.DeclareAuthority(nameOf("mx/sat"), authorityBody("mx/sat", "mx/node/primary"))
		}, byMX + designated},
		"amend":   {func() ([]byte, error) { return d.DeclareAuthority(fgr, amended) }, byMX + designated},
		"node":    {func() ([]byte, error) { return d.DeclareNode(nodeOf("mx/node/b"), nodeBody("b")) }, byMX + designated},
		"confirm": {func() ([]byte, error) { return d.Confirm(mx) }, byMX},
		"notice":  {func() ([]byte, error) { return d.Notice(fgr, noticeBody(w.now)) }, byMX},
		"rotate authority": {func() ([]byte, error) {
			return d.RotateAuthorityKeys(fgr, &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "k")})
		}, byMX},
		"rotate node": {func() ([]byte, error) {
			return d.RotateNode(primary, &formatv1.RotateNode{Endpoints: []string{"127.0.0.1:9"}})
		}, byMX},
		"instruments":   {func() ([]byte, error) { return d.DeclareInstruments(mx, nil) }, byMX},
		"contact point": {func() ([]byte, error) { return d.DesignateContactPoint(fgr, "NV") }, byMX + designated},
		"reinstate":     {func() ([]byte, error) { return d.Reinstate(OfState(mx), "") }, stewards},
		"second recovery": {func() ([]byte, error) { return d.Recover(mx, recovery1("q-1")) },
			stewards + " new:q-1" + w.consents("mx", most)},
	} {
		payload, err := c.draft()
		t.Run(name, func(t *testing.T) {
			at := *w
			at.t = t
			at.refuse(payload, err, c.by, "held")
		})
	}
	payload, err := w.draft().Confirm(stateOf("jm"))
	w.do(payload, err, stateKeys("jm"))
	payload, err = w.draft().Suspend(OfNode(primary), w.now.Add(time.Hour), "")
	w.do(payload, err, byMX)
	payload, err = w.draft().RevokeNode(primary, "")
	w.do(payload, err, byMX)
}

// The thief, who has the old keys, does not get at the new ones, nor does another state take them first. PROTOCOL 4.14, 4.20.
func TestRecoveringKeysAreOutOfReach(t *testing.T) {
	w := recovering(t)
	payload, err := w.draft().RevokeKey(OfState(stateOf("mx")), public("r-1").Fingerprint(), "")
	w.refuse(payload, err, byMX, "unknown-key")
	if _, err := Restrict(w.s, w.parse(payload, nil, byMX)); code(err) != "unknown-key" {
		t.Errorf("on sight: %v", err)
	}
	payload, err = w.draft().RotateAuthorityKeys(nameOf("jm/fgr"), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "r-1")})
	w.refuse(payload, err, stateKeys("jm"), "key-in-use")
	// Nor do they sign anything before their time.
	payload, err = w.draft().Retire(nameOf("mx/fgr"), "")
	w.refuse(payload, err, "state:r-1 state:r-2", "signers")
	consent, err := w.draft().Recover(stateOf("jm"), recovery1("j-1"))
	w.refuse(consent, err, stewards+" new:j-1 consent:r-1 consent:br-1", "signers")
	// A recovery of keys that somebody has is no recovery.
	taken, err := w.draft().Recover(stateOf("jm"), recovery1("br-1"))
	w.refuse(taken, err, stewards+" new:br-1 consent:mx-1 consent:br-1", "key-in-use")
}

// The road that is shut: stewards admit a state again, under keys of their own. PROTOCOL 4.11.
func TestStewardsReadmitAState(t *testing.T) {
	w := watched(t)
	body := admission("mx")
	body.Keys = declared(PurposeState, "thief-1", "thief-2")
	for _, previous := range []bool{false, true} {
		m := w.draft().head(KindAdmitState, OfState(stateOf("mx")))
		if last, _ := w.s.Last(OfState(stateOf("mx"))); previous {
			m.Previous = last[:]
		}
		payload, err := finish(m, body)
		w.refuse(payload, err, everyone+" state:thief-1 state:thief-2", "already-admitted")
	}
	// Nor do they rotate, or recover with nobody else.
	payload, err := w.draft().RotateState(stateOf("mx"), &formatv1.RotateState{Keys: body.Keys, Threshold: 2})
	w.refuse(payload, err, everyone+" new:thief-1 new:thief-2", "signers")
	payload, err = w.draft().Recover(stateOf("mx"), &formatv1.Recover{Keys: body.Keys, Threshold: 2})
	w.refuse(payload, err, everyone+" new:thief-1 new:thief-2", "signers")
	w.refuse(payload, nil, everyone+" new:thief-1 new:thief-2 consent:jm-1 consent:jm-2 consent:jm-3", "signers")
}

// PROTOCOL 4.4, 4.20: the thief says one thing more of the state each time that a recovery was collected, of every kind
// that its keys alone sign, and stalls nothing.
func TestThiefStallsRecovery(t *testing.T) {
	w := watched(t)
	mx := stateOf("mx")
	payload, err := w.draft().Recover(mx, recovery1("r-1", "r-2"))
	confirm, err2 := w.draft().Confirm(mx)
	w.do(confirm, err2, byMX)
	instruments, err2 := w.draft().DeclareInstruments(mx, nil)
	w.do(instruments, err2, byMX)
	rotate, err2 := w.draft().RotateState(mx, &formatv1.RotateState{Keys: declared(PurposeState, "thief-1"), Threshold: 1})
	w.do(rotate, err2, byMX+" new:thief-1")
	w.do(payload, err, stewards+" "+byRecovering+w.consents("mx", most))
	// Nor what ends it: about the state nothing else is taken meanwhile.
	complete, err := w.completion(w.head(w.now, three...), w.head(w.now.Add(RecoveryTime), three...))
	settle, err2 := w.draft().Settle(mx, SettleCancel)
	confirm, err3 := w.draft().Confirm(mx)
	w.refuse(confirm, err3, "state:thief-1", "held")
	suspend, err3 := w.draft().Suspend(OfState(mx), w.now.Add(time.Hour), "")
	w.do(suspend, err3, "state:thief-1")
	if _, err := Apply(w.s, w.parse(settle, err2, stewards+w.consents("mx", most))); err != nil {
		t.Errorf("a settlement: %v", err)
	}
	w.do(complete, err, byRecovering)
}

// A recovery that was signed before another was over, or that was called off, begins nothing afterwards. PROTOCOL 4.4, 4.20.
func TestOldRecoveryReplayed(t *testing.T) {
	w := watched(t)
	mx := stateOf("mx")
	old, err := w.draft().Recover(mx, recovery1("q-1"))
	by := stewards + " new:q-1" + w.consents("mx", most)
	w.recover("mx", "r-1", "r-2")
	meanwhile, err2 := w.draft().Recover(mx, recovery1("q-1"))
	w.refuse(old, err, by, "held")
	payload, err3 := w.draft().Settle(mx, SettleCancel)
	w.do(payload, err3, stewards+w.consents("mx", most))
	w.refuse(old, err, by, "not-next")
	w.refuse(meanwhile, err2, by, "not-next")
	again := w.log[len(w.log)-2]
	if _, err := Follow(w.s, again); code(err) != "not-next" {
		t.Errorf("the recovery that was called off, again: %v", err)
	}
	payload, err = w.draft().Recover(mx, recovery1("r-1"))
	w.refuse(payload, err, stewards+" new:r-1"+w.consents("mx", most), "key-in-use")
	payload, err = w.draft().Recover(mx, recovery1("q-1"))
	w.do(payload, err, by)
}

// PROTOCOL 4.14, 4.20: who saw the keys of a recovery before it was logged declares one of them first, wherever a state may
// alone. It does not stall the recovery, and the key is not theirs afterwards.
func TestKeysOfARecoveryDeclaredFirst(t *testing.T) {
	r1 := public("r-1").Fingerprint()
	squats := map[string]func(w *world){
		"by the thief, of an authority": func(w *world) {
			payload, err := w.draft().RotateAuthorityKeys(nameOf("mx/fgr"), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "r-1")})
			w.do(payload, err, byMX)
		},
		"by the thief, of the state": func(w *world) {
			payload, err := w.draft().RotateState(stateOf("mx"), &formatv1.RotateState{Keys: declared(PurposeState, "mx-1", "r-1"), Threshold: 1})
			w.do(payload, err, byMX+" new:mx-1")
		},
		"by another state, as a witness, and revoked": func(w *world) {
			node := nodeOf("jm/node/primary")
			payload, err := w.draft().RotateNode(node, &formatv1.RotateNode{Add: declared(PurposeWitness, "r-1")})
			w.do(payload, err, stateKeys("jm"))
			payload, err = w.draft().RevokeKey(OfNode(node), r1, "")
			w.do(payload, err, stateKeys("jm"))
		},
	}
	for name, squat := range squats {
		t.Run(name, func(t *testing.T) {
			w := watched(t)
			payload, err := w.draft().Recover(stateOf("mx"), recovery1("r-1", "r-2"))
			squat(w)
			before, _ := w.view().Holder(r1)
			w.do(payload, err, stewards+" "+byRecovering+w.consents("mx", most))
			if h, _ := w.view().Holder(r1); h.Owner != OfState(stateOf("mx")) || h.Status != KeyPending || h.Purpose != PurposeState {
				t.Errorf("the key is %s to %s of %s", h.Status, h.Purpose, h.Owner)
			}
			for _, h := range w.view().Keys(before.Owner) {
				if h.Fingerprint == r1 {
					t.Errorf("the key still stands with %s", before.Owner)
				}
			}
			veto, err := w.draft().Veto(stateOf("mx"))
			w.refuse(veto, err, "state:r-1", "signers")
			complete, err := w.completion(w.head(w.now, three...), w.head(w.now.Add(RecoveryTime), three...))
			w.do(complete, err, byRecovering)
			confirm, err := w.draft().Confirm(stateOf("mx"))
			w.do(confirm, err, "state:r-1 state:r-2")
		})
	}
}

// PROTOCOL 4.14: only such a declaration gives way: none of before the recovery was drafted, none by who holds the key, none
// to a recovery that does not show that its maker does, none of the network.
func TestKeysThatNoRecoveryTakes(t *testing.T) {
	mx, jm := stateOf("mx"), stateOf("jm")
	refused := func(name string, before, after func(w *world), proofs string) {
		t.Run(name, func(t *testing.T) {
			w := watched(t)
			before(w)
			body := recovery1("r-1", "r-2")
			body.Threshold = 1
			payload, err := w.draft().Recover(mx, body)
			after(w)
			w.refuse(payload, err, stewards+proofs+w.consents("mx", most), "key-in-use")
		})
	}
	add := func(w *world) {
		payload, err := w.draft().RotateAuthorityKeys(nameOf("jm/fgr"), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "r-1")})
		w.do(payload, err, stateKeys("jm"))
	}
	nothing := func(*world) {}
	refused("declared before", add, nothing, " new:r-1 new:r-2")
	refused("not shown to be held", nothing, add, " new:r-2")
	refused("held by who declared it", nothing, func(w *world) {
		payload, err := w.draft().RotateState(jm, &formatv1.RotateState{Keys: declared(PurposeState, "jm-1", "r-1"), Threshold: 2})
		w.do(payload, err, stateKeys("jm")+" new:jm-1 new:r-1")
	}, " new:r-1 new:r-2")
	refused("of the network", nothing, func(w *world) {
		payload, err := w.draft().RotateHub(hubWith("r-1"))
		w.do(payload, err, stewards)
	}, " new:r-1 new:r-2")
	refused("of another recovery", nothing, func(w *world) {
		body := recovery1("r-1", "q-1")
		body.Threshold = 1
		payload, err := w.draft().Recover(jm, body)
		w.do(payload, err, stewards+" new:q-1"+w.consents("jm", most))
	}, " new:r-1 new:r-2")
}
