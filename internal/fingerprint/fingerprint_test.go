package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/fault"
)

// vectors are of the BIP-39 reference implementation.
var vectors = map[string]string{
	strings.Repeat("00", 32): strings.Repeat("abandon ", 23) + "art",
	strings.Repeat("7f", 32): "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title",
	strings.Repeat("ff", 32): strings.Repeat("zoo ", 23) + "vote",
	"f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f": "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space point ten exist slush involve unfold",
}

func TestVectors(t *testing.T) {
	for digits, words := range vectors {
		f, err := Parse(digits)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(ListOf("en").Words(f), " "); got != words {
			t.Errorf("%s is %q, want %q", digits, got, words)
		}
	}
}

// TestLists holds every list to what makes it fit for the telephone.
func TestLists(t *testing.T) {
	for _, l := range lists() {
		if len(l.words) != 2048 {
			t.Errorf("%s has %d words", l.Language, len(l.words))
		}
		seen := map[string]bool{}
		for _, w := range l.words {
			seen[plain(w)] = true
		}
		if len(seen) != 2048 {
			t.Errorf("%s has %d words that differ without accents", l.Language, len(seen))
		}
	}
	if l := ListOf("pt"); l.Language != "es" || !l.Instead {
		t.Errorf("Portuguese gets %+v", l.Language)
	}
	if l := ListOf("es"); l.Instead {
		t.Error("Spanish is said to be instead of itself")
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "fingerprint"))
		language := rapid.SampledFrom([]string{"en", "es", "fr"}).Draw(t, "language")
		words := ListOf(language).Words(f)
		for _, form := range []string{strings.Join(words, " "), strings.ToUpper(strings.Join(words, "-")), plain(strings.Join(words, ", "))} {
			if got, err := Parse(form); err != nil || got != f {
				t.Fatalf("%q is %x, %v", form, got, err)
			}
		}
	})
}

// TestMisheard: one word taken for another is found in 255 of 256 cases, and one that is in no list always.
func TestMisheard(t *testing.T) {
	words := ListOf("es").Words(sha256.Sum256([]byte("a network")))
	other := slices.Clone(words)
	other[6] = "xylophone"
	_, err := Parse(strings.Join(other, " "))
	if fault.CodeOf(err) != "unknown-word" || !strings.Contains(fault.As(err).Say, `word 7, "xylophone"`) {
		t.Errorf("a word in no list: %v", err)
	}
	found := 0
	for _, w := range lists()[1].words {
		other[6] = w
		if _, err := Parse(strings.Join(other, " ")); fault.CodeOf(err) == "wrong-words" {
			found++
		}
	}
	if found < 2000 {
		t.Errorf("%d of 2047 misheard words were found", found)
	}
	other[6] = words[6]
	other[0], other[1] = other[1], other[0]
	if _, err := Parse(strings.Join(other, " ")); fault.CodeOf(err) != "wrong-words" {
		t.Errorf("two words in each other's place: %v", err)
	}
}

func TestMalformed(t *testing.T) {
	for _, s := range []string{"", "abandon", strings.Repeat("zoo ", 25), strings.Repeat("ab", 31), strings.Repeat("AB", 32), strings.Repeat("zz", 32), strings.Repeat("a ", 2000)} {
		if _, err := Parse(s); fault.CodeOf(err) != "malformed-fingerprint" {
			t.Errorf("%.20q: %v", s, err)
		}
	}
	if _, err := Parse(hex.EncodeToString(make([]byte, 32)) + "\n"); err != nil {
		t.Errorf("a line break spoils a fingerprint: %v", err)
	}
}
