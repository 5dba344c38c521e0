package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode"

	"github.com/tyler-smith/go-bip39/wordlists"
	"golang.org/x/text/unicode/norm"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// Count is how many words say one fingerprint.
	Count = 24
	// bits is what one word carries: 24 times 11 are 256 of the fingerprint and 8 of its checksum.
	bits = 11
	// maxText bounds what is read as words, in bytes.
	maxText = 1 << 10

	opRead = "read fingerprint"
)

// List is a list of words.
type List struct {
	// Language is that of the words: "en", "es" or "fr".
	Language string
	// Instead is set where another language was asked for, which has no list.
	Instead bool
	words   []string
}

// lists are all there are, English first.
func lists() []List {
	return []List{{Language: "en", words: wordlists.English}, {Language: "es", words: wordlists.Spanish}, {Language: "fr", words: wordlists.French}}
}

// ListOf is the list of a language. Portuguese, which the library has not, gets Spanish; every other language, English.
func ListOf(language string) List {
	for _, l := range lists() {
		if l.Language == language {
			return l
		}
	}
	l := lists()[0]
	if language == "pt" {
		l = lists()[1]
	}
	l.Instead = true
	return l
}

// Words are the 24 words of a fingerprint.
func (l List) Words(f [sha256.Size]byte) []string {
	sum := sha256.Sum256(f[:])
	n := new(big.Int).SetBytes(append(slices.Clone(f[:]), sum[0]))
	all, mask := make([]string, Count), big.NewInt(1<<bits-1)
	for i := Count - 1; i >= 0; i-- {
		all[i] = norm.NFC.String(l.words[new(big.Int).And(n, mask).Int64()])
		n.Rsh(n, bits)
	}
	return all
}

// Parse reads a fingerprint as a person gives it: 64 hexadecimal digits, or 24 words. Errors are Usage:
// "malformed-fingerprint" for what is neither, "unknown-word" naming the word, "wrong-words" where all are known and do
// not fit together.
func Parse(text string) ([sha256.Size]byte, error) {
	var f [sha256.Size]byte
	text = strings.TrimSpace(text)
	if len(text) > maxText {
		return f, malformed("it is far too long")
	}
	if len(text) == hex.EncodedLen(sha256.Size) && !strings.Contains(text, " ") {
		if _, err := hex.Decode(f[:], []byte(text)); err != nil || strings.ToLower(text) != text {
			return f, malformed("it has other characters than 0-9 and a-f")
		}
		return f, nil
	}
	said := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.Is(unicode.Mn, r) })
	if len(said) != Count {
		return f, malformed(fmt.Sprintf("it has %d words", len(said)))
	}
	return parse(said)
}

func malformed(say string) error {
	return fault.New(fault.Usage, "malformed-fingerprint", opRead, "a fingerprint is 64 hexadecimal digits or 24 words, and "+say)
}

// parse takes the list that knows most of the words: one misheard word must not send a person to another language.
func parse(said []string) ([sha256.Size]byte, error) {
	var best List
	var found []int
	most := -1
	for _, l := range lists() {
		indexes := l.indexes(said)
		if known := Count - count(indexes, -1); known > most {
			best, found, most = l, indexes, known
		}
	}
	if i := slices.Index(found, -1); i >= 0 {
		f := fault.New(fault.Usage, "unknown-word", opRead, fmt.Sprintf("word %d, %q, is not in the list", i+1, said[i]))
		if near := best.near(said[i]); near != "" {
			return [sha256.Size]byte{}, f.WithHint("was it " + near + "?")
		}
		return [sha256.Size]byte{}, f.WithHint("have it read to you again; all words are of one language")
	}
	return join(found)
}

func count(list []int, what int) int {
	n := 0
	for _, v := range list {
		if v == what {
			n++
		}
	}
	return n
}

// join puts the numbers of the words together and holds them against the checksum.
func join(indexes []int) ([sha256.Size]byte, error) {
	var f [sha256.Size]byte
	n := new(big.Int)
	for _, i := range indexes {
		n.Lsh(n, bits).Or(n, big.NewInt(int64(i)))
	}
	var whole [sha256.Size + 1]byte
	n.FillBytes(whole[:])
	copy(f[:], whole[:])
	if sum := sha256.Sum256(f[:]); sum[0] != whole[sha256.Size] {
		return [sha256.Size]byte{}, fault.New(fault.Usage, "wrong-words", opRead, "all the words are in the list, but they do not fit together: one was misheard, or two changed places").
			WithHint("have them read to you again, slowly, all 24")
	}
	return f, nil
}

// indexes are the places of words in the list, -1 for one that is not there.
func (l List) indexes(said []string) []int {
	places := make(map[string]int, len(l.words))
	for i, w := range l.words {
		places[plain(w)] = i
	}
	all := make([]int, len(said))
	for i, w := range said {
		place, ok := places[plain(w)]
		if !ok {
			place = -1
		}
		all[i] = place
	}
	return all
}

// near is the word of the list that begins as this one: four letters tell all words of a list apart.
func (l List) near(word string) string {
	word = plain(word)
	for n := min(4, len(word)); n >= 3; n-- {
		for _, w := range l.words {
			if strings.HasPrefix(plain(w), word[:n]) {
				return norm.NFC.String(w)
			}
		}
	}
	return ""
}

// plain is a word in lower case without accents: who hears one does not see them.
func plain(word string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(word))
}
