package message

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func alertNow() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func category(t testing.TB, s string) authority.Category {
	t.Helper()
	c, err := authority.ParseCategory(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// warning is an alert about a person that lacks nothing; all in it is made up.
func warning(t testing.TB) AlertCompose {
	return AlertCompose{
		Category: category(t, "drugs.trafficking"), Urgency: Urgent, Status: Actual, Distribution: ByCategory,
		Notice: &formatv1.AlertNotice{
			Type: "warning-person", Version: 1, Title: "Aviso sobre una persona", Summary: "Una persona inventada puede ir armada.", Language: "es",
			Texts:    []*formatv1.AlertText{{Language: "en", Title: "Warning about a person", Summary: "A made-up person may be armed.", Translation: "human"}},
			Details:  "Seen with a made-up vessel.",
			Places:   []*formatv1.Place{{State: "mx", Name: "Puerto Ejemplo", Kind: "port", LatitudeE6: 19_000_000, LongitudeE6: -96_000_000, PrecisionM: 500}},
			Severity: "SEVERE", Certainty: "LIKELY", UrgencyReason: &formatv1.Reason{Code: "FLIGHT_RISK"}, ActionRequested: "DISCREET_CHECK",
			Evaluation: "eu4x4:B2", Limits: &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER"}, LegalBasis: []string{"untoc"},
			Attestations: []string{"LAWFUL_BASIS", "NECESSARY_AND_PROPORTIONATE", "NEUTRAL", "NO_REFUGEE"},
			CallBack:     &formatv1.CallBack{Phone: "+52 55 0000 0000"},
		},
		Subjects: []*formatv1.Subject{{Type: "person", Role: "suspect", Reason: "named by a witness", Minor: "no", Attributes: []*formatv1.Attribute{{Name: "name", Value: "Ñandú Ejemplo"}}}},
		Files:    []*formatv1.File{{Name: "foto.jpg", MediaType: "image/jpeg", Data: []byte("not a photo")}},
	}
}

// trend is an alert without personal data that lacks nothing.
func trend(t testing.TB) AlertCompose {
	c := warning(t)
	c.Notice.Type, c.Notice.ActionRequested = "trend", "INFORM_ONLY"
	c.Notice.LegalBasis, c.Notice.Attestations = nil, nil
	c.Notice.Title, c.Notice.Summary = "Tendencia: rutas marítimas", "Entre 2024-01-01 y 2025 aumentó 30 %; 1,500,000 comprimidos."
	c.Files = nil
	c.Subjects = []*formatv1.Subject{{Type: "substance", Role: "unknown", Attributes: []*formatv1.Attribute{{Name: "name", Value: "fentanilo"}}}}
	return c
}

func TestGoodAlerts(t *testing.T) {
	for name, c := range map[string]AlertCompose{"warning": warning(t), "trend": trend(t)} {
		if fs := CheckAlert(c, shipped(t), alertNow(), alertNow().Add(AlertLife)); len(fs) != 0 {
			t.Errorf("%s that lacks nothing: %v", name, fs)
		}
	}
	directed := warning(t)
	directed.Distribution, directed.Notice.Limits.Tlp = Directed, "RED"
	if fs := CheckAlert(directed, shipped(t), alertNow(), alertNow().Add(AlertLife)); !Sendable(fs) {
		t.Errorf("TLP:RED to named authorities: %v", fs)
	}
	longest := warning(t)
	longest.Notice.Title, longest.Notice.Summary = strings.Repeat("ñ", maxAlertTitle), strings.Repeat("ñ", maxAlertSummary)
	if fs := CheckAlert(longest, shipped(t), alertNow(), alertNow().AddDate(1, 0, 0)); len(fs) != 0 {
		t.Errorf("title, summary and life as long as they may be: %v", fs)
	}
}

type alertCase struct {
	field  string
	level  Level
	change func(*AlertCompose)
}

func checkLacks(t *testing.T, base func(testing.TB) AlertCompose, cases map[string]alertCase) {
	t.Helper()
	for name, test := range cases {
		c := base(t)
		test.change(&c)
		fs := CheckAlert(c, shipped(t), alertNow(), alertNow().Add(AlertLife))
		if !has(fs, test.field, test.level) || Sendable(fs) != (test.level == LevelWarning) {
			t.Errorf("%s: %v, want one %s at %s", name, fs, test.level, test.field)
		}
	}
}

// Each thing an alert can lack is told under its own field. domain.md 4.2 to 4.5, 7.
func TestAlertLacks(t *testing.T) {
	checkLacks(t, warning, map[string]alertCase{
		"no alert":               {"alert", LevelError, func(c *AlertCompose) { c.Notice = nil }},
		"no category":            {"category", LevelError, func(c *AlertCompose) { c.Category = authority.Category{} }},
		"a group alone":          {"category", LevelError, func(c *AlertCompose) { c.Category = category(t, "drugs") }},
		"unknown category":       {"category", LevelError, func(c *AlertCompose) { c.Category = category(t, "drugs.no-such") }},
		"second group":           {"secondary_categories[0]", LevelError, func(c *AlertCompose) { c.Notice.SecondaryCategories = []string{"tip"} }},
		"second is the first":    {"secondary_categories[0]", LevelError, func(c *AlertCompose) { c.Notice.SecondaryCategories = []string{"drugs.trafficking"} }},
		"no urgency":             {"urgency", LevelError, func(c *AlertCompose) { c.Urgency = "" }},
		"urgent without reason":  {"urgency_reason", LevelError, func(c *AlertCompose) { c.Notice.UrgencyReason = nil }},
		"unknown reason":         {"urgency_reason", LevelError, func(c *AlertCompose) { c.Notice.UrgencyReason.Code = "BECAUSE" }},
		"OTHER without text":     {"urgency_reason", LevelError, func(c *AlertCompose) { c.Notice.UrgencyReason.Code = "OTHER" }},
		"no status":              {"status", LevelError, func(c *AlertCompose) { c.Status = "" }},
		"no distribution":        {"distribution", LevelError, func(c *AlertCompose) { c.Distribution = "" }},
		"no title":               {"title", LevelError, func(c *AlertCompose) { c.Notice.Title = " " }},
		"121 characters":         {"title", LevelError, func(c *AlertCompose) { c.Notice.Title = strings.Repeat("x", 121) }},
		"title of two lines":     {"title", LevelError, func(c *AlertCompose) { c.Notice.Title = "a\nb" }},
		"no summary":             {"summary", LevelError, func(c *AlertCompose) { c.Notice.Summary = "" }},
		"501 characters":         {"summary", LevelError, func(c *AlertCompose) { c.Notice.Summary = strings.Repeat("x", 501) }},
		"no language":            {"language", LevelError, func(c *AlertCompose) { c.Notice.Language = "" }},
		"unofficial language":    {"language", LevelError, func(c *AlertCompose) { c.Notice.Language = "nl" }},
		"same language twice":    {"texts[0].language", LevelError, func(c *AlertCompose) { c.Notice.Texts[0].Language = "es" }},
		"text without title":     {"texts[0].title", LevelError, func(c *AlertCompose) { c.Notice.Texts[0].Title = "" }},
		"odd translation":        {"texts[0].translation", LevelError, func(c *AlertCompose) { c.Notice.Texts[0].Translation = "cat" }},
		"one language":           {"texts", LevelWarning, func(c *AlertCompose) { c.Notice.Texts = nil }},
		"long details":           {"details", LevelError, func(c *AlertCompose) { c.Notice.Details = strings.Repeat("x", maxText+1) }},
		"no type":                {"type", LevelError, func(c *AlertCompose) { c.Notice.Type = "" }},
		"no severity":            {"severity", LevelError, func(c *AlertCompose) { c.Notice.Severity = "" }},
		"unknown certainty":      {"certainty", LevelError, func(c *AlertCompose) { c.Notice.Certainty = "SURE" }},
		"no action":              {"action_requested", LevelError, func(c *AlertCompose) { c.Notice.ActionRequested = "" }},
		"no evaluation":          {"evaluation", LevelError, func(c *AlertCompose) { c.Notice.Evaluation = "" }},
		"another scale":          {"evaluation", LevelError, func(c *AlertCompose) { c.Notice.Evaluation = "eu4x4:D2" }},
		"no telephone":           {"call_back", LevelWarning, func(c *AlertCompose) { c.Notice.CallBack = nil }},
		"wanted without a point": {"references", LevelError, func(c *AlertCompose) { c.Notice.Type = "wanted-reference" }},
		"empty reference":        {"references", LevelError, func(c *AlertCompose) { c.Notice.References = []string{" "} }},
		"period backwards":       {"to", LevelError, func(c *AlertCompose) { c.Notice.From, c.Notice.To = 2, 1 }},
		"holds after its end":    {"valid_from", LevelError, func(c *AlertCompose) { c.Notice.ValidFrom = alertNow().Add(AlertLife).UnixMilli() }},
		"review after its end":   {"review_at", LevelWarning, func(c *AlertCompose) { c.Notice.ReviewAt = alertNow().Add(AlertLife + 1e9).UnixMilli() }},
		"no limits":              {"limits", LevelError, func(c *AlertCompose) { c.Notice.Limits = nil }},
		"no handling":            {"limits", LevelError, func(c *AlertCompose) { c.Notice.Limits.Handling = nil }},
		"no TLP":                 {"limits", LevelError, func(c *AlertCompose) { c.Notice.Limits.Tlp = "" }},
		"RED on a category":      {"limits", LevelError, func(c *AlertCompose) { c.Notice.Limits.Tlp = "RED" }},
		"RED to all":             {"limits", LevelError, func(c *AlertCompose) { c.Distribution, c.Notice.Limits.Tlp = AllNPC, "RED" }},
		"a RED file":             {"files[0].limits", LevelError, func(c *AlertCompose) { c.Files[0].Limits = &formatv1.Limits{Handling: []string{"H0"}, Tlp: "RED"} }},
		"not UTF-8":              {"alert", LevelError, func(c *AlertCompose) { c.Notice.Desk = "\xff" }},
		"long name":              {"alert", LevelError, func(c *AlertCompose) { c.Notice.Desk = strings.Repeat("x", maxWord+1) }},
	})
}

// domain.md 4.9, 8: what stands about subjects, places and files.
func TestAlertPartsLack(t *testing.T) {
	large := bytes.Repeat([]byte("x"), maxSmallFile)
	checkLacks(t, warning, map[string]alertCase{
		"no legal basis":      {"legal_basis", LevelError, func(c *AlertCompose) { c.Notice.LegalBasis = nil }},
		"unlisted instrument": {"legal_basis", LevelWarning, func(c *AlertCompose) { c.Notice.LegalBasis = []string{"own-treaty"} }},
		"not attested":        {"attestations", LevelError, func(c *AlertCompose) { c.Notice.Attestations = nil }},
		"one missing":         {"attestations", LevelError, func(c *AlertCompose) { c.Notice.Attestations = c.Notice.Attestations[1:] }},
		"unknown attestation": {"attestations", LevelError, func(c *AlertCompose) { c.Notice.Attestations = append(c.Notice.Attestations, "HONEST") }},
		"no reason":           {"subjects[0]", LevelError, func(c *AlertCompose) { c.Subjects[0].Reason = "" }},
		"odd minor":           {"subjects[0].minor", LevelError, func(c *AlertCompose) { c.Subjects[0].Minor = "maybe" }},
		"minor to everyone":   {"subjects[0]", LevelWarning, func(c *AlertCompose) { c.Subjects[0].Minor, c.Notice.Limits.Tlp = "yes", "GREEN" }},
		"victim to everyone":  {"subjects[0]", LevelWarning, func(c *AlertCompose) { c.Subjects[0].Role, c.Notice.Limits.Tlp = "victim", "CLEAR" }},
		"real exercise":       {"subjects", LevelWarning, func(c *AlertCompose) { c.Status = Exercise }},
		"person in a seizure": {"subjects", LevelWarning, func(c *AlertCompose) { c.Notice.Type = "seizure" }},
		"no such state":       {"places[0].state", LevelError, func(c *AlertCompose) { c.Notice.Places[0].State = "MX" }},
		"a body is no state":  {"places[0].state", LevelError, func(c *AlertCompose) { c.Notice.Places[0].State = "x-rss" }},
		"beyond the pole":     {"places[0]", LevelError, func(c *AlertCompose) { c.Notice.Places[0].LatitudeE6 = 90_000_001 }},
		"beyond the date":     {"places[0]", LevelError, func(c *AlertCompose) { c.Notice.Places[0].LongitudeE6 = -180_000_001 }},
		"no precision":        {"places[0].precision_m", LevelError, func(c *AlertCompose) { c.Notice.Places[0].PrecisionM = 0 }},
		"nowhere":             {"places[0]", LevelError, func(c *AlertCompose) { c.Notice.Places[0] = &formatv1.Place{Kind: "port"} }},
		"file with a path":    {"files[0].name", LevelError, func(c *AlertCompose) { c.Files[0].Name = "../foto.jpg" }},
		"file of Windows":     {"files[0].name", LevelError, func(c *AlertCompose) { c.Files[0].Name = `C:\foto.jpg` }},
		"hidden file":         {"files[0].name", LevelError, func(c *AlertCompose) { c.Files[0].Name = ".foto" }},
		"turned name":         {"files[0].name", LevelError, func(c *AlertCompose) { c.Files[0].Name = "foto\u202egpj.exe" }},
		"no name":             {"files[0].name", LevelError, func(c *AlertCompose) { c.Files[0].Name = "" }},
		"a name twice": {"files[1].name", LevelError, func(c *AlertCompose) {
			c.Files = append(c.Files, proto.CloneOf(c.Files[0]))
			c.Files[1].Name = "FOTO.jpg"
		}},
		"no media type": {"files[0].media_type", LevelError, func(c *AlertCompose) { c.Files[0].MediaType = "photo" }},
		"empty file":    {"files[0]", LevelError, func(c *AlertCompose) { c.Files[0].Data = nil }},
		"large file":    {"files[0]", LevelError, func(c *AlertCompose) { c.Files[0].Data = append(slices.Clone(large), 'x') }},
		"large together": {"files", LevelError, func(c *AlertCompose) {
			c.Files[0].Data = large
			for _, name := range []string{"2.jpg", "3.jpg"} {
				c.Files = append(c.Files, &formatv1.File{Name: name, MediaType: "image/jpeg", Data: large})
			}
		}},
		"257 files": {"files", LevelError, func(c *AlertCompose) { many(257, func(int) { c.Files = append(c.Files, c.Files[0]) }) }},
		"too large in all": {"alert", LevelError, func(c *AlertCompose) {
			many(10, func(int) {
				c.Subjects[0].Attributes = append(c.Subjects[0].Attributes, &formatv1.Attribute{Name: "description", Value: strings.Repeat("x", maxText)})
			})
		}},
	})
}

// A category that is proposed or given up takes no alerts. domain.md 5.
func TestCategoryInUse(t *testing.T) {
	l := shipped(t)
	l.byName["crime-categories"]["drugs.trafficking"].Fields["status"] = "deprecated"
	if fs := CheckAlert(warning(t), l, alertNow(), alertNow().Add(AlertLife)); !has(fs, "category", LevelError) {
		t.Errorf("a deprecated category: %v", fs)
	}
}

// domain.md 4.9.
func TestAlertLife(t *testing.T) {
	for name, expires := range map[string]time.Time{
		"none": {}, "now": alertNow(), "past": alertNow().Add(-1), "13 months": alertNow().AddDate(1, 1, 0), "a year and a bit": alertNow().AddDate(1, 0, 0).Add(1),
	} {
		if fs := CheckAlert(warning(t), shipped(t), alertNow(), expires); !has(fs, "expires", LevelError) {
			t.Errorf("%s: %v, want an error at expires", name, fs)
		}
	}
	if leap := time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC); leap.AddDate(1, 0, 0).Sub(leap) > MaxLife {
		t.Error("an alert may live longer than a message")
	}
}

// domain.md 4.9: never itself a ground for arrest.
func TestWantedReference(t *testing.T) {
	c := warning(t)
	c.Notice.Type, c.Notice.References = "wanted-reference", []string{"interpol:0000/0000"}
	fs := CheckAlert(c, shipped(t), alertNow(), alertNow().Add(AlertLife))
	if !Sendable(fs) || len(fs) != 1 || !strings.Contains(fs[0].Text, "never itself a ground for arrest") {
		t.Errorf("findings = %v, want the one warning", fs)
	}
	seen := map[string]bool{}
	for _, code := range []string{"en", "es", "pt", "fr"} {
		lang, err := authority.ParseLanguage(code)
		if err != nil {
			t.Fatal(err)
		}
		seen[shipped(t).AlertWarning("wanted-reference", lang)] = true
		if w := shipped(t).AlertWarning("trend", lang); w != "" {
			t.Errorf("a trend carries %q", w)
		}
	}
	if dutch, _ := authority.ParseLanguage("nl"); len(seen) != 4 || seen[""] || !seen[shipped(t).AlertWarning("wanted-reference", dutch)] {
		t.Errorf("warnings = %v, want one in each language, and English else", seen)
	}
}

// domain.md 4.9.
func TestCheckAlertSteps(t *testing.T) {
	l := shipped(t)
	id := make([]byte, 16)
	long := strings.Repeat("x", maxText+1)
	for name, test := range map[string]struct {
		findings []Finding
		field    string
	}{
		"cancellation":         {CheckCancellation(&formatv1.Cancellation{Reason: "RESOLVED", Version: 1}, l), ""},
		"no reason":            {CheckCancellation(&formatv1.Cancellation{Version: 1}, l), "reason"},
		"unknown reason":       {CheckCancellation(&formatv1.Cancellation{Reason: "BORED", Version: 1}, l), "reason"},
		"OTHER without text":   {CheckCancellation(&formatv1.Cancellation{Reason: "OTHER", Version: 1}, l), "text"},
		"long cancellation":    {CheckCancellation(&formatv1.Cancellation{Reason: "ERROR", Version: 1, Text: long}, l), "text"},
		"no version":           {CheckCancellation(&formatv1.Cancellation{Reason: "ERROR"}, l), "version"},
		"feedback":             {CheckFeedback(&formatv1.Feedback{Mark: "NO_HIT"}, l), ""},
		"hit with its request": {CheckFeedback(&formatv1.Feedback{Mark: "HIT", Request: id}, l), ""},
		"no mark":              {CheckFeedback(&formatv1.Feedback{}, l), "mark"},
		"read is no feedback":  {CheckFeedback(&formatv1.Feedback{Mark: "READ"}, l), "mark"},
		"long feedback":        {CheckFeedback(&formatv1.Feedback{Mark: "HIT", Text: long}, l), "text"},
		"request of no hit":    {CheckFeedback(&formatv1.Feedback{Mark: "NO_HIT", Request: id}, l), "request"},
		"request that is none": {CheckFeedback(&formatv1.Feedback{Mark: "HIT", Request: id[1:]}, l), "request"},
	} {
		if test.field == "" && len(test.findings) > 0 || test.field != "" && !has(test.findings, test.field, LevelError) {
			t.Errorf("%s: %v, want an error at %q", name, test.findings, test.field)
		}
	}
}
