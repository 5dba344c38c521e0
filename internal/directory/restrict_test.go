package directory

import (
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// PROTOCOL 4.6: on sight, then confirmed by the log; P7.
func TestRestrictOnSight(t *testing.T) {
	w := populated(t)
	mx, position := stateOf("mx"), w.s.Position()
	payload, err := w.draft().Suspend(OfState(mx), w.now.Add(time.Hour), "compromised")
	st := w.see(payload, err, stewards)
	if got := w.s.Position(); got != position {
		t.Errorf("position %d, want %d: what is only seen is not in the log", got, position)
	}
	e, _ := w.view().State(mx)
	if e.Status != Suspended || !e.Unconfirmed || w.s.Standing(st) != Unconfirmed {
		t.Errorf("on sight: %+v, standing %d", e.Condition, w.s.Standing(st))
	}
	if again, err := Restrict(w.s, st); again != w.s || err != nil {
		t.Errorf("a repeat is new, or %v", err)
	}
	w.do(payload, nil, stewards)
	e, _ = w.view().State(mx)
	if e.Status != Suspended || e.Unconfirmed || w.s.Standing(st) != Logged {
		t.Errorf("logged: %+v, standing %d", e.Condition, w.s.Standing(st))
	}
	if again, err := Restrict(w.s, st); again != w.s || err != nil {
		t.Errorf("a repeat after the log is new, or %v", err)
	}
	w.refuse(payload, nil, stewards, "duplicate")
}

// PROTOCOL 4.6: every restricting kind works on sight, no enabling one does.
func TestRestrictKinds(t *testing.T) {
	w, all := oneOfEach(t)
	for name, b := range all {
		st, err := ParseStatement(b)
		if err != nil {
			t.Fatal(err)
		}
		next, err := Restrict(w.s, st)
		if !st.Restricting() {
			if code(err) != "not-restricting" {
				t.Errorf("%s on sight: %v", name, err)
			}
			continue
		}
		if err != nil || next.Standing(st) != Unconfirmed || w.s.Standing(st) != Unknown {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if logged, err := Apply(next, st); err != nil || logged.Standing(st) != Logged {
			t.Errorf("%s from the log: %v", name, err)
		}
	}
}

// PROTOCOL 4.6: what was only seen never decides whether a log entry is valid.
func TestSeenDecidesNothingInTheLog(t *testing.T) {
	w := populated(t)
	retire, err := w.draft().Retire(nameOf("mx/fgr"), "")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := w.draft().RevokeKey(OfState(stateOf("mx")), public("mx-1").Fingerprint(), "")
	w.see(payload, err, byMX)
	if h, _ := w.view().Holder(public("mx-1").Fingerprint()); h.Status != KeyRevoked || h.Position != 0 {
		t.Errorf("key revoked on sight: %+v", h)
	}
	st := w.parse(retire, nil, byMX)
	if _, err := Restrict(w.s, st); code(err) != "signers" {
		t.Errorf("on sight by a key seen revoked: %v", err)
	}
	w.do(retire, nil, byMX)
}

// PROTOCOL 4.6: clocks count on sight.
func TestCheckOnSight(t *testing.T) {
	w := populated(t)
	payload, err := w.draft().Suspend(OfState(stateOf("mx")), w.now.Add(time.Hour), "")
	st := w.parse(payload, err, stewards)
	tests := []struct {
		after time.Duration
		want  string
	}{
		{-Skew - time.Second, "future"}, {-Skew, ""}, {0, ""}, {time.Hour - time.Second, ""}, {time.Hour, "lapsed"},
	}
	for _, test := range tests {
		if got := code(CheckOnSight(st, w.now.Add(test.after))); got != test.want {
			t.Errorf("after %v: %q, want %q", test.after, got, test.want)
		}
	}
	if err := CheckOnSight(st, w.now.Add(-time.Hour)); !fault.Is(err, fault.Retry) {
		t.Errorf("a clock that may be ours to blame: %v", err)
	}
}

// PROTOCOL 4.7: a suspension lapses by itself, and covers what belongs to a state.
func TestSuspensionLapses(t *testing.T) {
	w := populated(t)
	mx, fgr, primary := stateOf("mx"), nameOf("mx/fgr"), nodeOf("mx/node/primary")
	payload, err := w.draft().Suspend(OfState(mx), w.now.Add(time.Hour), "")
	w.do(payload, err, stewards)
	tests := []struct {
		after time.Duration
		want  string
	}{
		{-Skew - time.Second, ""}, {-Skew, "suspended"}, {0, "suspended"}, {time.Hour - time.Second, "suspended"}, {time.Hour, ""},
	}
	for _, test := range tests {
		v := w.s.At(w.now.Add(test.after))
		for what, err := range map[string]error{"state": v.CheckState(mx), "authority": v.CheckAuthority(fgr), "node": v.CheckNode(primary)} {
			if got := code(err); got != test.want {
				t.Errorf("%s after %v: %q, want %q", what, test.after, got, test.want)
			}
		}
		if err := v.CheckAuthority(nameOf("jm/fgr")); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
	}
}

// PROTOCOL 4.2, 4.7: one payload may be signed by the state and by stewards. Neither takes the place of the other: one rogue
// steward does not turn the state's own suspension into one that the quorum lifts, nor a thief the stewards' into the state's.
func TestOneSuspensionOnTwoWords(t *testing.T) {
	fgr := OfAuthority(nameOf("mx/fgr"))
	for _, order := range [][2]string{{"steward:s-1", byMX}, {byMX, "steward:s-1"}, {byMX, stewards}} {
		w := populated(t)
		payload, err := w.draft().Suspend(fgr, w.now.Add(time.Hour), "")
		first := w.parse(payload, err, order[0])
		second := w.parse(payload, nil, order[1])
		w.do(payload, nil, order[0])
		if w.s.Standing(first) != Logged || w.s.Standing(second) != Unknown {
			t.Errorf("%v: standing %d and %d", order, w.s.Standing(first), w.s.Standing(second))
		}
		w.see(payload, nil, order[1])
		w.do(payload, nil, order[1])
		if w.s.Standing(second) != Logged {
			t.Errorf("%v: standing %d", order, w.s.Standing(second))
		}
		w.refuse(payload, nil, order[1], "duplicate")
		lift, err := w.draft().Reinstate(fgr, "")
		w.do(lift, err, stewards)
		if e, _ := w.view().Authority(fgr.Name()); e.Status != Suspended {
			t.Errorf("%v: the quorum alone lifted the state's own suspension", order)
		}
		lift, err = w.draft().Reinstate(fgr, "")
		w.do(lift, err, stewards+" "+byMX)
		if e, _ := w.view().Authority(fgr.Name()); e.Status != Active {
			t.Errorf("%v: not lifted by both", order)
		}
	}
}

// PROTOCOL 4.7: of a state's own suspensions without end so many are kept, and those that last; the stewards' stay beside.
func TestOwnSuspensionsWithoutEnd(t *testing.T) {
	w := populated(t)
	mx := OfState(stateOf("mx"))
	long, err := w.draft().Suspend(mx, w.now.Add(1000*time.Hour), "")
	longest := w.do(long, err, byMX)
	theirs, err := w.draft().Suspend(mx, w.now.Add(time.Minute), "")
	stewardsOwn := w.do(theirs, err, stewards)
	var all []Statement
	for n := range 2 * maxOwn {
		payload, err := w.draft().Suspend(mx, w.now.Add(time.Duration(n+2)*time.Hour), "")
		all = append(all, w.do(payload, err, byMX))
	}
	kept := 0
	for _, st := range all {
		if w.s.Standing(st) == Logged {
			kept++
		}
	}
	if kept != maxOwn-1 || w.s.Standing(all[0]) != Unknown || w.s.Standing(longest) != Logged || w.s.Standing(stewardsOwn) != Logged {
		t.Errorf("%d are kept", kept)
	}
	if e, _ := w.view().State(mx.State()); !e.Until.Equal(w.now.Add(1000 * time.Hour)) {
		t.Errorf("suspended until %v", e.Until)
	}
	// One that ends before all that are kept adds nothing, and is no error: the log has it.
	w.do(all[0].Payload(), nil, byMX)
}

// PROTOCOL 4.7: a term of centuries is too long whoever asks for it, also where its nanoseconds go round 64 bits.
func TestSuspensionForCenturies(t *testing.T) {
	w := populated(t)
	// The second is one round of 2^64 nanoseconds and 0.3 s: as a time.Duration it would be that.
	for _, seconds := range []int64{9246186936, 18446744074, 202914184811} {
		payload := rebuilt(t, w, func(f *suspendFields) { f.end = time.Unix(f.start.Unix()+seconds, 0) })
		for _, by := range []string{"steward:s-1", stewards} {
			w.refuse(payload, nil, by, "term")
			if _, err := Restrict(w.s, w.parse(payload, nil, by)); code(err) != "term" {
				t.Errorf("on sight, %d seconds by %s: %v", seconds, by, err)
			}
		}
	}
}

// PROTOCOL 4.7: terms, by whom.
func TestSuspensionTerms(t *testing.T) {
	w := populated(t)
	subject := OfAuthority(nameOf("mx/fgr"))
	tests := []struct {
		name, by string
		length   time.Duration
		want     string
	}{
		{"one steward, 72 h", "steward:s-1", MaxLoneSuspension, ""},
		{"one steward, longer", "steward:s-1", MaxLoneSuspension + time.Second, "term"},
		{"quorum, 30 days", stewards, MaxSuspension, ""},
		{"quorum, longer", stewards, MaxSuspension + time.Second, "term"},
		{"the state, a year", byMX, 365 * 24 * time.Hour, ""},
		{"a neighbour", "state:jm-1 state:jm-2", time.Hour, "signers"},
		{"state and steward", byMX + " steward:s-1", time.Hour, "signers"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			payload, err := w.draft().Suspend(subject, w.now.Add(test.length), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Follow(w.s, signed(payload, test.by)); code(err) != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// PROTOCOL 4.7: a suspension does not start after it was signed.
func TestSuspensionInTheFuture(t *testing.T) {
	w := populated(t)
	b := rebuilt(t, w, func(m *suspendFields) { m.start = w.now.Add(time.Second) })
	if _, err := Follow(w.s, signed(b, stewards)); code(err) != "term" {
		t.Errorf("got %v, want term", err)
	}
}

// PROTOCOL 4.7: one steward alone once in 30 days per subject, whoever it is, unless a quorum confirms.
func TestLoneSuspension(t *testing.T) {
	w := populated(t)
	subject, other := OfState(stateOf("mx")), OfState(stateOf("jm"))
	suspend := func(s Subject, length time.Duration) ([]byte, error) {
		return w.draft().Suspend(s, w.now.Add(length), "")
	}
	first, err := suspend(subject, MaxLoneSuspension)
	w.do(first, err, "steward:s-1")
	w.now = w.now.Add(MaxLoneSuspension)
	payload, err := suspend(subject, time.Hour)
	w.refuse(payload, err, "steward:s-2", "too-soon")
	payload, err = suspend(other, time.Hour)
	w.do(payload, err, "steward:s-2")

	// A reinstatement gives no second chance.
	payload, err = w.draft().Reinstate(subject, "")
	w.do(payload, err, stewards)
	payload, err = suspend(subject, time.Hour)
	w.refuse(payload, err, "steward:s-2", "too-soon")

	w.now = start.Add(LoneInterval - time.Second)
	payload, err = suspend(subject, time.Hour)
	w.refuse(payload, err, "steward:s-2", "too-soon")
	w.now = start.Add(LoneInterval)
	payload, err = suspend(subject, time.Hour)
	lone := w.do(payload, err, "steward:s-2")

	// The quorum confirms by signing the same statement; then one may act alone again.
	w.now = w.now.Add(time.Hour)
	payload, err = suspend(subject, time.Hour)
	w.refuse(payload, err, "steward:s-3", "too-soon")
	w.do(lone.Payload(), nil, stewards)
	w.refuse(lone.Payload(), nil, stewards, "duplicate")
	w.do(payload, err, "steward:s-3")
}

func TestLoneSuspensionConfirmedByAnother(t *testing.T) {
	w := populated(t)
	subject := OfState(stateOf("mx"))
	payload, err := w.draft().Suspend(subject, w.now.Add(time.Hour), "")
	w.do(payload, err, "steward:s-1")
	w.now = w.now.Add(30 * time.Minute)
	payload, err = w.draft().Suspend(subject, w.now.Add(MaxSuspension), "")
	w.do(payload, err, stewards)
	w.now = w.now.Add(time.Hour)
	payload, err = w.draft().Suspend(subject, w.now.Add(time.Hour), "")
	w.do(payload, err, "steward:s-1")
}

// A quorum's suspension at another time confirms nothing.
func TestLoneSuspensionNotConfirmed(t *testing.T) {
	w := populated(t)
	subject := OfState(stateOf("mx"))
	for _, by := range []string{"steward:s-1", stewards} {
		payload, err := w.draft().Suspend(subject, w.now.Add(time.Hour), "")
		w.do(payload, err, by)
		w.now = w.now.Add(time.Hour)
	}
	payload, err := w.draft().Suspend(subject, w.now.Add(time.Hour), "")
	w.refuse(payload, err, "steward:s-1", "too-soon")
}

func TestLoneSuspensionOnSight(t *testing.T) {
	w := populated(t)
	subject := OfState(stateOf("mx"))
	payload, err := w.draft().Suspend(subject, w.now.Add(time.Hour), "")
	first := w.see(payload, err, "steward:s-1")
	payload, err = w.draft().Suspend(subject, w.now.Add(time.Hour), "")
	if _, err := Restrict(w.s, w.parse(payload, err, "steward:s-2")); code(err) != "too-soon" {
		t.Errorf("second on sight: %v", err)
	}
	// The quorum's signatures on the first are news; the log may take the other, which it saw first.
	w.see(first.Payload(), nil, stewards)
	w.do(payload, err, "steward:s-2")
}

// PROTOCOL 4.7: a reinstatement ends what was made before it, logged or not, and it cannot be replayed.
func TestReplayAfterReinstatement(t *testing.T) {
	w := populated(t)
	subject := OfNode(nodeOf("mx/node/primary"))
	suspend := func() ([]byte, error) { return w.draft().Suspend(subject, w.now.Add(MaxSuspension), "") }
	payload, err := suspend()
	inLog := w.do(payload, err, stewards)
	payload, err = suspend()
	onlySeen := w.see(payload, err, stewards)
	payload, err = suspend()
	neverSeen := w.parse(payload, err, stewards)

	payload, err = w.draft().Reinstate(subject, "found")
	w.do(payload, err, stewards)
	if err := w.view().CheckNode(nodeOf("mx/node/primary")); err != nil {
		t.Errorf("after the reinstatement: %v", err)
	}
	for name, old := range map[string]Statement{"logged": inLog, "only seen": onlySeen, "never seen": neverSeen} {
		if _, err := Apply(w.s, old); code(err) != "reinstated" {
			t.Errorf("%s, from the log: %v", name, err)
		}
		if _, err := Restrict(w.s, old); code(err) != "reinstated" {
			t.Errorf("%s, on sight: %v", name, err)
		}
		if got := w.s.Standing(old); got != Unknown {
			t.Errorf("%s stands as %d", name, got)
		}
	}
	// A new one is another matter.
	payload, err = suspend()
	w.do(payload, err, stewards)
	if got := code(w.view().CheckNode(nodeOf("mx/node/primary"))); got != "suspended" {
		t.Errorf("suspended anew: %q", got)
	}
}

// PROTOCOL 4.5, 4.7: who ends which suspensions.
func TestReinstateOnWhoseWord(t *testing.T) {
	w := populated(t)
	subject, fgr := OfAuthority(nameOf("mx/fgr")), nameOf("mx/fgr")
	payload, err := w.draft().Suspend(subject, w.now.Add(time.Hour), "")
	w.do(payload, err, byMX)
	payload, err = w.draft().Suspend(subject, w.now.Add(2*time.Hour), "")
	w.do(payload, err, stewards)
	payload, err = w.draft().Reinstate(subject, "")
	w.refuse(payload, err, byMX, "signers")
	w.do(payload, err, stewards)
	e, _ := w.view().Authority(fgr)
	if e.Status != Suspended || !e.Until.Equal(w.now.Add(time.Hour)) {
		t.Errorf("stewards ended the state's own: %+v", e.Condition)
	}
	payload, err = w.draft().Reinstate(subject, "")
	w.do(payload, err, stewards+" "+byMX)
	if err := w.view().CheckAuthority(fgr); err != nil {
		t.Errorf("both signed: %v", err)
	}
}

// PROTOCOL 4.7: nobody ends what is yet to come.
func TestReinstateAhead(t *testing.T) {
	w := populated(t)
	d := w.draft()
	ahead := *w.s
	ahead.position++
	payload, err := Draft{&ahead, d.Created, d.Random}.Reinstate(OfState(stateOf("mx")), "")
	w.refuse(payload, err, stewards, "behind")
	subject := OfState(stateOf("mx"))
	payload, err = d.enabling(KindReinstate, subject, &formatv1.Reinstate{Position: w.s.Position() + 1})
	w.refuse(payload, err, stewards, "malformed")
}

// PROTOCOL 4.6: what waits for the log is bounded, and a state cannot use the bound against the stewards.
func TestUnloggedBound(t *testing.T) {
	w := populated(t)
	subject := OfState(stateOf("mx"))
	for range maxUnlogged {
		payload, err := w.draft().Suspend(subject, w.now.Add(time.Second), "")
		w.see(payload, err, byMX)
	}
	payload, err := w.draft().Suspend(subject, w.now.Add(time.Second), "")
	if _, err := Restrict(w.s, w.parse(payload, err, byMX)); code(err) != "too-many" {
		t.Errorf("one more: %v", err)
	}
	payload, err = w.draft().Suspend(subject, w.now.Add(time.Hour), "")
	w.see(payload, err, stewards)
}

// Of several suspensions the longest shows; unconfirmed only if all are.
func TestOverlappingSuspensions(t *testing.T) {
	w := populated(t)
	fgr := nameOf("mx/fgr")
	payload, err := w.draft().Suspend(OfState(stateOf("mx")), w.now.Add(time.Hour), "")
	w.see(payload, err, stewards)
	payload, err = w.draft().Suspend(OfAuthority(fgr), w.now.Add(2*time.Hour), "")
	w.see(payload, err, stewards)
	if e, _ := w.view().Authority(fgr); !e.Unconfirmed || !e.Until.Equal(w.now.Add(2*time.Hour)) {
		t.Errorf("both seen: %+v", e.Condition)
	}
	w.do(payload, err, stewards)
	if e, _ := w.view().Authority(fgr); e.Unconfirmed || e.Status != Suspended {
		t.Errorf("one logged: %+v", e.Condition)
	}
}
