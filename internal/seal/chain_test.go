package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

func subjectOf(t testing.TB, s string) message.Subject {
	t.Helper()
	out, err := message.ParseSubject(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// chainOf is an index over n alerts from a number on.
func chainOf(t testing.TB, first uint64, n int) ChainIndex {
	t.Helper()
	x := ChainIndex{Network: networkID, Publisher: nodeOf(t, publisher), Incarnation: incarnationOf("incarnation"), Audience: message.DigestOf([]byte("audience")), First: first}
	if first > 1 {
		x.Previous = message.DigestOf([]byte("before"))
	}
	for i := range n {
		number := first + uint64(i)
		seed := binary.BigEndian.AppendUint64(nil, number)
		x.Entries = append(x.Entries, ChainEntry{
			Number: number, Digest: message.DigestOf(seed), Subject: subjectOf(t, "alert.drugs.trafficking.routine.mx"), Salt: vectortest.Bytes(string(seed), saltSize),
		})
	}
	return x
}

// The chain hash written down once more, from the text; each part of it counts. PROTOCOL 7.5.
func TestChainHash(t *testing.T) {
	salt, previous, digest := vectortest.Bytes("salt", 32), message.DigestOf([]byte("before")), message.DigestOf([]byte("alert"))
	text := "enlace/v1/chain\n" + string(salt) + "\x00\x00\x00\x00\x00\x00\x00\x07" + string(previous[:]) + string(digest[:])
	if got := ChainHash(salt, 7, previous, digest); got != message.DigestOf([]byte(text)) {
		t.Errorf("C(7) = %s", got)
	}
	first := "enlace/v1/chain\n" + string(salt) + "\x00\x00\x00\x00\x00\x00\x00\x01" + string(digest[:])
	if got := ChainHash(salt, 1, previous, digest); got != message.DigestOf([]byte(first)) {
		t.Errorf("C(1) = %s", got)
	}
}

// However a chain is cut into indexes, each part walks to the same hashes; whatever is changed anywhere changes the last
// one, but for the subject, which is no part of it. PROTOCOL 7.5.
func TestChainWalk(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(r, "length")
		whole := chainOf(t, 1, n)
		var hashes []message.Digest
		for _, h := range whole.Walk() {
			hashes = append(hashes, h)
		}
		cut := rapid.IntRange(1, n-1).Draw(r, "cut")
		tail := whole
		tail.First, tail.Previous, tail.Entries = uint64(cut+1), hashes[cut-1], whole.Entries[cut:]
		signed, err := SignChainIndex(context.Background(), w, signKey(t, publisher+" sign").Fingerprint(), tail)
		if err != nil {
			r.Fatal(err)
		}
		got, err := VerifyChainIndex(signed, w.findNode)
		if err != nil || got.Last() != uint64(n) {
			r.Fatalf("the tail reads as %+v, %v", got, err)
		}
		for e, h := range got.Walk() {
			if h != hashes[e.Number-1] {
				r.Fatalf("number %d has another hash in the tail", e.Number)
			}
		}
		at := rapid.IntRange(0, n-1).Draw(r, "changed")
		other := chainOf(t, 1, n)
		if rapid.Bool().Draw(r, "salt") {
			other.Entries[at].Salt[0]++
		} else {
			other.Entries[at].Digest[0]++
		}
		for e, h := range other.Walk() {
			if same := h == hashes[e.Number-1]; same != (e.Number <= uint64(at)) {
				r.Fatalf("entry %d changed; the hash of %d is the same: %v", at+1, e.Number, same)
			}
		}
	})
}

// A walk stops where its reader stops.
func TestChainWalkStops(t *testing.T) {
	seen := 0
	for range chainOf(t, 1, 5).Walk() {
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("%d entries", seen)
	}
}

// PROTOCOL 7.5: consecutive entries from the first on, at most 1,024, each whole.
func TestChainIndexRefuses(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		change func(*formatv1.ChainIndex)
		code   string
	}{
		"the right one":    {func(*formatv1.ChainIndex) {}, ""},
		"a gap":            {func(m *formatv1.ChainIndex) { m.Entries = append(m.Entries[:1], m.Entries[2:]...) }, "malformed"},
		"an entry twice":   {func(m *formatv1.ChainIndex) { m.Entries[1] = m.Entries[0] }, "malformed"},
		"out of order":     {func(m *formatv1.ChainIndex) { m.Entries[1], m.Entries[2] = m.Entries[2], m.Entries[1] }, "malformed"},
		"first is another": {func(m *formatv1.ChainIndex) { m.First = 6 }, "malformed"},
		"from 0":           {func(m *formatv1.ChainIndex) { m.First, m.Previous, m.Entries[0].Number = 0, nil, 0 }, "malformed"},
		"beyond all numbers": {func(m *formatv1.ChainIndex) {
			m.First = math.MaxUint64
			m.Entries = m.Entries[:1]
			m.Entries[0].Number = math.MaxUint64
		}, "malformed"},
		"no entry":               {func(m *formatv1.ChainIndex) { m.Entries = nil }, "malformed"},
		"nothing before":         {func(m *formatv1.ChainIndex) { m.Previous = nil }, "malformed"},
		"half a hash before":     {func(m *formatv1.ChainIndex) { m.Previous = m.Previous[1:] }, "malformed"},
		"short salt":             {func(m *formatv1.ChainIndex) { m.Entries[1].Salt = []byte{1} }, "malformed"},
		"short digest":           {func(m *formatv1.ChainIndex) { m.Entries[1].Digest = []byte{1} }, "malformed"},
		"no subject":             {func(m *formatv1.ChainIndex) { m.Entries[1].Subject = "" }, "malformed-name"},
		"a pattern as a subject": {func(m *formatv1.ChainIndex) { m.Entries[1].Subject = "alert.drugs.*.routine.mx" }, "malformed-name"},
		"no audience":            {func(m *formatv1.ChainIndex) { m.Audience = nil }, "malformed"},
		"no incarnation":         {func(m *formatv1.ChainIndex) { m.Incarnation = nil }, "malformed"},
		"no publisher":           {func(m *formatv1.ChainIndex) { m.Publisher = "" }, "malformed-name"},
		"another publisher":      {func(m *formatv1.ChainIndex) { m.Publisher = "jm/node/primary" }, "bad-signature"},
	} {
		var m formatv1.ChainIndex
		if err := canonical.Unmarshal(chainOf(t, 5, 3).Marshal(), &m, message.MaxChainIndex); err != nil {
			t.Fatal(err)
		}
		test.change(&m)
		_, err := VerifyChainIndex(w.signed(t, publisher, authority.ForChainIndex, canonical.Marshal(&m)), w.findNode)
		if fault.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
	}
	key := signKey(t, publisher+" sign").Fingerprint()
	if b, err := SignChainIndex(context.Background(), w, key, chainOf(t, 1, message.MaxChainEntries)); err != nil {
		t.Errorf("1,024 entries, %d bytes: %v", len(b), err)
	}
	if _, err := SignChainIndex(context.Background(), w, key, chainOf(t, 1, message.MaxChainEntries+1)); fault.CodeOf(err) != "malformed" {
		t.Errorf("1,025 entries: %v, want malformed", err)
	}
	other := w.signed(t, publisher, authority.ForCumulativeReceipt, chainOf(t, 1, 1).Marshal())
	if _, err := VerifyChainIndex(other, w.findNode); fault.CodeOf(err) != "bad-signature" {
		t.Errorf("under another label: %v", err)
	}
}

// FuzzChainIndex: what is read is written back the same and has no gap, and only a node's own signature makes it its word.
func FuzzChainIndex(f *testing.F) {
	f.Add(chainOf(f, 1, 2).Marshal())
	f.Add(chainOf(f, 5, 3).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseChainIndex(b)
		if err != nil {
			return
		}
		if !bytes.Equal(x.Marshal(), b) {
			t.Fatalf("%x reads as %+v", b, x)
		}
		next := x.First
		for e := range x.Walk() {
			if e.Number != next {
				t.Fatalf("%x has number %d for %d", b, e.Number, next)
			}
			next++
		}
	})
}
