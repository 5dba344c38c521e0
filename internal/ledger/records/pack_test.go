package records

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/ledger"
)

// TestPack holds the lists in one column to their one form.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ranges []ledger.Range
		var refused []ledger.Refusal
		at := uint64(0)
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			first := at + rapid.Uint64Range(0, 1<<40).Draw(t, "gap")
			r := ledger.Range{First: first, Last: first + rapid.Uint64Range(0, 1<<40).Draw(t, "length")}
			ranges, at = append(ranges, r), r.Last+2
			refused = append(refused, ledger.Refusal{Number: first, Code: rapid.StringN(0, 20, 200).Draw(t, "code")})
		}
		bytes, err := packRanges(ranges)
		oneForm(t, bytes, err, ranges, unpackRanges)
		bytes, err = packRefusals(refused)
		oneForm(t, bytes, err, refused, unpackRefusals)
	})
	for _, bad := range []string{"\x80\x00\x00", "\x01", "\x80", "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x00\x00\x01"} {
		if got, err := unpackRanges([]byte(bad)); err == nil {
			t.Errorf("ranges of %q = %v", bad, got)
		}
	}
	for _, bad := range []string{"\x01", "\x01\x02a", "\x01\xff\xff\xff\xff\x0f"} {
		if got, err := unpackRefusals([]byte(bad)); err == nil {
			t.Errorf("refusals of %q = %v", bad, got)
		}
	}
}

func oneForm[T comparable](t *rapid.T, bytes []byte, err error, want []T, unpack func([]byte) ([]T, error)) {
	if err != nil {
		t.Fatal(err)
	}
	got, err := unpack(bytes)
	if err != nil || len(got) != len(want) {
		t.Fatalf("unpacked %v, %v; want %v", got, err, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("unpacked %v, want %v", got, want)
		}
	}
	if len(bytes) > 0 {
		if got, err := unpack(bytes[:len(bytes)-1]); err == nil && len(got) == len(want) {
			t.Fatalf("unpacked %v from a part of it", got)
		}
	}
}
