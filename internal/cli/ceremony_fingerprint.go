package cli

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fingerprint"
)

// wordsALine is how many words of a fingerprint stand on one line: six lines of four are read and ticked off.
const wordsALine = 6

// networkFlag is a fingerprint of a network as a person gives it, digits or words; it holds the digits.
type networkFlag struct{ digits *string }

func (f networkFlag) String() string {
	if f.digits == nil {
		return ""
	}
	return *f.digits
}

// Set reads digits or words.
func (f networkFlag) Set(text string) error {
	print, err := fingerprint.Parse(text)
	if err == nil {
		*f.digits = hex.EncodeToString(print[:])
	}
	return err
}

// Type is what help calls the value.
func (f networkFlag) Type() string { return "fingerprint" }

func registerNetwork(fs *pflag.FlagSet, to *string) {
	fs.Var(networkFlag{to}, "network", "fingerprint of the network, as the Secretariat publishes it: 64 hexadecimal digits, or 24 words in quotes")
}

// spoken is a fingerprint, 64 digits, as words of the chosen language; nil for what is no fingerprint.
func (a *app) spoken(digits string) []string {
	f, err := fingerprint.Parse(digits)
	if err != nil {
		return nil
	}
	return fingerprint.ListOf(a.lang.String()).Words(f)
}

func (a *app) spokenKey(f authority.Fingerprint) []string { return a.spoken(f.String()) }

// tellSpoken prints the words under a fingerprint, a few on each line.
func tellSpoken(w io.Writer, indent string, said []string) {
	for len(said) > 0 {
		n := min(wordsALine, len(said))
		fmt.Fprintf(w, "%s%s\n", indent, strings.Join(said[:n], " "))
		said = said[n:]
	}
}

// noteList says so where the words are not of the language that was asked for.
func (a *app) noteList() {
	if l := fingerprint.ListOf(a.lang.String()); l.Instead {
		a.note("There is no list of words in %q; these are of the list in %q.", a.lang, l.Language)
	}
}

func spokenLines(said []string) []string {
	var b strings.Builder
	tellSpoken(&b, "", said)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}
