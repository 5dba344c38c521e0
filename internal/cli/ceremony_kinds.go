package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// saidIn reads the body of a statement that room directory has parsed already, as its message.
func saidIn[M proto.Message](st directory.Statement, m M) M {
	var head formatv1.Statement
	if proto.Unmarshal(st.Payload(), &head) == nil {
		_ = proto.Unmarshal(head.GetBody(), m) // it was read before
	}
	return m
}

// keysOf are the keys of a message; one that is none is left out.
func keysOf(list []*formatv1.Key) []directory.Key {
	var all []directory.Key
	for _, m := range list {
		if public, err := authority.ParsePublicKey(m.GetAlgorithm(), m.GetPublic()); err == nil {
			all = append(all, directory.Key{Public: public, Purpose: directory.KeyPurpose(m.GetPurpose())})
		}
	}
	return all
}

// newSet is the set of keys that takes over with a statement: of stewards or of a state. False for other kinds, and for
// the completion of a recovery, whose set the recovery names.
func newSet(st directory.Statement) (directory.KeySet, bool) {
	switch st.Kind() {
	case directory.KindRotateState:
		body, ok := st.Body().(directory.StateRotation)
		return body.Keys, ok
	case directory.KindRotateStewards:
		m := saidIn(st, &formatv1.RotateStewards{})
		return directory.KeySet{Keys: keysOf(m.GetStewards()), Threshold: int(m.GetThreshold())}, true
	case directory.KindRecover:
		m := saidIn(st, &formatv1.Recover{})
		return directory.KeySet{Keys: keysOf(m.GetKeys()), Threshold: int(m.GetThreshold())}, true
	}
	return directory.KeySet{}, false
}

// spokenKinds are the lines of a body of the kinds above.
func spokenKinds(st directory.Statement, now directory.View, known bool) []string {
	switch st.Kind() {
	case directory.KindRotateStewards:
		return stewardLines(st, now, known)
	case directory.KindRotateHub:
		return hubLines(st, now, known)
	case directory.KindCategories:
		return categoryLines(saidIn(st, &formatv1.Categories{}))
	case directory.KindInstruments:
		return instrumentLines(saidIn(st, &formatv1.Instruments{}))
	case directory.KindRules:
		m := saidIn(st, &formatv1.Rules{})
		return []string{fmt.Sprintf("! rules version %d holds from directory position %d on; programs that do not know it stop", m.GetVersion(), m.GetFrom())}
	case directory.KindDeclareInstruments:
		return []string{"+ these instruments bind the state, and no others: " + strings.Join(saidIn(st, &formatv1.DeclareInstruments{}).GetCodes(), " ")}
	case directory.KindDesignateContactPoint:
		return contactPointLines(st, now, known)
	case directory.KindConfirm:
		return []string{fmt.Sprintf("+ the state's entries are as they shall be; their digest is %x", saidIn(st, &formatv1.Confirm{}).GetEntries())}
	case directory.KindNotice:
		return noticeLines(saidIn(st, &formatv1.Notice{}))
	}
	return recoveryLines(st)
}

// recoveryLines are those of the four statements of PROTOCOL 4.20.
func recoveryLines(st directory.Statement) []string {
	switch st.Kind() {
	case directory.KindRecover:
		m, set := saidIn(st, &formatv1.Recover{}), directory.KeySet{}
		set, _ = newSet(st)
		return slices.Concat([]string{"! RECOVERY: other keys than its own shall speak for the state",
			"! until it is over nothing new of the state is taken; 14 days without a veto and these keys take its place"},
			keySetLines("+", set), certificateLines(m.GetCaCertificates()), textLine("reason", m.GetReason()))
	case directory.KindCompleteRecovery:
		m := saidIn(st, &formatv1.CompleteRecovery{})
		all := []string{fmt.Sprintf("! recovery %x takes effect: the old keys of the state are revoked", m.GetRecovery())}
		return append(all, headLines(m.GetEarlier(), m.GetLater())...)
	case directory.KindSettle:
		m := saidIn(st, &formatv1.Settle{})
		if m.GetOutcome() == "confirm" {
			return []string{fmt.Sprintf("! the vetoed recovery %x takes effect at once: the old keys of the state are revoked", m.GetRecovery())}
		}
		return []string{fmt.Sprintf("- the vetoed recovery %x is over; the state keeps its keys", m.GetRecovery())}
	case directory.KindVeto:
		return []string{fmt.Sprintf("! recovery %x is vetoed, wherever this arrives", saidIn(st, &formatv1.Veto{}).GetRecovery())}
	}
	return nil
}

func headLines(notes ...[]byte) []string {
	var all []string
	for i, note := range notes {
		name := []string{"earlier", "later"}[i]
		h, err := directory.ParseHead(note)
		if err != nil {
			all = append(all, "! the "+name+" head is none")
			continue
		}
		all = append(all, fmt.Sprintf("+ the %s head has size %d and root %s", name, h.Size, h.Root))
	}
	return all
}

// setLines compare two sets of keys: who joins, who leaves, who stays.
func setLines(what string, old, next directory.KeySet) []string {
	all := []string{fmt.Sprintf("! %d of these %d keys sign; until now it was %d of %d", next.Threshold, len(next.Keys), old.Threshold, len(old.Keys))}
	for _, k := range next.Keys {
		mark := "+ joins: key (" + what + "): "
		if among(old, k.Public.Fingerprint()) {
			mark = "= stays: key (" + what + "): "
		}
		all = append(all, mark+k.Public.Fingerprint().String())
	}
	for _, k := range old.Keys {
		if !among(next, k.Public.Fingerprint()) {
			all = append(all, "- leaves: key ("+what+"): "+k.Public.Fingerprint().String())
		}
	}
	return all
}

func stewardLines(st directory.Statement, now directory.View, known bool) []string {
	set, _ := newSet(st)
	head := []string{"! the stewards, who decide for the network, are these from now on"}
	if !known {
		return append(head, keySetLines("+", set)...)
	}
	return append(head, setLines("steward", now.Snapshot().Stewards(), set)...)
}

func hubLines(st directory.Statement, now directory.View, known bool) []string {
	m := saidIn(st, &formatv1.RotateHub{}).GetHub()
	lines := func(h directory.Hub) []string {
		return slices.Concat(listLine("hub", h.Endpoints), keyLines("+", []directory.Key{h.LogKey}), certificateLines(h.Certificates),
			listLine("log tiles", h.Tiles), listLine("bus", h.Bus), textLine("bus operator", h.BusOperator))
	}
	next := directory.Hub{Endpoints: m.GetEndpoints(), Certificates: m.GetCaCertificates(), Tiles: m.GetTiles(), Bus: m.GetBus(), BusOperator: m.GetBusOperator()}
	if keys := keysOf([]*formatv1.Key{m.GetLogKey()}); len(keys) == 1 {
		next.LogKey = keys[0]
	}
	after := lines(next)
	if !known {
		return append([]string{"! the hub of the directory is this one from now on"}, after...)
	}
	return difference(lines(now.Snapshot().Hub()), after)
}

func categoryLines(m *formatv1.Categories) []string {
	var all []string
	for _, c := range m.GetCategories() {
		line := fmt.Sprintf("+ category %s (%s)%s", c.GetSlug(), c.GetStatus(), titlesOf(c.GetTitles()))
		if c.GetSuccessor() != "" {
			line += "; use " + c.GetSuccessor() + " instead"
		}
		all = append(all, line)
	}
	return all
}

func instrumentLines(m *formatv1.Instruments) []string {
	var all []string
	for _, i := range m.GetInstruments() {
		all = append(all, "+ instrument "+i.GetCode()+titlesOf(i.GetTitles()))
	}
	return all
}

func titlesOf(list []*formatv1.Text) string {
	var all []string
	for _, t := range list {
		all = append(all, t.GetLanguage()+": "+t.GetValue())
	}
	if len(all) == 0 {
		return ""
	}
	return ", " + strings.Join(all, "; ")
}

func contactPointLines(st directory.Statement, now directory.View, known bool) []string {
	m := saidIn(st, &formatv1.DesignateContactPoint{})
	all := []string{"+ the national point of contact is " + m.GetAuthority(), "+ note verbale: " + m.GetNoteVerbale()}
	if !known {
		return all
	}
	if e, ok := now.ContactPoint(st.Subject().State()); ok && e.Name.String() != m.GetAuthority() {
		all = append(all, "- "+e.Name.String()+" is it no more")
	}
	return all
}

func noticeLines(m *formatv1.Notice) []string {
	end := "until another notice"
	if m.GetEnd() != 0 {
		end = "until " + time.Unix(m.GetEnd(), 0).UTC().Format(time.RFC3339)
	}
	line := fmt.Sprintf("+ the authority is %s from %s %s", m.GetAvailability(), time.Unix(m.GetStart(), 0).UTC().Format(time.RFC3339), end)
	return slices.Concat([]string{line}, textLine("who takes over", m.GetFallback()), textLine("text", m.GetText()))
}
