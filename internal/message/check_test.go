package message

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// draft is a request that lacks nothing; all in it is made up.
func draft() Compose {
	return Compose{
		Request: &formatv1.Request{
			Kind: "identify-person", LegalBasis: []string{"untoc"}, Purpose: "investigation of a shipment", Necessity: "no other source is known",
			Stage: "investigation", IntendedUse: "operational-lead", Facts: "A made-up person was seen with a made-up vessel.", Link: "the person carries a passport of yours",
			Limits: &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER+STRICT"}, CallBack: &formatv1.CallBack{Phone: "+52 55 0000 0000"}, Title: "Identify a person",
		},
		Asks:     []*formatv1.Ask{{Number: 1, Kind: "identify-person", Question: "Who is this person?"}},
		Subjects: []*formatv1.Subject{{Type: "person", Role: "suspect", Reason: "named by a witness", Attributes: []*formatv1.Attribute{{Name: "name", Value: "Ñandú Ejemplo"}}}},
	}
}

func copyOf(c Compose) Compose {
	out := Compose{Request: proto.CloneOf(c.Request)}
	for _, a := range c.Asks {
		out.Asks = append(out.Asks, proto.CloneOf(a))
	}
	for _, s := range c.Subjects {
		out.Subjects = append(out.Subjects, proto.CloneOf(s))
	}
	return out
}

func TestGoodDraft(t *testing.T) {
	if fs := CheckRequest(draft(), shipped(t)); len(fs) != 0 || !Sendable(fs) {
		t.Errorf("a draft that lacks nothing: %v", fs)
	}
	c := draft()
	c.Subjects = nil
	if fs := CheckRequest(c, shipped(t)); !Sendable(fs) {
		t.Errorf("a request about no subject: %v", fs)
	}
}

type draftCase struct {
	field  string
	level  Level
	change func(*Compose)
}

// Each thing a draft can lack is told under its own field. domain.md 6.
func TestDraftLacks(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for name, test := range map[string]draftCase{
		"no request":            {"request", LevelError, func(c *Compose) { c.Request = nil }},
		"no kind":               {"kind", LevelError, func(c *Compose) { c.Request.Kind = "" }},
		"unknown kind":          {"kind", LevelError, func(c *Compose) { c.Request.Kind = "no-such-kind" }},
		"no legal basis":        {"legal_basis", LevelError, func(c *Compose) { c.Request.LegalBasis = nil }},
		"unlisted instrument":   {"legal_basis", LevelWarning, func(c *Compose) { c.Request.LegalBasis = []string{"own-treaty"} }},
		"no purpose":            {"purpose", LevelError, func(c *Compose) { c.Request.Purpose = "  " }},
		"no necessity":          {"necessity", LevelError, func(c *Compose) { c.Request.Necessity = "" }},
		"short facts":           {"facts", LevelError, func(c *Compose) { c.Request.Facts = "too short" }},
		"long facts":            {"facts", LevelError, func(c *Compose) { c.Request.Facts = long }},
		"no stage":              {"stage", LevelError, func(c *Compose) { c.Request.Stage = "" }},
		"no intended use":       {"intended_use", LevelError, func(c *Compose) { c.Request.IntendedUse = "curiosity" }},
		"no link":               {"link", LevelWarning, func(c *Compose) { c.Request.Link = "" }},
		"long title":            {"title", LevelError, func(c *Compose) { c.Request.Title = strings.Repeat("x", maxTitle+1) }},
		"no telephone":          {"call_back", LevelWarning, func(c *Compose) { c.Request.CallBack = nil }},
		"unknown urgency code":  {"urgency_reason", LevelError, func(c *Compose) { c.Request.UrgencyReason = &formatv1.Reason{Code: "BECAUSE"} }},
		"OTHER without text":    {"urgency_reason", LevelError, func(c *Compose) { c.Request.UrgencyReason = &formatv1.Reason{Code: "OTHER"} }},
		"a date without reason": {"needed_by_reason", LevelError, func(c *Compose) { c.Request.NeededBy = 1 }},
		"no limits":             {"limits", LevelError, func(c *Compose) { c.Request.Limits = nil }},
		"no handling":           {"limits", LevelError, func(c *Compose) { c.Request.Limits.Handling = nil }},
		"unknown handling":      {"limits", LevelError, func(c *Compose) { c.Request.Limits.Handling = []string{"H9"} }},
		"H0 and another":        {"limits", LevelError, func(c *Compose) { c.Request.Limits.Handling = []string{"H0", "H1"} }},
		"H3 without text":       {"limits", LevelError, func(c *Compose) { c.Request.Limits.Handling = []string{"H3"} }},
		"no TLP":                {"limits", LevelError, func(c *Compose) { c.Request.Limits.Tlp = "" }},
		"unknown PAP":           {"limits", LevelError, func(c *Compose) { c.Request.Limits.Pap = "BLUE" }},
		"no ask":                {"asks", LevelError, func(c *Compose) { c.Asks = nil }},
		"257 asks":              {"asks", LevelError, func(c *Compose) { many(257, func(int) { c.Asks = append(c.Asks, c.Asks[0]) }) }},
		"wrong number":          {"asks[0]", LevelError, func(c *Compose) { c.Asks[0].Number = 2 }},
		"ask of no kind":        {"asks[0]", LevelError, func(c *Compose) { c.Asks[0].Kind = "" }},
		"no question":           {"asks[0].question", LevelError, func(c *Compose) { c.Asks[0].Question = "?" }},
		"period backwards":      {"asks[0]", LevelError, func(c *Compose) { c.Asks[0].From, c.Asks[0].To = 2, 1 }},
		"257 subjects":          {"subjects", LevelError, func(c *Compose) { many(257, func(int) { c.Subjects = append(c.Subjects, c.Subjects[0]) }) }},
		"person without reason": {"subjects[0]", LevelError, func(c *Compose) { c.Subjects[0].Reason = "" }},
		"no role":               {"subjects[0]", LevelError, func(c *Compose) { c.Subjects[0].Role = "" }},
		"unknown type":          {"subjects[0]", LevelError, func(c *Compose) { c.Subjects[0].Type = "ghost" }},
		"no attribute":          {"subjects[0]", LevelError, func(c *Compose) { c.Subjects[0].Attributes = nil }},
		"foreign attribute":     {"subjects[0]", LevelError, func(c *Compose) { c.Subjects[0].Attributes[0].Name = "plate" }},
		"empty attribute":       {"subjects[0]", LevelError, func(c *Compose) { c.Subjects[0].Attributes[0].Value = " " }},
		"long attribute":        {"subjects[0]", LevelError, func(c *Compose) { c.Subjects[0].Attributes[0].Value = long }},
	} {
		c := copyOf(draft())
		test.change(&c)
		fs := CheckRequest(c, shipped(t))
		if !has(fs, test.field, test.level) || Sendable(fs) != (test.level == LevelWarning) {
			t.Errorf("%s: %v, want one %s at %s", name, fs, test.level, test.field)
		}
	}
}

func has(fs []Finding, field string, level Level) bool {
	for _, f := range fs {
		if f.Field == field && f.Level == level && f.Text != "" {
			return true
		}
	}
	return false
}

// domain.md 4.2.
func TestCheckUrgency(t *testing.T) {
	with := &formatv1.Request{UrgencyReason: &formatv1.Reason{Code: "THREAT_TO_LIFE"}}
	for _, test := range []struct {
		u    Urgency
		r    *formatv1.Request
		good bool
	}{{Routine, nil, true}, {Urgent, nil, false}, {Immediate, &formatv1.Request{}, false}, {Immediate, with, true}} {
		if fs := CheckUrgency(test.u, test.r); Sendable(fs) != test.good {
			t.Errorf("%s: %v", test.u, fs)
		}
	}
}

func answer(ask uint32) *formatv1.Answer {
	return &formatv1.Answer{Ask: ask, Result: "FOUND", Text: "found", Evaluation: "eu4x4:B2", Limits: &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER"}}
}

// domain.md 4.3, 4.5, 6.
func TestCheckAnswers(t *testing.T) {
	asks := []*formatv1.Ask{{Number: 1}, {Number: 2}}
	with := func(change func(*formatv1.Answer)) []*formatv1.Answer {
		second := answer(2)
		change(second)
		return []*formatv1.Answer{answer(1), second}
	}
	for name, test := range map[string]struct {
		answers []*formatv1.Answer
		field   string
	}{
		"all answered":          {with(func(*formatv1.Answer) {}), ""},
		"nothing is an answer":  {with(func(a *formatv1.Answer) { proto.Reset(a); a.Ask, a.Result = 2, "NOT_FOUND" }), ""},
		"refused with a reason": {with(func(a *formatv1.Answer) { proto.Reset(a); a.Ask, a.Result, a.RefusalReason = 2, "REFUSED", "NOT_HELD" }), ""},
		"one missing":           {[]*formatv1.Answer{answer(1)}, "answers"},
		"one twice":             {with(func(a *formatv1.Answer) { a.Ask = 1 }), "answers[1]"},
		"not asked":             {with(func(a *formatv1.Answer) { a.Ask = 3 }), "answers[1]"},
		"no result":             {with(func(a *formatv1.Answer) { a.Result = "" }), "answers[1]"},
		"refused without":       {with(func(a *formatv1.Answer) { a.Result = "REFUSED" }), "answers[1].refusal_reason"},
		"no limits":             {with(func(a *formatv1.Answer) { a.Limits = nil }), "answers[1]"},
		"no evaluation":         {with(func(a *formatv1.Answer) { a.Evaluation = "" }), "answers[1]"},
		"letters alone":         {with(func(a *formatv1.Answer) { a.Evaluation = "B2" }), "answers[1]"},
		"another scale":         {with(func(a *formatv1.Answer) { a.Evaluation = "eu4x4:F6" }), "answers[1]"},
		"long text":             {with(func(a *formatv1.Answer) { a.Text = strings.Repeat("x", maxText+1) }), "answers[1]"},
	} {
		fs := CheckAnswers(asks, test.answers, shipped(t))
		if test.field == "" && len(fs) > 0 || test.field != "" && !has(fs, test.field, LevelError) {
			t.Errorf("%s: %v, want an error at %q", name, fs, test.field)
		}
	}
}

// domain.md 4.2, 4.8.
func TestCheckSteps(t *testing.T) {
	l := shipped(t)
	for name, test := range map[string]struct {
		findings []Finding
		field    string
	}{
		"refusal":                  {CheckRefusal(&formatv1.Refusal{Reason: "NOT_HELD"}, l), ""},
		"refusal without reason":   {CheckRefusal(&formatv1.Refusal{}, l), "reason"},
		"refusal OTHER, no text":   {CheckRefusal(&formatv1.Refusal{Reason: "OTHER"}, l), "text"},
		"acknowledgement":          {CheckAcknowledgement(&formatv1.Acknowledgement{ExpectedAt: 1, Urgency: "URGENT"}, Urgent), ""},
		"raised urgency":           {CheckAcknowledgement(&formatv1.Acknowledgement{ExpectedAt: 1, Urgency: "IMMEDIATE"}, Urgent), ""},
		"no date":                  {CheckAcknowledgement(&formatv1.Acknowledgement{Urgency: "URGENT"}, Urgent), "expected_at"},
		"no urgency":               {CheckAcknowledgement(&formatv1.Acknowledgement{ExpectedAt: 1}, Urgent), "urgency"},
		"lowered silently":         {CheckAcknowledgement(&formatv1.Acknowledgement{ExpectedAt: 1, Urgency: "ROUTINE"}, Urgent), "urgency_reason"},
		"lowered with reason":      {CheckAcknowledgement(&formatv1.Acknowledgement{ExpectedAt: 1, Urgency: "ROUTINE", UrgencyReason: "not held here"}, Urgent), ""},
		"closing without feedback": {CheckClosing(&formatv1.Closing{}), ""},
		"closing with a hit":       {CheckClosing(&formatv1.Closing{Feedback: "hit"}), ""},
		"unknown feedback":         {CheckClosing(&formatv1.Closing{Feedback: "great"}), "feedback"},
	} {
		if test.field == "" && len(test.findings) > 0 || test.field != "" && !has(test.findings, test.field, LevelError) {
			t.Errorf("%s: %v, want an error at %q", name, test.findings, test.field)
		}
	}
}
