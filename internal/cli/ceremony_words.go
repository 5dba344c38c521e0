package cli

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

// valid is the verdict on a statement that the directory would take.
const valid = "valid"

// reading is a statement as a person who is asked to sign it reads it.
type reading struct {
	Kind     string `json:"kind"`
	Subject  string `json:"subject"`
	Hash     string `json:"hash"`
	Network  string `json:"network"`
	Created  int64  `json:"created"`
	Position uint64 `json:"position"`
	// Changes are lines: "+" is new, "-" goes, "!" restricts.
	Changes []string `json:"changes"`
	// Warnings are what must not be overlooked before signing.
	Warnings   []string        `json:"warnings,omitempty"`
	Signatures []signatureLine `json:"signatures"`
	// Verdict is "valid", or why the directory would not take it as it stands; empty where none was at hand.
	Verdict string `json:"verdict,omitempty"`
	// Missing is who has to sign yet, where a directory was at hand.
	Missing []string `json:"missing,omitempty"`
}

type signatureLine struct {
	Role string `json:"role"`
	Key  string `json:"key"`
	// Check is "good", "bad" or "unknown key".
	Check string `json:"check"`
}

// readings puts a bundle into words. The statements are tried one after the other on the directory, if there is one.
func (a *app) readings(b directory.Bundle, who signers) []reading {
	var all []reading
	trial, blocked := who.snapshot, false
	for _, st := range b.Statements {
		r := reading{Kind: string(st.Kind()), Subject: st.Subject().String(), Hash: st.Hash().String(), Network: networkOf(st),
			Created: st.Created().Unix(), Position: st.Position(), Changes: changes(st, who.view(a), who.snapshot != nil),
			Warnings: warnings(st, who.view(a), who.snapshot != nil), Missing: who.missing(st, who.view(a))}
		for _, s := range st.Signatures() {
			r.Signatures = append(r.Signatures, signatureLine{string(s.Role), s.Key.String(), who.checked(st, s, who.view(a))})
		}
		if who.snapshot != nil || st.Kind() == directory.KindGenesis {
			next, err := directory.Apply(trial, st)
			if err == nil {
				trial = next
			}
			r.Verdict, blocked = verdict(err, blocked), blocked || err != nil
		}
		all = append(all, r)
	}
	return all
}

// verdict is what the directory would say. What is not there yet, where a statement above is not complete, is the
// consequence of that and no fault of its own.
func verdict(err error, blocked bool) string {
	if err == nil {
		return valid
	}
	if code := fault.CodeOf(err); blocked && (code == "unknown-subject" || code == "unknown-node") {
		return "it waits for one above"
	}
	return fault.As(err).Say
}

// checked verifies one signature with the key that the directory, or the statement itself, has for its fingerprint.
func (w signers) checked(st directory.Statement, s directory.Signature, now directory.View) string {
	key, ok := w.publicKey(st, s.Key, now)
	switch {
	case !ok:
		return "unknown key"
	case key.Verify(directory.SigningPurpose(s.Role), st.Payload(), s.Value) != nil:
		return "bad"
	}
	return "good"
}

func (w signers) publicKey(st directory.Statement, f authority.Fingerprint, now directory.View) (authority.PublicKey, bool) {
	sets := []directory.KeySet{w.admitted[st.Subject().State()].Keys}
	switch body := st.Body().(type) {
	case directory.Founding:
		sets = append(sets, body.Stewards)
	default:
		if set, ok := newSet(st); ok {
			sets = append(sets, set)
		}
	}
	for _, set := range sets {
		for _, k := range set.Keys {
			if k.Public.Fingerprint() == f {
				return k.Public, true
			}
		}
	}
	if w.snapshot == nil {
		return authority.PublicKey{}, false
	}
	h, ok := now.Holder(f)
	return h.Public, ok
}

// tell prints readings for people.
func (a *app) tell(w io.Writer, all []reading) {
	if len(all) > 0 {
		fmt.Fprintf(w, "network %s\n", all[0].Network)
		tellSpoken(w, "  ", a.spoken(all[0].Network))
	}
	for i, r := range all {
		fmt.Fprintf(w, "\n%d of %d: %s %s\n", i+1, len(all), r.Kind, clean(r.Subject))
		fmt.Fprintf(w, "  statement %s\n", r.Hash)
		fmt.Fprintf(w, "  made %s", when(r.Created*1000))
		if r.Position > 0 {
			fmt.Fprintf(w, " at directory position %d", r.Position)
		}
		fmt.Fprintln(w)
		for _, line := range r.Changes {
			fmt.Fprintf(w, "  %s\n", clean(line))
			tellSpoken(w, "      ", a.spokenIn(line))
		}
		for _, line := range r.Warnings {
			fmt.Fprintf(w, "  WARNING: %s\n", clean(line))
		}
		for _, s := range r.Signatures {
			fmt.Fprintf(w, "  signed as %s by %s (%s)\n", s.Role, s.Key, s.Check)
		}
		switch r.Verdict {
		case "":
		case valid:
			fmt.Fprintln(w, "  complete: the directory would take it")
		default:
			fmt.Fprintf(w, "  not complete: %s\n", r.Verdict)
		}
		for _, line := range r.Missing {
			fmt.Fprintf(w, "  still to sign: %s\n", line)
		}
	}
}

// changes is what a statement changes, in words. Lines that an amendment repeats unchanged are counted, not shown.
func changes(st directory.Statement, now directory.View, known bool) []string {
	if lines := spokenKinds(st, now, known); lines != nil {
		return lines
	}
	after := entry(st)
	if rotation, ok := st.Body().(directory.StateRotation); ok && known {
		return slices.Concat([]string{"! the state's keys are replaced"}, setLines("state", stateSet(st.Subject().State(), now), rotation.Keys), certificateLines(rotation.Certificates))
	}
	if known {
		if before := entryNow(st, now); before != nil {
			return difference(before, after)
		}
	}
	return after
}

// stateSet is the set of keys that signs for a state now.
func stateSet(state authority.State, now directory.View) directory.KeySet {
	e, _ := now.State(state)
	set := directory.KeySet{Threshold: e.Threshold}
	for _, h := range now.Keys(directory.OfState(state)) {
		if h.Status == directory.KeyActive {
			set.Keys = append(set.Keys, h.Key)
		}
	}
	return set
}

// spokenIn is the words of the key in a line, for keys that people hold and compare.
func (a *app) spokenIn(line string) []string {
	for _, purpose := range []directory.KeyPurpose{directory.PurposeState, directory.PurposeSteward, directory.PurposeLog} {
		if _, digits, ok := strings.Cut(line, "key ("+string(purpose)+"): "); ok && !strings.HasPrefix(line, "= stays") {
			return a.spoken(digits)
		}
	}
	return nil
}

// difference is what goes and what comes; lines that stay are counted.
func difference(before, after []string) []string {
	var all []string
	for _, line := range before {
		if !slices.Contains(after, line) {
			all = append(all, "-"+line[1:])
		}
	}
	same := 0
	for _, line := range after {
		if slices.Contains(before, line) {
			same++
			continue
		}
		all = append(all, line)
	}
	return append(all, fmt.Sprintf("= %d lines of the entry stay as they are", same))
}

// entryNow is the entry that an amendment replaces, in the same lines; nil where there is none.
func entryNow(st directory.Statement, now directory.View) []string {
	switch st.Kind() {
	case directory.KindDeclareAuthority:
		if e, ok := now.Authority(st.Subject().Name()); ok {
			return authorityLines(e.AuthorityDeclaration)
		}
	case directory.KindDeclareNode:
		if e, ok := now.Node(st.Subject().Node()); ok {
			return nodeLines(e.NodeDeclaration)
		}
	}
	return nil
}

// entry is a statement's body in lines.
func entry(st directory.Statement) []string {
	switch b := st.Body().(type) {
	case directory.Founding:
		return foundingLines(b)
	case directory.Admission:
		return slices.Concat([]string{"+ the state is admitted", "+ note verbale: " + b.NoteVerbale}, keySetLines("+", b.Keys), certificateLines(b.Certificates))
	case directory.StateRotation:
		return slices.Concat([]string{"! the state's keys are replaced by these"}, keySetLines("+", b.Keys), certificateLines(b.Certificates))
	case directory.AuthorityDeclaration:
		return authorityLines(b)
	case directory.NodeDeclaration:
		return nodeLines(b)
	case directory.AuthorityRotation:
		return slices.Concat(keyLines("+", b.Add), retireLines(b.Retire))
	case directory.NodeRotation:
		return slices.Concat(listLine("endpoints become", b.Endpoints), keyLines("+", b.Add), retireLines(b.Retire))
	case directory.Retirement:
		return []string{"! the authority is retired for good", "! reason: " + b.Reason}
	case directory.Revocation:
		if b.Key == (authority.Fingerprint{}) {
			return []string{"! the node is revoked for good, with all its keys", "! reason: " + b.Reason}
		}
		return []string{"! the key is revoked for good: " + b.Key.String(), "! reason: " + b.Reason}
	case directory.Suspension:
		return []string{"! suspended from " + b.Start.UTC().Format(time.RFC3339) + " until " + b.End.UTC().Format(time.RFC3339), "! reason: " + b.Reason}
	case directory.Reinstatement:
		return []string{fmt.Sprintf("+ suspensions made up to directory position %d end", b.Position), "+ reason: " + b.Reason}
	}
	return nil
}

func foundingLines(f directory.Founding) []string {
	hub := f.Hub
	return slices.Concat([]string{"+ the network is founded: " + f.Name}, keySetLines("+", f.Stewards),
		listLine("hub", hub.Endpoints), keyLines("+", []directory.Key{hub.LogKey}), certificateLines(hub.Certificates),
		listLine("log tiles", hub.Tiles), listLine("bus", hub.Bus), textLine("bus operator", hub.BusOperator))
}

func authorityLines(d directory.AuthorityDeclaration) []string {
	var all []string
	for _, n := range d.Names {
		all = append(all, fmt.Sprintf("+ name (%s): %s", n.Language, n.Value))
	}
	all = slices.Concat(all, textLine("acronym", d.Acronym), textLine("type", d.Type), textLine("parent", d.Parent.String()),
		textLine("note verbale", d.NoteVerbale), textLine("served by", d.Node.String()), listLine("languages", texts(d.Languages)))
	if d.NationalPointOfContact {
		all = append(all, "+ it is the national point of contact")
	}
	if d.Hidden {
		all = append(all, "+ it is hidden from searches")
	}
	for _, c := range d.Competences {
		all = append(all, "+ competence: "+competenceText(c))
	}
	for _, k := range d.Desks {
		line := fmt.Sprintf("+ desk %s, %s, %s, %s", k.Slug, k.TimeZone, strings.Join(k.Hours, " and "), strings.Join(texts(k.Languages), " "))
		if !k.Card.IsZero() {
			line += ", contact card " + k.Card.String()
		}
		all = append(all, line)
	}
	return append(all, keyLines("+", d.Keys)...)
}

func competenceText(c directory.Competence) string {
	s := c.Function + ": " + allOr(texts(c.Categories), "all categories")
	if len(c.Kinds) > 0 {
		s += "; requests " + strings.Join(texts(c.Kinds), " ")
	}
	if c.Territory != "" {
		s += "; in " + c.Territory
	}
	if c.LegalSource != "" {
		s += "; by " + c.LegalSource
	}
	return s
}

func nodeLines(d directory.NodeDeclaration) []string {
	all := slices.Concat(listLine("endpoints", d.Endpoints), textLine("note verbale", d.NoteVerbale))
	if len(d.Endpoints) == 0 {
		all = append(all, "+ it only dials out")
	}
	if d.MaxBody > 0 {
		all = append(all, fmt.Sprintf("+ takes bodies of %d bytes at most", d.MaxBody))
	}
	return slices.Concat(all, []string{fmt.Sprintf("+ protocol versions: %v", d.Versions)}, keyLines("+", d.Keys))
}

func keySetLines(mark string, set directory.KeySet) []string {
	return append([]string{fmt.Sprintf("%s %d of these %d keys sign", mark, set.Threshold, len(set.Keys))}, keyLines(mark, set.Keys)...)
}

func keyLines(mark string, keys []directory.Key) []string {
	var all []string
	for _, k := range keys {
		all = append(all, fmt.Sprintf("%s key (%s): %s", mark, k.Purpose, k.Public.Fingerprint()))
	}
	return all
}

func retireLines(keys []authority.Fingerprint) []string {
	var all []string
	for _, f := range keys {
		all = append(all, "- key rotated out: "+f.String())
	}
	return all
}

// certificateLines name certificates by what their holders can compare: the SHA-256 that other tools print too.
func certificateLines(list [][]byte) []string {
	var all []string
	for _, der := range list {
		name := "?"
		if c, err := x509.ParseCertificate(der); err == nil {
			name = c.Subject.CommonName
		}
		sum := sha256.Sum256(der)
		all = append(all, "+ certificate of "+name+": "+hex.EncodeToString(sum[:]))
	}
	return all
}

func textLine(what, s string) []string {
	if s == "" {
		return nil
	}
	return []string{"+ " + what + ": " + s}
}

func listLine(what string, list []string) []string { return textLine(what, strings.Join(list, " ")) }

func allOr(list []string, other string) string {
	if len(list) == 0 {
		return other
	}
	return strings.Join(list, " ")
}

func texts[T interface{ String() string }](list []T) []string {
	var all []string
	for _, s := range list {
		all = append(all, s.String())
	}
	return all
}
