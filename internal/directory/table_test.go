package directory

import (
	"strings"
	"testing"
	"time"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// addWitness gives a node a witness key of the name "<node>-witness".
func (w *world) addWitness(name string) {
	w.t.Helper()
	node := nodeOf(name)
	payload, err := w.draft().RotateNode(node, &formatv1.RotateNode{Add: declared(PurposeWitness, name+"-witness")})
	w.do(payload, err, stateKeys(node.State().String()))
}

func recovery1(keys ...string) *formatv1.Recover {
	return &formatv1.Recover{Keys: declared(PurposeState, keys...), Threshold: uint32(len(keys)), Reason: "stolen"}
}

// recover begins one with the consent of a third of the other states.
func (w *world) recover(state string, keys ...string) Statement {
	w.t.Helper()
	payload, err := w.draft().Recover(stateOf(state), recovery1(keys...))
	return w.do(payload, err, stewards+" new:"+strings.Join(keys, " new:")+w.consents(state, func(n int) int { return (n + 2) / 3 }))
}

// consents are by the first key each of as many other states as needed.
func (w *world) consents(but string, least func(int) int) string {
	states := w.view().States()
	need, specs := least(len(states)-1), ""
	for _, e := range states {
		if name := e.State.String(); name != but && need > 0 {
			specs += " consent:" + name + "-1"
			need--
		}
	}
	return specs
}

func most(n int) int { return n/2 + 1 }

func stewardSet(names ...string) *formatv1.RotateStewards {
	return &formatv1.RotateStewards{Stewards: declared(PurposeSteward, names...), Threshold: 2}
}

func hubWith(log string) *formatv1.Hub {
	return &formatv1.Hub{LogKey: declared(PurposeLog, log)[0], CaCertificates: [][]byte{ca()}, Endpoints: []string{"127.0.0.1:7500"}}
}

func categories(slugs ...string) *formatv1.Categories {
	m := &formatv1.Categories{}
	for _, s := range slugs {
		m.Categories = append(m.Categories, &formatv1.Category{Slug: s, Status: CategoryActive, Titles: []*formatv1.Text{{Language: "en", Value: s}}})
	}
	return m
}

func instruments(codes ...string) *formatv1.Instruments {
	m := &formatv1.Instruments{}
	for _, c := range codes {
		m.Instruments = append(m.Instruments, &formatv1.Instrument{Code: c, Titles: []*formatv1.Text{{Language: "en", Value: c}}})
	}
	return m
}

func noticeBody(from time.Time) *formatv1.Notice {
	return &formatv1.Notice{Availability: "degraded", Start: from.Unix(), End: from.Add(time.Hour).Unix(), Fallback: "jm/fgr", Text: "storm"}
}

// union5 is a network of mx and jm with all that populated has, and br, ht and pa beside.
func union5(t testing.TB) *world {
	t.Helper()
	w := populated(t)
	for _, s := range []string{"br", "ht", "pa"} {
		w.admit(s)
	}
	return w
}

// PROTOCOL 4.5, 4.9, 4.17 to 4.21: the rest of the table, each kind under every subset of a crowd of signers.
func TestSignersOfUpkeep(t *testing.T) {
	mx, fgr := stateOf("mx"), nameOf("mx/fgr")
	body := func(draft func(Draft) ([]byte, error)) func(*world) ([]byte, error) {
		return func(w *world) ([]byte, error) { return draft(w.draft()) }
	}
	network := "steward:s-1 steward:s-2 steward:s-3"
	w := union5(t)
	crowd := strings.Fields(own + " " + network + " steward:mx-1 state:jm-1 state:s-1 verify:s-1 countersign:s-2 new:mx-1 consent:jm-1")
	pairs := strings.Fields(own + verifiers + " verify:mx-1 countersign:jm-1 steward:s-1 state:jm-1")
	for _, c := range []struct {
		signersCase
		crowd []string
	}{
		{signersCase{"rotate hub", body(func(d Draft) ([]byte, error) { return d.RotateHub(hubWith("log-2")) }), network, quorum}, crowd},
		{signersCase{"categories", body(func(d Draft) ([]byte, error) { return d.Categories(categories("drugs")) }), network, quorum}, crowd},
		{signersCase{"instruments", body(func(d Draft) ([]byte, error) { return d.Instruments(instruments("untoc")) }), network, quorum}, crowd},
		{signersCase{"rules", body(func(d Draft) ([]byte, error) { return d.ChangeRules(1000) }), network, quorum}, crowd},
		{signersCase{"declare instruments", body(func(d Draft) ([]byte, error) { return d.DeclareInstruments(mx, []string{"untoc"}) }), own, state}, crowd},
		{signersCase{"confirm", body(func(d Draft) ([]byte, error) { return d.Confirm(mx) }), own, state}, crowd},
		{signersCase{"notice", body(func(d Draft) ([]byte, error) { return d.Notice(fgr, noticeBody(start)) }), own, state}, crowd},
		{signersCase{"contact point", body(func(d Draft) ([]byte, error) { return d.DesignateContactPoint(fgr, "NV") }), own + verifiers, twoPersons}, pairs},
		{signersCase{"rotate stewards", body(func(d Draft) ([]byte, error) { return d.RotateStewards(stewardSet("s-1", "s-4", "s-5")) }),
			network + " new:s-1 new:s-4 new:s-5", func(n map[string]int, _ func(string) bool) bool { return n["steward"] >= 2 && n["new"] >= 2 }},
			strings.Fields(network + " new:s-1 new:s-2 new:s-4 new:s-5 steward:s-4 state:mx-1 state:s-1 consent:jm-1 verify:s-1")},
	} {
		t.Run(c.name, func(t *testing.T) { trySubsets(t, w.s, w, c.signersCase, c.crowd) })
	}
}

// PROTOCOL 4.5, 4.20: who begins, vetoes, completes and settles a recovery. Of four other states two make a third,
// rounded up, and three more than half; two keys of one state are one consent.
func TestSignersOfRecovery(t *testing.T) {
	mx := stateOf("mx")
	three := "steward:s-1 steward:s-2"
	consents := " consent:jm-1 consent:jm-2 consent:br-1 consent:ht-1"
	agree := func(has func(string) bool) int {
		n := 0
		for _, state := range []string{"jm", "br", "ht"} {
			if has("consent:"+state+"-1") || has("consent:"+state+"-2") {
				n++
			}
		}
		return n
	}
	before := union5(t)
	crowd := strings.Fields(three + consents + " new:r-1 new:r-2 new:mx-1 consent:mx-1 state:mx-1 steward:jm-1 consent:s-1")
	trySubsets(t, before.s, before, signersCase{"recover", func(w *world) ([]byte, error) { return w.draft().Recover(mx, recovery1("r-1", "r-2")) },
		three + consents + " new:r-1 new:r-2", func(n map[string]int, has func(string) bool) bool {
			return n["steward"] == 2 && n["new"] == 2 && agree(has) >= 2
		}}, crowd)

	w := union5(t)
	w.addWitness("jm/node/primary")
	w.recover("mx", "r-1", "r-2")
	earlier, later := w.head(w.now, "jm/node/primary"), w.head(w.now.Add(RecoveryTime), "jm/node/primary")
	crowd = strings.Fields(three + " new:r-1 new:r-2 new:mx-1 state:mx-1 state:mx-2 state:r-1 consent:jm-1 steward:mx-1")
	trySubsets(t, w.s, w, signersCase{"complete", func(w *world) ([]byte, error) { return w.draft().CompleteRecovery(mx, earlier, later) },
		"new:r-1 new:r-2", func(n map[string]int, _ func(string) bool) bool { return n["new"] == 2 }}, crowd)
	trySubsets(t, w.s, w, signersCase{"veto", func(w *world) ([]byte, error) { return w.draft().Veto(mx) },
		own, func(n map[string]int, _ func(string) bool) bool { return n["state"] >= 1 }}, append(crowd, "state:mx-3", "state:jm-1"))

	w.veto("mx", "state:mx-3")
	crowd = strings.Fields(three + consents + " steward:s-3 new:r-1 consent:mx-1 consent:r-1 state:mx-1 consent:s-1")
	for _, outcome := range []string{SettleConfirm, SettleCancel} {
		trySubsets(t, w.s, w, signersCase{outcome, func(w *world) ([]byte, error) { return w.draft().Settle(mx, outcome) },
			everyone + consents, func(n map[string]int, has func(string) bool) bool { return n["steward"] >= 2 && agree(has) >= 3 }}, crowd)
	}
}

// veto logs one.
func (w *world) veto(state, by string) Statement {
	w.t.Helper()
	payload, err := w.draft().Veto(stateOf(state))
	return w.do(payload, err, by)
}

// PROTOCOL 4.3: each kind is about subjects of its own, and about no other.
func TestSubjectsOfKinds(t *testing.T) {
	subjects := []Subject{{}, OfState(stateOf("mx")), OfAuthority(nameOf("mx/fgr")), OfNode(nodeOf("mx/node/primary"))}
	about := map[Kind]string{
		KindRotateStewards: "network", KindRotateHub: "network", KindCategories: "network", KindInstruments: "network", KindRules: "network",
		KindDeclareInstruments: "mx", KindDesignateContactPoint: "mx", KindConfirm: "mx", KindNotice: "mx/fgr",
		KindRecover: "mx", KindCompleteRecovery: "mx", KindSettle: "mx", KindVeto: "mx",
	}
	for kind, want := range about {
		for _, s := range subjects {
			if got := forms[kind].about(s); got != (s.String() == want) {
				t.Errorf("%s about %s: %t", kind, s, got)
			}
		}
	}
}

// PROTOCOL 4.4: the chain of the network, of a state and of an authority goes on with the new kinds too; an old one handed in
// again, and one that follows another, is refused.
func TestChainOfUpkeep(t *testing.T) {
	w, all := oneOfEach(t)
	for name, b := range all {
		st, err := ParseStatement(b)
		if err != nil {
			t.Fatal(err)
		}
		next, err := Apply(w.s, st)
		if err != nil {
			t.Fatal(name, err)
		}
		want := "not-next"
		switch st.Kind() {
		case KindAdmitState:
			want = "already-admitted"
		case KindRetire, KindRevoke, KindSuspend, KindVeto:
			want = "duplicate"
		case KindRecover:
			want = "held"
		case KindCompleteRecovery, KindSettle:
			want = "not-next"
		}
		if _, err := Apply(next, st); code(err) != want {
			t.Errorf("%s twice: %v, want %s", name, err, want)
		}
	}
	stale := w.draft()
	payload, err := w.draft().Categories(categories("drugs"))
	w.do(payload, err, stewards)
	payload, err = stale.RotateHub(hubWith("log-2"))
	w.refuse(payload, err, stewards, "not-next")
}

// Every kind but the genesis can be drafted from the JSON of its body, and what the moment decides may be left out.
func TestFromJSONOfEveryKind(t *testing.T) {
	w, all := oneOfEach(t)
	if len(bodies) != len(forms)-1 {
		t.Errorf("%d kinds can be drafted, of %d", len(bodies), len(forms)-1)
	}
	for kind, empty := range map[Kind]string{KindVeto: "{}", KindConfirm: "{}", KindSettle: `{"outcome":"cancel"}`, KindRules: `{"from":"1000"}`,
		KindNotice: `{"availability":"closed"}`} {
		subject := Subject{}
		for _, b := range all {
			if st, err := ParseStatement(b); err == nil && st.Kind() == kind {
				subject = st.Subject()
			}
		}
		if _, err := w.draft().FromJSON(kind, subject, []byte(empty)); err != nil {
			t.Errorf("%s of %s: %v", kind, empty, err)
		}
	}
	if _, err := w.draft().FromJSON(KindVeto, OfState(stateOf("mx")), []byte("{}")); code(err) != "unknown-recovery" {
		t.Errorf("a veto of nothing: %v", err)
	}
}
