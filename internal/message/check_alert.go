package message

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// AlertLife is how long an alert holds where its issuer says nothing else; domain.md 4.9.
const AlertLife = 90 * 24 * time.Hour

const (
	maxAlertTitle   = 120 // characters; domain.md 7
	maxAlertSummary = 500
	// An alert is a whole with its files: what is larger than this does not fit a frame with its padding. PROTOCOL 1.3, 7.4.
	maxAlert = MaxSealedBody - 128<<10
)

// AlertCompose is an alert as an officer composes it: what is said, and what of the header the rules look at.
type AlertCompose struct {
	Category     authority.Category
	Urgency      Urgency
	Status       OperationalStatus
	Distribution Distribution
	Notice       *formatv1.AlertNotice
	Subjects     []*formatv1.Subject
	Files        []*formatv1.File
}

// CheckAlert lists what an alert lacks that is issued at now and holds until expires (domain.md 4.3 to 4.5, 4.9, 7, 8).
// It is sendable when no finding is an error. A finding names field and kind of what it found, and repeats no word of
// the alert.
func CheckAlert(c AlertCompose, lists Lists, now, expires time.Time) []Finding {
	f := &findings{lists: lists}
	if c.Notice == nil {
		f.fail("alert", "the alert is empty")
		return f.out
	}
	f.alertHeader(c)
	f.alertTexts(c.Notice)
	f.alertCodes(c.Notice)
	f.alertTimes(c.Notice, now, expires)
	f.alertLimits(c)
	f.alertSubjects(c)
	f.places(c.Notice.GetPlaces())
	f.files(c.Files)
	f.personalData(c)
	f.fits(c)
	return f.out
}

func (f *findings) alertHeader(c AlertCompose) {
	f.category("category", c.Category.String())
	seen := map[string]bool{c.Category.String(): true}
	for i, s := range c.Notice.GetSecondaryCategories() {
		field := fmt.Sprintf("secondary_categories[%d]", i)
		f.category(field, s)
		if seen[s] {
			f.fail(field, "the category is named twice")
		}
		seen[s] = true
	}
	if _, err := ParseDistribution(string(c.Distribution)); err != nil {
		f.fail("distribution", "choose CATEGORY, ALL_NPC or DIRECTED")
	}
	if _, err := ParseOperationalStatus(string(c.Status)); err != nil {
		f.fail("status", "choose ACTUAL, EXERCISE, TEST or SYSTEM")
	}
	f.alertUrgency(c)
}

// category wants a registered category of two tokens that is in use; domain.md 5.
func (f *findings) category(field, s string) {
	if err := f.lists.CheckCategory(s); err != nil {
		f.fail(field, fault.As(err).Say)
	}
}

func (f *findings) alertUrgency(c AlertCompose) {
	reason := c.Notice.GetUrgencyReason()
	if _, err := ParseUrgency(string(c.Urgency)); err != nil {
		f.fail("urgency", "choose ROUTINE, URGENT or IMMEDIATE")
	} else if c.Urgency != Routine && reason.GetCode() == "" {
		f.fail("urgency_reason", "an urgent alert needs the reason for its urgency")
	}
	f.urgencyReason(reason)
}

func (f *findings) alertTexts(n *formatv1.AlertNotice) {
	f.alertText("", n.GetLanguage(), n.GetTitle(), n.GetSummary())
	seen := map[string]bool{n.GetLanguage(): true}
	for i, t := range n.GetTexts() {
		field := fmt.Sprintf("texts[%d].", i)
		f.alertText(field, t.GetLanguage(), t.GetTitle(), t.GetSummary())
		if seen[t.GetLanguage()] {
			f.fail(field+"language", "there is a text in this language already")
		}
		seen[t.GetLanguage()] = true
		if !slices.Contains([]string{"", "human", "machine"}, t.GetTranslation()) {
			f.fail(field+"translation", "a translation is human or machine")
		}
	}
	if len(n.GetTexts()) == 0 {
		f.warn("texts", "there is no title and summary in another language; many readers will have to translate")
	}
	if len(n.GetDetails()) > maxText {
		f.fail("details", "the text is too long")
	}
}

// alertText checks title and summary in one of the official languages, the core that fits a pager; domain.md 7.
func (f *findings) alertText(field, language, title, summary string) {
	if !slices.Contains([]string{"es", "en", "pt", "fr"}, language) {
		f.fail(field+"language", "choose es, en, pt or fr")
	}
	f.characters(field+"title", title, maxAlertTitle)
	f.characters(field+"summary", summary, maxAlertSummary)
	if strings.ContainsFunc(title, unicode.IsControl) {
		f.fail(field+"title", "a title is one line, without control characters")
	}
}

func (f *findings) characters(field, s string, most int) {
	switch n := utf8.RuneCountInString(s); {
	case strings.TrimSpace(s) == "":
		f.fail(field, "this must be filled in")
	case n > most:
		f.fail(field, fmt.Sprintf("there are %d characters, more than %d", n, most))
	}
}

func (f *findings) alertCodes(n *formatv1.AlertNotice) {
	f.code("type", "alert-types", n.GetType())
	f.code("severity", "severity", n.GetSeverity())
	f.code("certainty", "certainty", n.GetCertainty())
	f.code("action_requested", "alert-actions", n.GetActionRequested())
	f.evaluation("evaluation", n.GetEvaluation())
	english, _ := authority.ParseLanguage("en")
	if w := f.lists.AlertWarning(n.GetType(), english); w != "" {
		f.warn("type", strings.ToLower(w[:1])+w[1:])
	}
	if n.GetType() == "wanted-reference" && len(n.GetReferences()) == 0 {
		f.fail("references", "name the INTERPOL notice or the national warrant that this alert points to")
	}
	if slices.ContainsFunc(n.GetReferences(), func(s string) bool { return strings.TrimSpace(s) == "" || len(s) > maxWord }) {
		f.fail("references", "a reference is empty or too long")
	}
	if n.GetCallBack().GetPhone() == "" && n.GetCallBack().GetLine_24_7() == "" {
		f.warn("call_back", "give a telephone number for questions")
	}
}

// AlertWarning is what must be shown with every alert of a type, in the language asked for, else in English; empty for
// types without a warning. domain.md 4.9.
func (l Lists) AlertWarning(kind string, lang authority.Language) string {
	e, _ := l.Entry("alert-types", kind)
	if w := e.Fields["warning_"+lang.String()]; w != "" {
		return w
	}
	return e.Fields["warning_en"]
}

// alertTimes holds the life of an alert to twelve months; domain.md 4.9.
func (f *findings) alertTimes(n *formatv1.AlertNotice, now, expires time.Time) {
	switch {
	case expires.IsZero():
		f.fail("expires", "say until when the alert holds; 90 days is usual")
	case !expires.After(now):
		f.fail("expires", "the alert would have expired when it is issued")
	case expires.After(now.AddDate(1, 0, 0)):
		f.fail("expires", "an alert holds for at most 12 months; renew it by then")
	}
	if n.GetTo() != 0 && n.GetTo() < n.GetFrom() {
		f.fail("to", "the period ends before it begins")
	}
	if n.GetValidFrom() != 0 && n.GetValidFrom() >= expires.UnixMilli() {
		f.fail("valid_from", "the alert would expire before it holds")
	}
	if n.GetReviewAt() != 0 && n.GetReviewAt() > expires.UnixMilli() {
		f.warn("review_at", "the alert expires before its review")
	}
}

func (f *findings) alertLimits(c AlertCompose) {
	f.checkLimits("limits", c.Notice.GetLimits())
	f.red("limits", c.Notice.GetLimits(), c.Distribution)
	for i, file := range c.Files {
		field := fmt.Sprintf("files[%d].limits", i)
		if file.GetLimits() != nil {
			f.checkLimits(field, file.GetLimits())
			f.red(field, file.GetLimits(), c.Distribution)
		}
	}
}

// red keeps TLP:RED to named authorities; domain.md 4.4.
func (f *findings) red(field string, l *formatv1.Limits, to Distribution) {
	if l.GetTlp() == "RED" && to != Directed {
		f.fail(field, "TLP:RED is for directed alerts only: name the authorities, or choose a wider TLP")
	}
}

func (f *findings) alertSubjects(c AlertCompose) {
	f.checkSubjects(c.Subjects)
	for i, s := range c.Subjects {
		field := fmt.Sprintf("subjects[%d]", i)
		if !slices.Contains([]string{"", "yes", "no", "unknown"}, s.GetMinor()) {
			f.fail(field+".minor", "say yes, no or unknown")
		}
		shielded := s.GetMinor() == "yes" || slices.Contains([]string{"victim", "witness", "missing"}, s.GetRole())
		if shielded && slices.Contains([]string{"CLEAR", "GREEN"}, c.Notice.GetLimits().GetTlp()) {
			f.warn(field, "a minor, victim, witness or missing person is shown to a wide circle; choose a narrower TLP where you can")
		}
	}
	for _, code := range c.Notice.GetAttestations() {
		f.code("attestations", "attestation", code)
	}
	person := slices.ContainsFunc(c.Subjects, isPerson)
	f.legalBasis(c.Notice.GetLegalBasis(), person)
	if person {
		f.aboutPerson(c)
	}
}

// aboutPerson wants what every alert with a person attests; domain.md 4.9.
func (f *findings) aboutPerson(c AlertCompose) {
	for _, code := range f.lists.Codes("attestation") {
		if !slices.Contains(c.Notice.GetAttestations(), code) {
			f.fail("attestations", "an alert with a person needs the attestation "+code)
		}
	}
	if c.Status == Exercise || c.Status == Test {
		f.warn("subjects", "name only made-up persons in an exercise or test")
	}
}

// fits holds that the alert can be signed and that every receiver will take it: see Bounded.
func (f *findings) fits(c AlertCompose) {
	items := []proto.Message{c.Notice}
	for _, s := range c.Subjects {
		items = append(items, s)
	}
	for _, file := range c.Files {
		items = append(items, file)
	}
	size, bounded := 0, true
	for _, item := range items {
		b, err := proto.Marshal(item)
		size, bounded = size+len(b), bounded && err == nil && Bounded(item) == nil
	}
	if !bounded {
		f.fail("alert", "a text is not UTF-8, or a text or a list is longer than receivers take")
	}
	if size > maxAlert {
		f.fail("alert", fmt.Sprintf("the alert is larger than %d bytes; attach larger files instead", maxAlert))
	}
}

// CheckCancellation wants a reason of the list, a version, and words where the reason is OTHER.
func CheckCancellation(c *formatv1.Cancellation, lists Lists) []Finding {
	f := &findings{lists: lists}
	f.code("reason", "cancel_reason", c.GetReason())
	if c.GetReason() == "OTHER" && strings.TrimSpace(c.GetText()) == "" {
		f.fail("text", "the reason OTHER needs a text")
	}
	if c.GetVersion() == 0 {
		f.fail("version", "say which version of the alert it ends; the first is 1")
	}
	if len(c.GetText()) > maxText {
		f.fail("text", "the text is too long")
	}
	return f.out
}

// CheckFeedback wants a mark of the list; only a hit names the conversation of a request. domain.md 4.9.
func CheckFeedback(b *formatv1.Feedback, lists Lists) []Finding {
	f := &findings{lists: lists}
	f.code("mark", "feedback", b.GetMark())
	if len(b.GetText()) > maxText {
		f.fail("text", "the text is too long")
	}
	if n := len(b.GetRequest()); n > 0 && (n != len(ID{}) || b.GetMark() != "HIT") {
		f.fail("request", "only a hit names a request, by its conversation")
	}
	return f.out
}
