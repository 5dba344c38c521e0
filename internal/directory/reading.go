package directory

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Limits inside a body. PROTOCOL 4.16.
const (
	maxKeys      = 32
	maxList      = 128  // any list without a limit of its own
	maxAddresses = 8    // endpoints, certificates
	maxAddress   = 255  // bytes of one address
	maxReference = 256  // bytes of a note verbale reference, an acronym, a territory
	maxText      = 1024 // bytes of a name or a reason
	maxSlug      = 32
	maxHolidays  = 64
)

var (
	authorityPurposes = []KeyPurpose{PurposeSign, PurposeSeal}
	nodePurposes      = []KeyPurpose{PurposeSign, PurposeSeal, PurposeWitness, PurposeEvidence, PurposeBus}

	authorityTypes = []string{"police", "prosecution", "customs", "migration", "coast-guard", "fiu", "tax", "justice",
		"prison", "other", "npc"}
	functions = []string{"requests", "alerts-in", "alerts-out", "mla-central", "extradition", "maritime",
		"firearms-liaison", "fiu", "cyber-24-7", "asset-recovery", "victim-support"}

	slugShape = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	// Whether a zone exists depends on the host's data, so only its shape may decide.
	zoneShape = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+/-]{0,63}$`)
	hourShape = regexp.MustCompile(`^(24/7|` + day + `(-` + day + `)? ` + minute + `-(` + minute + `|24:00))$`)
)

const (
	day    = `(mo|tu|we|th|fr|sa|su)`
	minute = `([01][0-9]|2[0-3]):[0-5][0-9]`
)

// reading makes parts of a message into nouns. The first fault sticks; what is read after it is worthless.
type reading struct {
	about Subject
	err   error
}

func (r *reading) note(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reading) check(ok bool, code, say string) {
	if !ok {
		r.note(wrong(code, say))
	}
}

func (r *reading) atMost(what string, n, limit int) {
	if n > limit { // the words are made where they are needed: a log has a million lists
		r.note(wrong("too-many", fmt.Sprintf("the list of %s has %d entries, more than the %d allowed", what, n, limit)))
	}
}

// text refuses control characters: these words are shown on terminals and printed.
func (r *reading) text(what, s string, limit int) string {
	if len(s) > limit {
		r.note(wrong("too-long", fmt.Sprintf("the %s is longer than %d bytes", what, limit)))
	}
	odd := strings.ContainsFunc(s, func(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Bidi_Control) })
	r.check(!odd, "malformed-text", "the "+what+" has control characters")
	return s
}

func (r *reading) filled(what, s string, limit int) string {
	r.check(s != "", "missing", "the "+what+" is missing")
	return r.text(what, s, limit)
}

func (r *reading) time(unix int64) time.Time {
	r.check(unix >= 0 && unix <= maxTime, "malformed-time", "a time is out of range")
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}

// network checks a name by making a TLS identity with it. PROTOCOL 4.10.
func (r *reading) network(name string) {
	r.filled("network's name", name, 63)
	_, err := authority.HubID(name)
	r.note(err)
}

func (r *reading) key(m *formatv1.Key, allowed ...KeyPurpose) Key {
	k := Key{Purpose: inList(allowed, KeyPurpose(m.GetPurpose())), NotBefore: r.time(m.GetNotBefore()), NotAfter: r.time(m.GetNotAfter())}
	r.check(k.Purpose != "", "wrong-purpose", "a key has a purpose that its holder has no use for")
	r.check(m.GetAlgorithm() == algorithmOf(k.Purpose), "unknown-algorithm", "a key has an algorithm that its purpose does not use")
	r.check(k.NotAfter.IsZero() || k.NotAfter.After(k.NotBefore), "malformed-time", "a key ends before it begins")
	// Apply has no clock, so whether such a signature counts cannot depend on time.
	r.check(k.NotAfter.IsZero() || !signsStatements(k.Purpose), "malformed-time", "a key that signs statements has no end but rotation")
	public, err := authority.ParsePublicKey(algorithmOf(k.Purpose), m.GetPublic())
	r.note(err)
	k.Public = public
	return k
}

// inList is the word as a list has it, empty where it does not: the bytes of a word that 10,000 say are in memory once.
func inList[T ~string](list []T, word T) T {
	if at := slices.Index(list, word); at >= 0 {
		return list[at]
	}
	return ""
}

// algorithmOf is the algorithm for a purpose. PROTOCOL 4.14.
func algorithmOf(p KeyPurpose) string {
	switch p {
	case PurposeSeal:
		return authority.AgeHybrid
	case PurposeBus:
		return authority.NKey
	}
	return authority.Ed25519
}

func signsStatements(p KeyPurpose) bool { return p == PurposeState || p == PurposeSteward }

func (r *reading) keys(list []*formatv1.Key, allowed ...KeyPurpose) []Key {
	r.atMost("keys", len(list), maxKeys)
	if r.err != nil {
		return nil
	}
	keys := make([]Key, 0, len(list))
	for _, m := range list {
		keys = append(keys, r.key(m, allowed...))
	}
	return keys
}

func (r *reading) keySet(list []*formatv1.Key, threshold uint32, purpose KeyPurpose) KeySet {
	r.check(threshold >= 1 && int64(threshold) <= int64(len(list)), "malformed-threshold", "the threshold is not between one and the number of keys")
	set := KeySet{Keys: r.keys(list, purpose), Threshold: int(threshold)}
	seen := map[authority.PublicKey]bool{}
	for _, k := range set.Keys {
		r.check(!seen[k.Public], "duplicate-key", "one key stands twice in a set")
		seen[k.Public] = true
	}
	return set
}

func (r *reading) fingerprint(b []byte) authority.Fingerprint {
	f, err := authority.ParseFingerprint(b)
	r.note(err)
	r.check(f != authority.Fingerprint{}, "malformed-key", "a fingerprint is empty")
	return f
}

func (r *reading) fingerprints(list [][]byte) []authority.Fingerprint {
	r.atMost("fingerprints", len(list), maxKeys)
	var all []authority.Fingerprint
	for _, b := range list {
		all = append(all, r.fingerprint(b))
	}
	return all
}

func (r *reading) certificates(list [][]byte, least int) [][]byte {
	r.check(len(list) >= least, "missing", "the CA certificates are missing")
	r.atMost("certificates", len(list), maxAddresses)
	if r.err != nil {
		return nil
	}
	for _, der := range list {
		cert, err := x509.ParseCertificate(der)
		r.check(err == nil && cert.IsCA, "malformed-certificate", "a CA certificate is not one")
	}
	return list
}

func (r *reading) addresses(list []string, least int) []string {
	r.check(len(list) >= least, "missing", "the addresses are missing")
	r.atMost("addresses", len(list), maxAddresses)
	for _, s := range list {
		plain := !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
		r.check(plain && len(s) <= maxAddress && strings.Contains(s, ":"), "malformed-address", "an address is not host:port or a URL")
	}
	return list
}

func (r *reading) texts(list []*formatv1.Text) []Text {
	r.atMost("names", len(list), maxList)
	var all []Text
	for _, m := range list {
		all = append(all, Text{r.language(m.GetLanguage()), r.filled("name", m.GetValue(), maxText)})
	}
	return all
}

func (r *reading) language(s string) authority.Language {
	l, err := authority.ParseLanguage(s)
	r.note(err)
	return l
}

func (r *reading) languages(list []string) []authority.Language {
	r.atMost("languages", len(list), maxList)
	var all []authority.Language
	for _, s := range list {
		all = append(all, r.language(s))
	}
	return all
}

func (r *reading) parent(s string) authority.Name {
	if s == "" {
		return authority.Name{}
	}
	n, err := authority.ParseName(s)
	r.note(err)
	r.check(n.State() == r.about.State() && n != r.about.Name(), "wrong-parent", "the parent is not another authority of the same state")
	return n
}

func (r *reading) ownNode(s string) authority.Node {
	n, err := authority.ParseNode(s)
	r.note(err)
	r.check(n.State() == r.about.State(), "foreign-node", "an authority is served by a node of its own state")
	return n
}

func (r *reading) competences(list []*formatv1.Competence) []Competence {
	r.atMost("competences", len(list), maxList)
	var all []Competence
	for _, m := range list {
		all = append(all, r.competence(m))
	}
	return all
}

func (r *reading) competence(m *formatv1.Competence) Competence {
	function := inList(functions, m.GetFunction())
	r.check(function != "", "unknown-function", "a competence has a function that is not one of the network's")
	r.atMost("categories", len(m.GetCategories()), maxList)
	r.atMost("request kinds", len(m.GetKinds()), maxList)
	c := Competence{
		Function:    function,
		Territory:   r.text("territory", m.GetTerritory(), maxReference),
		LegalSource: r.text("legal source", m.GetLegalSource(), maxText),
	}
	for _, s := range m.GetCategories() {
		c.Categories = append(c.Categories, r.category(s))
	}
	for _, s := range m.GetKinds() {
		c.Kinds = append(c.Kinds, r.kind(s))
	}
	return c
}

func (r *reading) desks(list []*formatv1.Desk) []Desk {
	r.atMost("desks", len(list), maxList)
	seen := map[string]bool{}
	var all []Desk
	for _, m := range list {
		r.check(!seen[m.GetSlug()], "duplicate-desk", "two desks have one name")
		seen[m.GetSlug()] = true
		all = append(all, r.desk(m))
	}
	return all
}

func (r *reading) desk(m *formatv1.Desk) Desk {
	card := len(m.GetCard())
	r.slug(m.GetSlug())
	r.check(m.GetTimeZone() == "" || zoneShape.MatchString(m.GetTimeZone()), "malformed-hours", "a time zone is not an IANA name")
	r.check(card == 0 || card == sha256.Size, "malformed", "the hash of a contact card has 32 bytes")
	r.atMost("opening hours", len(m.GetHours()), maxList)
	for _, rule := range m.GetHours() {
		r.check(hourShape.MatchString(rule), "malformed-hours", "opening hours are 24/7 or days and times, such as mo-fr 08:00-17:00")
	}
	d := Desk{Slug: m.GetSlug(), TimeZone: m.GetTimeZone(), Hours: m.GetHours(), Languages: r.languages(m.GetLanguages()),
		Holidays: r.holidays(m.GetHolidays())}
	copy(d.Card[:], m.GetCard())
	return d
}

// holidays checks for days that exist. PROTOCOL 4.12.
func (r *reading) holidays(list []string) []string {
	r.atMost("holidays", len(list), maxHolidays)
	for _, day := range list {
		at, err := time.Parse(time.DateOnly, day)
		r.check(err == nil && at.Format(time.DateOnly) == day, "malformed-hours", "a holiday is a day such as 2027-01-06")
	}
	return list
}

func (r *reading) kind(s string) authority.RequestKind {
	kind, err := authority.ParseRequestKind(s)
	r.note(err)
	return kind
}

// website is shown to people, and never fetched. PROTOCOL 4.12.
func (r *reading) website(s string) string {
	if s == "" {
		return ""
	}
	r.check(strings.HasPrefix(s, "https://") && len(s) > len("https://"), "malformed-address", "a website begins with https://")
	r.addresses([]string{s}, 1)
	return s
}

func (r *reading) requirements(list []*formatv1.Requirement) []Requirement {
	r.atMost("requirements", len(list), maxList)
	if r.err != nil {
		return nil
	}
	seen := map[string]bool{}
	var all []Requirement
	for _, m := range list {
		r.check(!seen[m.GetKind()], "duplicate-requirement", "there are two requirements for one kind of request")
		seen[m.GetKind()] = true
		all = append(all, r.requirement(m))
	}
	return all
}

func (r *reading) requirement(m *formatv1.Requirement) Requirement {
	q := Requirement{Needs: r.texts(m.GetNeeds()), TypicalDays: int(m.GetTypicalDays()), Languages: r.languages(m.GetLanguages()),
		LegalSource: r.text("legal source", m.GetLegalSource(), maxText)}
	if m.GetKind() != "" {
		q.Kind = r.kind(m.GetKind())
	}
	return q
}

func (r *reading) slug(s string) {
	r.check(len(s) <= maxSlug && slugShape.MatchString(s), "malformed-name", "a desk's name is lower-case letters, digits and single dashes")
}
