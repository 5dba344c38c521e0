package message

import (
	"fmt"
	"slices"
	"strings"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Level says whether a finding blocks sending.
type Level string

// The levels.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
)

// Finding is one thing missing or doubtful in a draft.
type Finding struct {
	Field string
	Level Level
	Text  string
}

// Compose is a request as an officer composes it: what is said, without the header.
type Compose struct {
	Request  *formatv1.Request
	Asks     []*formatv1.Ask
	Subjects []*formatv1.Subject
}

const (
	minFacts   = 20      // characters: less cannot be a summary of facts
	maxText    = 100_000 // bytes of one free-text field
	maxTitle   = 200
	maxPerList = 256
)

// CheckRequest lists what a request lacks (domain.md 6). It is sendable when no finding is an error.
func CheckRequest(c Compose, lists Lists) []Finding {
	f := &findings{lists: lists}
	if c.Request == nil {
		f.fail("request", "the request is empty")
		return f.out
	}
	f.checkCore(c.Request)
	f.checkReasons(c.Request)
	f.checkLimits("limits", c.Request.GetLimits())
	f.checkAsks(c.Asks)
	f.checkSubjects(c.Subjects)
	return f.out
}

// Sendable reports whether no finding is an error.
func Sendable(fs []Finding) bool {
	return !slices.ContainsFunc(fs, func(f Finding) bool { return f.Level == LevelError })
}

type findings struct {
	lists Lists
	out   []Finding
}

func (f *findings) fail(field, text string) { f.out = append(f.out, Finding{field, LevelError, text}) }
func (f *findings) warn(field, text string) {
	f.out = append(f.out, Finding{field, LevelWarning, text})
}

func (f *findings) checkCore(r *formatv1.Request) {
	f.code("kind", "request-kinds", r.GetKind())
	f.legalBasis(r.GetLegalBasis(), true)
	f.text("purpose", r.GetPurpose(), 3)
	f.text("facts", r.GetFacts(), minFacts)
	f.text("necessity", r.GetNecessity(), 3)
	f.code("stage", "stage", r.GetStage())
	f.code("intended_use", "intended_use", r.GetIntendedUse())
	if strings.TrimSpace(r.GetLink()) == "" {
		f.warn("link", "say why the requested state should hold the information")
	}
	if len(r.GetTitle()) > maxTitle {
		f.fail("title", fmt.Sprintf("the title is longer than %d bytes", maxTitle))
	}
	if r.GetCallBack().GetPhone() == "" {
		f.warn("call_back", "give a telephone number for questions")
	}
}

func (f *findings) legalBasis(codes []string, needed bool) {
	if needed && len(codes) == 0 {
		f.fail("legal_basis", "name the treaty or law this rests on")
	}
	for _, code := range codes {
		if !f.lists.Has("legal-instruments", code) {
			f.warn("legal_basis", "an instrument is not in the shipped list; the other state may not know it")
		}
	}
}

func (f *findings) checkReasons(r *formatv1.Request) {
	f.urgencyReason(r.GetUrgencyReason())
	if r.GetNeededBy() != 0 && r.GetNeededByReason() == "" {
		f.fail("needed_by_reason", "say why that date")
	}
}

// urgencyReason wants a code of the list, or none; domain.md 4.2.
func (f *findings) urgencyReason(reason *formatv1.Reason) {
	if reason.GetCode() != "" && !f.lists.Has("urgency_reason", reason.GetCode()) {
		f.fail("urgency_reason", "the code is not in the list urgency_reason")
	}
	if reason.GetCode() == "OTHER" && reason.GetText() == "" {
		f.fail("urgency_reason", "the reason OTHER needs a text")
	}
}

// CheckUrgency refuses urgency above ROUTINE without a reason (domain.md 4.2).
func CheckUrgency(u Urgency, r *formatv1.Request) []Finding {
	if u != Routine && r.GetUrgencyReason().GetCode() == "" {
		return []Finding{{"urgency_reason", LevelError, "an urgent request needs the reason for its urgency"}}
	}
	return nil
}

func (f *findings) checkLimits(field string, l *formatv1.Limits) {
	if len(l.GetHandling()) == 0 {
		f.fail(field, "choose the handling code; H1 and H2 together are the usual choice")
	}
	for _, h := range l.GetHandling() {
		f.code(field, "handling", h)
	}
	if slices.Contains(l.GetHandling(), "H0") && len(l.GetHandling()) > 1 {
		f.fail(field, "H0 stands alone")
	}
	if slices.Contains(l.GetHandling(), "H3") && l.GetHandlingText() == "" {
		f.fail(field, "H3 needs the text of the restriction")
	}
	f.code(field, "tlp", l.GetTlp())
	if l.GetPap() != "" {
		f.code(field, "pap", l.GetPap())
	}
}

func (f *findings) checkAsks(asks []*formatv1.Ask) {
	if len(asks) == 0 || len(asks) > maxPerList {
		f.fail("asks", "ask at least one question, each answerable by itself")
	}
	for i, a := range asks {
		field := fmt.Sprintf("asks[%d]", i)
		if a.GetNumber() != uint32(i+1) {
			f.fail(field, "questions are numbered from 1 in their order")
		}
		f.code(field, "request-kinds", a.GetKind())
		f.text(field+".question", a.GetQuestion(), 3)
		if a.GetTo() != 0 && a.GetTo() < a.GetFrom() {
			f.fail(field, "the period ends before it begins")
		}
	}
}

func (f *findings) checkSubjects(subjects []*formatv1.Subject) {
	if len(subjects) > maxPerList {
		f.fail("subjects", fmt.Sprintf("there are more than %d subjects", maxPerList))
	}
	for i, s := range subjects {
		field := fmt.Sprintf("subjects[%d]", i)
		if s.GetType() == "person" && strings.TrimSpace(s.GetReason()) == "" {
			f.fail(field, "say why this person is named")
		}
		f.code(field, "subject_role", s.GetRole())
		f.attributes(field, s)
	}
}

func (f *findings) attributes(field string, s *formatv1.Subject) {
	list := "subject:" + s.GetType()
	if len(f.lists.Codes(list)) == 0 {
		f.fail(field, "the type of subject is not in the list")
		return
	}
	if len(s.GetAttributes()) == 0 {
		f.fail(field, "a subject needs at least one attribute, such as a name or a number")
	}
	for _, a := range s.GetAttributes() {
		if !f.lists.Has(list, a.GetName()) {
			f.fail(field, "an attribute does not belong to this type of subject")
		}
		if strings.TrimSpace(a.GetValue()) == "" || len(a.GetValue()) > maxText {
			f.fail(field, "an attribute is empty or too long")
		}
	}
}

func (f *findings) code(field, list, code string) {
	if !f.lists.Has(list, code) {
		f.fail(field, "choose one of the list "+list)
	}
}

func (f *findings) text(field, s string, least int) {
	n := len(strings.TrimSpace(s))
	switch {
	case n == 0:
		f.fail(field, "this must be filled in")
	case n < least:
		f.fail(field, fmt.Sprintf("at least %d characters are needed", least))
	case len(s) > maxText:
		f.fail(field, "the text is too long")
	}
}

// CheckAnswers lists what is wrong with the answers to a set of asks: each answered once, codes known, limits and
// evaluation given (domain.md 4.3, 4.5, 6).
func CheckAnswers(asks []*formatv1.Ask, answers []*formatv1.Answer, lists Lists) []Finding {
	f := &findings{lists: lists}
	open := map[uint32]bool{}
	for _, a := range asks {
		open[a.GetNumber()] = true
	}
	for i, a := range answers {
		field := fmt.Sprintf("answers[%d]", i)
		if !open[a.GetAsk()] {
			f.fail(field, "this question was not asked or is answered twice")
		}
		delete(open, a.GetAsk())
		f.answer(field, a)
	}
	if len(open) > 0 {
		f.fail("answers", fmt.Sprintf("%d questions have no answer; NOT_FOUND is an answer", len(open)))
	}
	return f.out
}

func (f *findings) answer(field string, a *formatv1.Answer) {
	switch a.GetResult() {
	case "FOUND", "PARTIAL":
		f.checkLimits(field, a.GetLimits())
		f.evaluation(field, a.GetEvaluation())
	case "NOT_FOUND":
	case "REFUSED":
		f.code(field+".refusal_reason", "refusal-reasons", a.GetRefusalReason())
	default:
		f.fail(field, "an answer is FOUND, NOT_FOUND, PARTIAL or REFUSED")
	}
	if len(a.GetText()) > maxText {
		f.fail(field, "the text is too long")
	}
}

// evaluation is "eu4x4:" and a source grade and an information grade; never letters alone (domain.md 4.5).
func (f *findings) evaluation(field, e string) {
	grade, ok := strings.CutPrefix(e, "eu4x4:")
	if !ok || len(grade) != 2 || !f.lists.Has("evaluation_source", grade[:1]) || !f.lists.Has("evaluation_information", grade[1:]) {
		f.fail(field, "grade source and information, such as eu4x4:B2")
	}
}

// CheckRefusal wants a reason of the list (domain.md 4.8).
func CheckRefusal(r *formatv1.Refusal, lists Lists) []Finding {
	f := &findings{lists: lists}
	f.code("reason", "refusal-reasons", r.GetReason())
	if r.GetReason() == "OTHER" && strings.TrimSpace(r.GetText()) == "" {
		f.fail("text", "the reason OTHER needs a text")
	}
	return f.out
}

// CheckAcknowledgement wants a date, and a reason where the urgency is lowered (domain.md 4.2).
func CheckAcknowledgement(a *formatv1.Acknowledgement, asked Urgency) []Finding {
	f := &findings{}
	if a.GetExpectedAt() == 0 {
		f.fail("expected_at", "say when the answer is expected")
	}
	accepted, err := ParseUrgency(a.GetUrgency())
	if err != nil {
		f.fail("urgency", "accept the urgency or lower it with a reason")
		return f.out
	}
	if accepted.LowerThan(asked) && strings.TrimSpace(a.GetUrgencyReason()) == "" {
		f.fail("urgency_reason", "a lowered urgency needs its reason")
	}
	return f.out
}

// CheckClosing knows three feedbacks, or none.
func CheckClosing(c *formatv1.Closing) []Finding {
	if !slices.Contains([]string{"", "hit", "partial", "no-hit"}, c.GetFeedback()) {
		return []Finding{{"feedback", LevelError, "feedback is hit, partial or no-hit"}}
	}
	return nil
}
