package directory

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/merkle"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"golang.org/x/mod/sumdb/tlog"
)

// amended is the log of a network with so many amendments after the first entries.
func amended(t *testing.T, n int) *world {
	t.Helper()
	w := populated(t)
	for i := range n {
		name := nameOf([]string{"mx/fgr", "jm/fgr"}[i%2])
		body := authorityBody(name.String(), name.State().String()+"/node/primary")
		body.Keys, body.Acronym = nil, fmt.Sprint(i)
		payload, err := w.draft().DeclareAuthority(name, body)
		w.do(payload, err, stateKeys(name.State().String())+designated)
	}
	return w
}

// oneByOne is a log as read and applied without anything read ahead.
func oneByOne(t *testing.T, log [][]byte) (*Snapshot, string) {
	t.Helper()
	var s *Snapshot
	var alarms []string
	for _, entry := range log {
		next, err := Follow(s, entry)
		if err != nil {
			next = s.Skip()
			alarms = append(alarms, fmt.Sprint(next.position, " ", code(err)))
		}
		s = next
	}
	return s, fmt.Sprint(alarms)
}

// PROTOCOL 4.15: whatever is read ahead, the log says what it says to who reads it entry by entry, however spoilt.
func TestAheadAgrees(t *testing.T) {
	w := amended(t, 2*windowEntries)
	random := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		log := slices.Clone(w.log)
		for range 60 {
			at := 1 + random.IntN(len(log)-1)
			switch random.IntN(4) {
			case 0: // a bit of anything: of a signature most often, or of the payload
				log[at] = bytes.Clone(log[at])
				log[at][random.IntN(len(log[at]))] ^= 1
			case 1:
				log = slices.Insert(log, at, log[1+random.IntN(len(log)-1)])
			case 2:
				log = slices.Insert(log, at, []byte("junk"))
			default: // the last signature, spoilt
				log[at] = bytes.Clone(log[at])
				log[at][len(log[at])-1] ^= 1
			}
		}
		want, wantAlarms := oneByOne(t, log)
		var alarms []string
		alarm := func(position uint64, err error) { alarms = append(alarms, fmt.Sprint(position, " ", code(err))) }
		var h History
		if err := h.Fold(entries(log), alarm); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(alarms); got != wantAlarms {
			t.Fatalf("alarms %s, want %s", got, wantAlarms)
		}
		if inLog(h.Newest()) != inLog(want) {
			t.Fatal("the log says something else when it is read ahead")
		}
	}
}

// Keys that one entry declares sign the next ones of the same window, and those of a state that came windows ago.
func TestAheadFindsKeys(t *testing.T) {
	w := amended(t, 3*windowEntries)
	var s *Snapshot
	var h History
	for r, err := range ReadAhead(entries(w.log), h.Newest) {
		if err == nil {
			err = r.Err
		}
		if err == nil {
			s, err = Apply(s, r.Statement)
		}
		if err != nil {
			t.Fatal(err)
		}
		h.Add(s)
		if r.Statement.proven == nil || slices.Contains(r.Statement.proven.each, proof{}) {
			t.Fatalf("entry %d waits for its turn to be verified", s.position)
		}
		if want := LeafHash(w.log[s.position-1]); r.Leaf != want || !bytes.Equal(r.Entry, w.log[s.position-1]) {
			t.Fatalf("entry %d has another leaf", s.position)
		}
	}
	if inLog(s) != inLog(w.s) {
		t.Error("read ahead, the log says something else")
	}
}

// proven is a statement that was verified ahead.
func (w *world) proven(payload []byte, err error, specs string) Statement {
	w.t.Helper()
	st := w.parse(payload, err, specs)
	a := &ahead{}
	st.prove(func(f authority.Fingerprint) (authority.PublicKey, bool) { return a.find(w.s, f) })
	if st.proven == nil || slices.Contains(st.proven.each, proof{}) {
		w.t.Fatal("not verified ahead")
	}
	return st
}

// PROTOCOL 4.2: what was verified ahead stands for itself alone. Each of these would be accepted if any part of what was
// verified were not held against what is applied.
func TestProofsStandForNothingElse(t *testing.T) {
	w := populated(t)
	body := authorityBody("mx/fgr", "mx/node/primary")
	body.Keys = nil
	payload, err := w.draft().DeclareAuthority(nameOf("mx/fgr"), body)
	by := byMX + designated
	if _, err := Apply(w.s, w.proven(payload, err, by)); err != nil {
		t.Fatalf("untouched: %v", err)
	}
	body.Acronym = "other"
	other, err := w.draft().DeclareAuthority(nameOf("mx/fgr"), body)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Statement){
		"another payload":      func(st *Statement) { st.payload = other },
		"a bit of the payload": func(st *Statement) { st.payload = bytes.Clone(st.payload); st.payload[len(st.payload)-1] ^= 1 },
		"another value":        func(st *Statement) { st.signatures[0].Value = bytes.Clone(st.signatures[1].Value) },
		"another key":          func(st *Statement) { st.signatures[0].Key = public("mx-3").Fingerprint() },
		"other roles": func(st *Statement) {
			st.signatures[2].Role, st.signatures[3].Role = st.signatures[3].Role, st.signatures[2].Role
		},
		"other order": func(st *Statement) {
			st.signatures[0].Value, st.signatures[1].Value = st.signatures[1].Value, st.signatures[0].Value
		},
		"one signature unverified": func(st *Statement) {
			st.signatures[3].Value = make([]byte, 64)
			st.proven.each[3] = proof{}
		},
		"proofs of another statement": func(st *Statement) {
			*st = w.parse(other, nil, by)
			mine := w.proven(payload, nil, by)
			st.proven = mine.proven
			for i := range st.signatures {
				st.signatures[i].Value = mine.signatures[i].Value
			}
		},
	} {
		st := w.proven(payload, nil, by)
		spoil(&st)
		if _, err := Apply(w.s, st); code(err) != "bad-signature" {
			t.Errorf("%s: %v, want bad-signature", name, err)
		}
	}
	st := w.proven(payload, nil, by)
	st.Signatures()[0].Value[0] ^= 1
	st.Payload()[0] ^= 1
	st.Signed()[0] ^= 1
	if _, err := Apply(w.s, st); err != nil {
		t.Errorf("what callers get are copies: %v", err)
	}
	if _, err := ParseStatement(signed(payload, "state:mx-1 state:mx-1"+designated)); code(err) != "duplicate-signature" {
		t.Errorf("one signature twice: %v", err)
	}
}

// PROTOCOL 4.5, 4.14: a key that was current when the signature was verified, and is not when the statement's turn comes.
func TestProofsDoNotOutliveKeys(t *testing.T) {
	for name, end := range map[string]func(*world){
		"rotated": func(w *world) {
			payload, err := w.draft().RotateState(stateOf("mx"), &formatv1.RotateState{Keys: declared(PurposeState, "mx-7", "mx-8"), Threshold: 2})
			w.do(payload, err, byMX+" new:mx-7 new:mx-8")
		},
		"revoked": func(w *world) {
			payload, err := w.draft().RevokeKey(OfState(stateOf("mx")), public("mx-1").Fingerprint(), "")
			w.do(payload, err, "state:mx-2 state:mx-3")
		},
	} {
		w := populated(t)
		body := authorityBody("mx/fgr", "mx/node/primary")
		body.Keys = nil
		payload, err := w.draft().DeclareAuthority(nameOf("mx/fgr"), body)
		st := w.proven(payload, err, byMX+designated)
		end(w)
		if _, err := Apply(w.s, st); code(err) != "signers" {
			t.Errorf("%s: %v, want signers", name, err)
		}
		// The same in one window of a log.
		var alarms []string
		s, err := Fold(nil, entries(append(w.log, st.Signed())), func(position uint64, err error) { alarms = append(alarms, code(err)) })
		if err != nil || fmt.Sprint(alarms) != "[signers]" || s.position != w.s.position+1 {
			t.Errorf("%s, in the log: %v, %v", name, alarms, err)
		}
	}
}

func rootOf(log [][]byte) tlog.Hash {
	var edge merkle.Frontier
	for _, entry := range log {
		edge.Append(LeafHash(entry))
	}
	return edge.Root()
}

// What is vouched for is taken on trust, for these bytes alone; what is doubted is not; and the rules hold for all.
func TestFoldVouched(t *testing.T) {
	w := amended(t, windowEntries)
	spoilt := bytes.Clone(w.log[len(w.log)-1])
	spoilt[len(spoilt)-1] ^= 1
	log := slices.Insert(slices.Clone(w.log), 9, spoilt, []byte("junk"), w.log[2])
	want, alarms := oneByOne(t, log)
	for _, size := range []int{0, 1, 9, 12, 40, len(log)} {
		v := Vouched{Size: uint64(size), Root: rootOf(log[:size]), Doubted: []uint64{10, 11, 12}}
		var h History
		var got []string
		leaves, err := h.FoldVouched(entries(log), v, func(position uint64, err error) { got = append(got, fmt.Sprint(position, " ", code(err))) })
		if err != nil || len(leaves) != len(log) || leaves[7] != LeafHash(log[7]) {
			t.Fatalf("%d vouched for: %d leaves, %v", size, len(leaves), err)
		}
		if fmt.Sprint(got) != alarms || inLog(h.Newest()) != inLog(want) {
			t.Errorf("%d vouched for: alarms %v, want %s, or another directory", size, got, alarms)
		}
	}
	// Of one last entry, spoilt and wrongly vouched for, this shows that its signatures are what is not looked at.
	log = append(slices.Clone(w.log[:len(w.log)-1]), spoilt)
	var h History
	if _, err := h.FoldVouched(entries(log), Vouched{Size: uint64(len(log)), Root: rootOf(log)}, nil); err != nil || inLog(h.Newest()) != inLog(w.s) {
		t.Errorf("vouched for: %v", err)
	}
	var doubting History
	v := Vouched{Size: uint64(len(log)), Root: rootOf(log), Doubted: []uint64{uint64(len(log))}}
	refused := ""
	if _, err := doubting.FoldVouched(entries(log), v, func(_ uint64, err error) { refused = code(err) }); err != nil || refused != "bad-signature" {
		t.Errorf("doubted: %q, %v", refused, err)
	}
}

func TestFoldVouchedRefuses(t *testing.T) {
	w := amended(t, windowEntries)
	spoilt := slices.Clone(w.log)
	spoilt[7] = bytes.Clone(spoilt[7])
	spoilt[7][len(spoilt[7])-1] ^= 1
	full := Vouched{Size: uint64(len(w.log)), Root: rootOf(w.log)}
	junk := full
	junk.Root[0] ^= 1
	for name, test := range map[string]struct {
		log [][]byte
		v   Vouched
	}{
		"another entry":        {spoilt, full},
		"a shorter log":        {w.log[:len(w.log)-1], full},
		"another root":         {w.log, junk},
		"another part of it":   {w.log, Vouched{Size: full.Size - 1, Root: full.Root}},
		"junk among it":        {slices.Insert(slices.Clone(w.log), 3, []byte("junk")), full},
		"more than can be had": {w.log, Vouched{Size: 1 << 63, Root: full.Root}},
	} {
		var h History
		alarm := func(uint64, error) { t.Errorf("%s: somebody was told of a log that is not the one", name) }
		leaves, err := h.FoldVouched(entries(test.log), test.v, alarm)
		if code(err) != "not-vouched" || leaves != nil || h.Newest() != nil {
			t.Errorf("%s: %v, want not-vouched and nothing", name, err)
		}
	}
}

// Who stops gets the reader to stop: nothing goes on in the background.
func TestAheadStops(t *testing.T) {
	w := amended(t, windowEntries)
	endless := func(stopped *bool) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for yield(w.log[len(w.log)-1], nil) {
			}
			*stopped = true
		}
	}
	stopped := false
	for range ReadAhead(endless(&stopped), func() *Snapshot { return nil }) {
		break
	}
	if !stopped {
		t.Error("the log is still read")
	}
	torn := errors.New("torn")
	n := 0
	var last error
	for _, err := range ReadAhead(func(yield func([]byte, error) bool) { _ = yield(w.log[0], nil) && yield(nil, torn) }, func() *Snapshot { return nil }) {
		n, last = n+1, err
	}
	if n != 2 || !errors.Is(last, torn) {
		t.Errorf("%d reads, the last with %v; want the entry, then why there is no more", n, last)
	}
}

// Pages and parts of a search are the whole of it, and the short ways to it leave nobody out. PROTOCOL 4.12.
func TestFindAgrees(t *testing.T) {
	w := populated(t)
	random := rand.New(rand.NewPCG(3, 4))
	functions := []string{"requests", "alerts-in", "fiu"}
	categories := []string{"drugs", "drugs.trafficking", "firearms", "firearms.trafficking"}
	kinds := []string{"identify-person", "preserve-data"}
	some := func(of []string) []string {
		return slices.DeleteFunc(slices.Clone(of), func(string) bool { return random.IntN(2) == 0 })
	}
	for i := range 40 {
		state := []string{"mx", "jm"}[i%2]
		body := authorityBody(fmt.Sprintf("%s/u%02d", state, i), state+"/node/primary")
		body.Hidden, body.Competences = random.IntN(4) == 0, nil
		for _, f := range some(functions) {
			body.Competences = append(body.Competences, &formatv1.Competence{Function: f, Categories: some(categories), Kinds: some(kinds)})
		}
		payload, err := w.draft().DeclareAuthority(nameOf(fmt.Sprintf("%s/u%02d", state, i)), body)
		w.do(payload, err, stateKeys(state)+designated)
	}
	v := w.view()
	found := 0
	for _, q := range queries(t, append(functions, "", "maritime"), append(categories, ""), append(kinds, "")) {
		var want []string
		for _, e := range v.Authorities() {
			if (q.State.IsZero() || q.State == e.Name.State()) && (!e.Hidden || q.Hidden) && q.fits(e.Competences) {
				want = append(want, e.Name.String())
			}
		}
		slices.Sort(want)
		found += len(want)
		if got := inPage(v.Find(q)); got != fmt.Sprint(want) {
			t.Fatalf("%+v: %s, want %v", q, got, want)
		}
		for page, limit := 0, 1+random.IntN(7); len(want) > 0; page++ {
			n := min(limit, len(want))
			q.Limit = limit
			if got := inPage(v.Find(q)); got != fmt.Sprint(want[:n]) {
				t.Fatalf("%+v, page %d: %s, want %v", q, page, got, want[:n])
			}
			q.After, want = want[n-1], want[n:]
		}
		if q.After != "" && len(v.Find(q)) > 0 {
			t.Fatalf("%+v: there is more after the end", q)
		}
	}
	if found < 1000 {
		t.Errorf("%d found: the test proves little", found)
	}
}

func inPage(found []AuthorityEntry) string {
	var names []string
	for _, e := range found {
		names = append(names, e.Name.String())
	}
	return fmt.Sprint(names)
}

// queries are all combinations of them, in a state and everywhere.
func queries(t *testing.T, functions, categories, kinds []string) []Query {
	t.Helper()
	var all []Query
	for _, f := range functions {
		for _, c := range categories {
			for _, k := range kinds {
				q := Query{Function: f, Hidden: len(all)%2 == 0}
				var err, other error
				if c != "" {
					q.Category, err = authority.ParseCategory(c)
				}
				if k != "" {
					q.Kind, other = authority.ParseRequestKind(k)
				}
				if err := errors.Join(err, other); err != nil {
					t.Fatal(err)
				}
				all = append(all, q)
				q.State = stateOf("jm")
				all = append(all, q)
			}
		}
	}
	return all
}
