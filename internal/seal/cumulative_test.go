package seal

import (
	"bytes"
	"context"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func cumulativeOf(t testing.TB, position uint64) CumulativeReceipt {
	t.Helper()
	return CumulativeReceipt{
		Network: networkID, Node: nodeOf(t, receiver), Incarnation: incarnationOf("incarnation jm"), Publisher: nodeOf(t, publisher),
		PublisherIncarnation: incarnationOf("incarnation"), Audience: message.DigestOf([]byte("audience")), Position: position,
		ChainHash: message.DigestOf([]byte("chain")), Time: made, Checkpoint: message.DigestOf([]byte("checkpoint")),
	}
}

// Whatever a node decided about each number, its receipt says just that of each, and nothing of any beyond. PROTOCOL 8.5.
func TestCumulativeReceiptSaysWhatWasDecided(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(r *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]Word{WordStored, WordPassedOver, WordRefused}), 1, 60).Draw(r, "words")
		c := cumulativeOf(t, uint64(len(words)))
		for i, word := range words {
			n := uint64(i + 1)
			switch last := len(c.PassedOver) - 1; {
			case word == WordRefused:
				c.Refused = append(c.Refused, Refusal{n, "expired"})
			case word == WordPassedOver && last >= 0 && c.PassedOver[last].Last == n-1:
				c.PassedOver[last].Last = n
			case word == WordPassedOver:
				c.PassedOver = append(c.PassedOver, Range{n, n})
			}
		}
		signed, err := SignCumulativeReceipt(context.Background(), w, signKey(t, receiver+" sign").Fingerprint(), c)
		if err != nil {
			r.Fatal(err)
		}
		got, err := VerifyCumulativeReceipt(signed, w.findNode)
		if err != nil {
			r.Fatal(err)
		}
		for i, want := range words {
			word, code := got.Of(uint64(i + 1))
			if word != want || (code == "expired") != (want == WordRefused) {
				r.Fatalf("%d is %s %q, want %s", i+1, word, code, want)
			}
		}
		for _, n := range []uint64{0, c.Position + 1, math.MaxUint64} {
			if word, _ := got.Of(n); word != WordNone {
				r.Fatalf("%d is %s", n, word)
			}
		}
	})
}

// PROTOCOL 8.5: ranges ascend, neither touch nor overlap; refused numbers ascend; nothing is beyond the position.
func TestCumulativeReceiptRefuses(t *testing.T) {
	w := newWorld(t)
	ranges := func(position uint64, pairs ...uint64) func(*formatv1.CumulativeReceipt) {
		return func(m *formatv1.CumulativeReceipt) {
			m.Position = position
			for i := 0; i < len(pairs); i += 2 {
				m.PassedOver = append(m.PassedOver, &formatv1.NumberRange{First: pairs[i], Last: pairs[i+1]})
			}
		}
	}
	refused := func(numbers ...uint64) func(*formatv1.CumulativeReceipt) {
		return func(m *formatv1.CumulativeReceipt) {
			m.PassedOver = []*formatv1.NumberRange{{First: 3, Last: 4}}
			for _, n := range numbers {
				m.Refused = append(m.Refused, &formatv1.RefusedNumber{Number: n, Code: "expired"})
			}
		}
	}
	const most = math.MaxUint64
	for name, test := range map[string]struct {
		change func(*formatv1.CumulativeReceipt)
		code   string
	}{
		"nothing but stored":       {func(*formatv1.CumulativeReceipt) {}, ""},
		"ranges":                   {ranges(9, 1, 3, 5, 5, 7, 9), ""},
		"all of it":                {ranges(9, 1, 9), ""},
		"all numbers":              {ranges(most, 1, most), ""},
		"touching":                 {ranges(9, 1, 3, 4, 5), "malformed"},
		"overlapping":              {ranges(9, 1, 3, 3, 5), "malformed"},
		"inside":                   {ranges(9, 1, 5, 2, 3), "malformed"},
		"twice":                    {ranges(9, 1, 3, 1, 3), "malformed"},
		"descending":               {ranges(9, 5, 6, 1, 3), "malformed"},
		"backwards":                {ranges(9, 5, 4), "malformed"},
		"from 0":                   {ranges(9, 0, 4), "malformed"},
		"beyond the position":      {ranges(9, 8, 10), "malformed"},
		"again after the end":      {ranges(9, 1, 9, 1, 1), "malformed"},
		"again after all numbers":  {ranges(most, 1, most, 1, 1), "malformed"},
		"touching the last number": {ranges(most, 1, most-1, most, most), "malformed"},
		"refused":                  {refused(1, 2, 9), ""},
		"refused twice":            {refused(1, 1), "malformed"},
		"refused descending":       {refused(2, 1), "malformed"},
		"refused 0":                {refused(0), "malformed"},
		"refused beyond":           {refused(10), "malformed"},
		"refused and passed over":  {refused(4), "malformed"},
		"refused without a code":   {func(m *formatv1.CumulativeReceipt) { m.Refused = []*formatv1.RefusedNumber{{Number: 1}} }, "malformed"},
		"refused with a sentence": {func(m *formatv1.CumulativeReceipt) {
			m.Refused = []*formatv1.RefusedNumber{{Number: 1, Code: "too old"}}
		}, "malformed"},
		"position 0":               {func(m *formatv1.CumulativeReceipt) { m.Position = 0 }, "malformed"},
		"no chain hash":            {func(m *formatv1.CumulativeReceipt) { m.ChainHash = nil }, "malformed"},
		"no audience":              {func(m *formatv1.CumulativeReceipt) { m.Audience = nil }, "malformed"},
		"no checkpoint":            {func(m *formatv1.CumulativeReceipt) { m.Checkpoint = nil }, "malformed"},
		"no publisher":             {func(m *formatv1.CumulativeReceipt) { m.Publisher = "" }, "malformed-name"},
		"no incarnation":           {func(m *formatv1.CumulativeReceipt) { m.Incarnation = nil }, "malformed"},
		"no incarnation of theirs": {func(m *formatv1.CumulativeReceipt) { m.PublisherIncarnation = nil }, "malformed"},
		"another node":             {func(m *formatv1.CumulativeReceipt) { m.Node = "br/node/primary" }, "bad-signature"},
		"too many ranges":          {tooManyRanges, "malformed"},
		"too many refusals":        {tooManyRefusals, "malformed"},
	} {
		var m formatv1.CumulativeReceipt
		if err := canonical.Unmarshal(cumulativeOf(t, 9).Marshal(), &m, message.MaxCumulativeReceipt); err != nil {
			t.Fatal(err)
		}
		test.change(&m)
		_, err := VerifyCumulativeReceipt(w.signed(t, receiver, authority.ForCumulativeReceipt, canonical.Marshal(&m)), w.findNode)
		if fault.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
	}
	c := cumulativeOf(t, 9)
	c.PassedOver = []Range{{8, 10}}
	if _, err := SignCumulativeReceipt(context.Background(), w, signKey(t, receiver+" sign").Fingerprint(), c); fault.CodeOf(err) != "malformed" {
		t.Errorf("signed what no publisher takes: %v", err)
	}
}

func tooManyRanges(m *formatv1.CumulativeReceipt) {
	m.Position = 1 << 20
	for i := range uint64(message.MaxRanges + 1) {
		m.PassedOver = append(m.PassedOver, &formatv1.NumberRange{First: 2*i + 1, Last: 2*i + 1})
	}
}

func tooManyRefusals(m *formatv1.CumulativeReceipt) {
	m.Position = 1 << 20
	for i := range uint64(message.MaxRanges + 1) {
		m.Refused = append(m.Refused, &formatv1.RefusedNumber{Number: i + 1, Code: "expired"})
	}
}

// FuzzCumulativeReceipt: what is read is written back the same, and says one thing of each number.
func FuzzCumulativeReceipt(f *testing.F) {
	f.Add([]byte(vectorNamed(f, "cumulative-receipt", "all of two").Bytes))
	f.Add([]byte(vectorNamed(f, "cumulative-receipt", "nine with gaps").Bytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseCumulativeReceipt(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Marshal(), b) {
			t.Fatalf("%x reads as %+v", b, r)
		}
		for _, p := range r.PassedOver {
			for _, n := range []uint64{p.First, p.Last} {
				if word, _ := r.Of(n); word != WordPassedOver {
					t.Fatalf("%x: %d is %s", b, n, word)
				}
			}
			if word, _ := r.Of(p.First - 1); word == WordPassedOver {
				t.Fatalf("%x: ranges touch before %d", b, p.First)
			}
		}
		for _, x := range r.Refused {
			if word, code := r.Of(x.Number); word != WordRefused || code != x.Code {
				t.Fatalf("%x: %d is %s %s", b, x.Number, word, code)
			}
		}
	})
}
