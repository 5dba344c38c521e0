package directory

import (
	"fmt"
	"testing"
	"time"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// PROTOCOL 4.17: the new stewards decide, the rotated ones sign nothing more, in no role; their keys are kept as rotated.
func TestRotateStewards(t *testing.T) {
	w := union5(t)
	suspend, err := w.draft().Suspend(OfState(stateOf("mx")), w.now.Add(time.Hour), "")
	alone := w.parse(suspend, err, "steward:s-1")
	payload, err := w.draft().RotateStewards(stewardSet("s-2", "s-4", "s-5"))
	w.refuse(payload, err, "steward:s-1 steward:s-2 new:s-1 new:s-2", "signers")
	w.do(payload, nil, "steward:s-1 steward:s-3 new:s-4 new:s-5")
	position := w.s.Position()
	for name, want := range map[string]KeyStatus{"s-1": KeyRotated, "s-2": KeyActive, "s-3": KeyRotated, "s-4": KeyActive} {
		if h, ok := w.view().Holder(public(name).Fingerprint()); !ok || h.Status != want || !h.Owner.IsNetwork() ||
			(want == KeyRotated && h.Position != position) {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if set := w.s.Stewards(); len(set.Keys) != 3 || set.Threshold != 2 || len(w.view().Keys(Subject{})) != 6 {
		t.Errorf("%d stewards, threshold %d, %d keys of the network", len(set.Keys), set.Threshold, len(w.view().Keys(Subject{})))
	}
	if _, err := Restrict(w.s, alone); code(err) != "signers" {
		t.Errorf("a rotated steward suspends: %v", err)
	}
	payload, err = w.draft().Categories(categories("drugs"))
	w.refuse(payload, err, "steward:s-1 steward:s-2", "signers")
	w.do(payload, nil, "steward:s-2 steward:s-4")
	declare, err := w.draft().DeclareNode(nodeOf("mx/node/b"), nodeBody("b"))
	w.refuse(declare, err, byMX+" verify:s-1 countersign:s-4", "signers")
	w.do(declare, nil, byMX+" verify:s-5 countersign:s-4")
	back, err := w.draft().RotateStewards(stewardSet("s-1", "s-4"))
	w.refuse(back, err, "steward:s-2 steward:s-4 new:s-1 new:s-4", "key-in-use")
	few, err := w.draft().RotateStewards(&formatv1.RotateStewards{Stewards: declared(PurposeSteward, "s-2"), Threshold: 1})
	w.refuse(few, err, "", "too-few-stewards")
}

// A threshold that grew makes of what was a quorum's suspension one by fewer. PROTOCOL 4.7, 4.17.
func TestThresholdRotated(t *testing.T) {
	w := union5(t)
	body := stewardSet("s-1", "s-2", "s-3")
	body.Threshold = 3
	payload, err := w.draft().RotateStewards(body)
	w.do(payload, err, stewards+" new:s-1 new:s-2 new:s-3")
	long, err := w.draft().Suspend(OfState(stateOf("mx")), w.now.Add(MaxSuspension), "")
	w.refuse(long, err, stewards, "term")
	w.do(long, nil, everyone)
}

// PROTOCOL 4.17, 11.6: a rotated log key verifies heads of sizes before the rotation's position, the new one those from it on.
func TestRotateHub(t *testing.T) {
	w := union5(t)
	same := w.s.Hub().Restate()
	same.Endpoints = []string{"127.0.0.1:7600"}
	payload, err := w.draft().RotateHub(same)
	w.do(payload, err, stewards)
	if got := w.s.Hub(); got.Endpoints[0] != "127.0.0.1:7600" || got.LogKey.Public != public("log") {
		t.Errorf("hub %v", got.Endpoints)
	}
	var positions []uint64
	for _, key := range []string{"log-2", "log-3"} {
		payload, err = w.draft().RotateHub(hubWith(key))
		w.do(payload, err, stewards)
		positions = append(positions, w.s.Position())
		payload, err = w.draft().Categories(categories("drugs"))
		w.do(payload, err, stewards)
	}
	for size, want := range map[uint64]string{0: "log", 1: "log", positions[0] - 1: "log", positions[0]: "log-2", positions[1] - 1: "log-2",
		positions[1]: "log-3", positions[1] + 1000: "log-3"} {
		if w.s.LogKey(size) != public(want) {
			t.Errorf("the key for size %d is not %s", size, want)
		}
	}
	if h, _ := w.view().Holder(public("log").Fingerprint()); h.Status != KeyRotated || h.Position != positions[0] {
		t.Errorf("the first log key: %+v", h)
	}
	payload, err = w.draft().RotateHub(hubWith("log"))
	w.refuse(payload, err, stewards, "key-in-use")
	payload, err = w.draft().RotateHub(hubWith("mx-1"))
	w.refuse(payload, err, stewards, "key-in-use")
	if got := w.s.NetworkName(); got != "toc.example" {
		t.Errorf("network name %q", got)
	}
}

// PROTOCOL 4.21: under rules that it does not know a program takes nothing more from the log, whatever it is, and never skips;
// restrictions on sight it takes.
func TestNewerRules(t *testing.T) {
	w := union5(t)
	for _, c := range []struct {
		version uint32
		from    uint64
	}{{1, 1000}, {3, 1000}, {2, w.s.Position() + 1}, {2, 1}} {
		payload, err := w.draft().enabling(KindRules, Subject{}, &formatv1.Rules{Version: c.version, From: c.from})
		w.refuse(payload, err, stewards, "wrong-rules")
	}
	payload, err := w.draft().ChangeRules(w.s.Position() + 100)
	w.do(payload, err, stewards)
	// The date may be moved until it is there.
	payload, err = w.draft().ChangeRules(w.s.Position() + 3)
	w.do(payload, err, stewards)
	if version, ok := w.s.Rules(); version != 1 || !ok {
		t.Errorf("version %d, supported %t, before the position named", version, ok)
	}
	retire, err := w.draft().Retire(nameOf("mx/fgr"), "")
	payload, err2 := w.draft().Confirm(stateOf("jm"))
	w.do(payload, err2, stateKeys("jm"))
	if version, ok := w.s.Rules(); version != 2 || ok {
		t.Errorf("version %d, supported %t, for the entry after", version, ok)
	}
	w.refuse(retire, err, byMX, "newer-rules")
	w.refuse([]byte("junk"), nil, "", "malformed") // on its own; in the log nobody here can tell
	var alarms int
	halted, err := Fold(w.s, entries([][]byte{[]byte("of another form"), signed(retire, byMX)}), func(uint64, error) { alarms++ })
	if code(err) != "newer-rules" || halted != w.s || alarms != 0 {
		t.Errorf("the reader went on: %v, %d alarms", err, alarms)
	}
	w.see(retire, nil, byMX)
	if got := code(w.view().CheckAuthority(nameOf("mx/fgr"))); got != "retired" {
		t.Errorf("on sight under newer rules: %q", got)
	}
}

// PROTOCOL 4.18: what is registered is replaced or added to, never taken out.
func TestRegisters(t *testing.T) {
	w := union5(t)
	if ok, any := w.view().Registered(categoryOf("drugs.trafficking")); !ok || any {
		t.Errorf("with an empty register: %t, %t", ok, any)
	}
	payload, err := w.draft().Categories(categories("drugs.trafficking", "drugs"))
	w.refuse(payload, err, stewards, "unknown-group")
	payload, err = w.draft().Categories(categories("drugs", "drugs.trafficking", "drugs.precursors"))
	w.do(payload, err, stewards)
	old := &formatv1.Categories{Categories: []*formatv1.Category{{Slug: "drugs.trafficking", Status: CategoryDeprecated, Successor: "drugs.precursors"}}}
	payload, err = w.draft().Categories(old)
	w.do(payload, err, stewards)
	if got := w.view().Categories(); len(got) != 3 || got[0].Category != categoryOf("drugs") || got[2].Successor != categoryOf("drugs.precursors") {
		t.Errorf("categories %v", got)
	}
	for category, want := range map[string]bool{"drugs": true, "drugs.precursors": true, "drugs.trafficking": false, "firearms": false} {
		if ok, any := w.view().Registered(categoryOf(category)); ok != want || !any {
			t.Errorf("%s: %t, %t", category, ok, any)
		}
	}
	// Any code may be declared while none is registered, no other afterwards.
	mx := stateOf("mx")
	if _, said := w.view().InstrumentsOf(mx); said {
		t.Error("mx declared nothing yet")
	}
	payload, err = w.draft().DeclareInstruments(mx, []string{"untoc", "unheard-of"})
	w.do(payload, err, byMX)
	payload, err = w.draft().Instruments(instruments("untoc", "uncac"))
	w.do(payload, err, stewards)
	payload, err = w.draft().DeclareInstruments(mx, []string{"untoc", "unheard-of"})
	w.refuse(payload, err, byMX, "unknown-instrument")
	payload, err = w.draft().DeclareInstruments(mx, nil)
	w.do(payload, err, byMX)
	if got, said := w.view().InstrumentsOf(mx); !said || len(got) != 0 {
		t.Errorf("none declared: %v, %t", got, said)
	}
	if got := w.view().Instruments(); len(got) != 2 || got[0].Code != "uncac" {
		t.Errorf("instruments %v", got)
	}
}

// PROTOCOL 4.18, 4.19, 4.20: bodies that nobody will be asked to sign.
func TestUpkeepBodiesRefused(t *testing.T) {
	w := union5(t)
	d := w.draft()
	fgr, mx := nameOf("mx/fgr"), stateOf("mx")
	notice := func(change func(*formatv1.Notice)) ([]byte, error) {
		m := noticeBody(w.now)
		change(m)
		return d.Notice(fgr, m)
	}
	category := func(change func(*formatv1.Category)) ([]byte, error) {
		m := categories("drugs")
		change(m.Categories[0])
		return d.Categories(m)
	}
	tests := []struct {
		name, want string
		draft      func() ([]byte, error)
	}{
		{"no category", "malformed", func() ([]byte, error) { return d.Categories(&formatv1.Categories{}) }},
		{"129 categories", "too-many", func() ([]byte, error) {
			return d.Categories(&formatv1.Categories{Categories: make([]*formatv1.Category, 129)})
		}},
		{"a status of its own", "unknown-status", func() ([]byte, error) { return category(func(m *formatv1.Category) { m.Status = "retired" }) }},
		{"a successor of what is active", "malformed", func() ([]byte, error) { return category(func(m *formatv1.Category) { m.Successor = "arms" }) }},
		{"its own successor", "malformed", func() ([]byte, error) {
			return category(func(m *formatv1.Category) { m.Status, m.Successor = CategoryDeprecated, m.Slug })
		}},
		{"a slug with capitals", "malformed-name", func() ([]byte, error) { return category(func(m *formatv1.Category) { m.Slug = "Drugs" }) }},
		{"an instrument with a space", "malformed-name", func() ([]byte, error) { return d.Instruments(instruments("u n")) }},
		{"no instrument", "malformed", func() ([]byte, error) { return d.Instruments(&formatv1.Instruments{}) }},
		{"an availability of its own", "unknown-availability", func() ([]byte, error) { return notice(func(m *formatv1.Notice) { m.Availability = "away" }) }},
		{"a notice that ends first", "malformed-term", func() ([]byte, error) { return notice(func(m *formatv1.Notice) { m.End = m.Start }) }},
		{"a notice without start", "malformed-term", func() ([]byte, error) { return notice(func(m *formatv1.Notice) { m.Start = 0 }) }},
		{"who takes over from itself", "wrong-fallback", func() ([]byte, error) { return notice(func(m *formatv1.Notice) { m.Fallback = "mx/fgr" }) }},
		{"a long text", "too-long", func() ([]byte, error) {
			return notice(func(m *formatv1.Notice) { m.Text = fmt.Sprintf("%01025d", 0) })
		}},
		{"a short digest", "malformed", func() ([]byte, error) {
			return d.enabling(KindConfirm, OfState(mx), &formatv1.Confirm{Entries: []byte{1}})
		}},
		{"a designation without note", "missing", func() ([]byte, error) { return d.DesignateContactPoint(fgr, "") }},
		{"a hub without log key", "malformed-key", func() ([]byte, error) { return d.RotateHub(&formatv1.Hub{}) }},
		{"no hub", "malformed-key", func() ([]byte, error) { return d.RotateHub(nil) }},
		{"recovery without keys", "malformed-threshold", func() ([]byte, error) { return d.Recover(mx, &formatv1.Recover{}) }},
		{"recovery with a steward's", "wrong-purpose", func() ([]byte, error) {
			return d.Recover(mx, &formatv1.Recover{Keys: declared(PurposeSteward, "r-1"), Threshold: 1})
		}},
		{"settled otherwise", "malformed", func() ([]byte, error) {
			return d.enabling(KindSettle, OfState(mx), &formatv1.Settle{Recovery: make([]byte, 32), Outcome: "maybe"})
		}},
		{"heads that are none", "malformed", func() ([]byte, error) {
			return d.enabling(KindCompleteRecovery, OfState(mx), &formatv1.CompleteRecovery{Recovery: make([]byte, 32), Earlier: []byte("x"), Later: []byte("y")})
		}},
		{"rules of no version", "malformed", func() ([]byte, error) { return d.enabling(KindRules, Subject{}, &formatv1.Rules{From: 9}) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.draft(); code(err) != test.want {
				t.Errorf("got %q (%v), want %q", code(err), err, test.want)
			}
		})
	}
}
