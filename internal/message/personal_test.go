package message

import (
	"slices"
	"strings"
	"testing"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func subject(kind string, nameAndValue ...string) *formatv1.Subject {
	s := &formatv1.Subject{Type: kind, Role: "unknown", Reason: "seen"}
	for pair := range slices.Chunk(nameAndValue, 2) {
		s.Attributes = append(s.Attributes, &formatv1.Attribute{Name: pair[0], Value: pair[1]})
	}
	return s
}

// domain.md 4.9: a trend holds no personal data, in whatever field it is tried.
func TestTrendRefusesPersonalData(t *testing.T) {
	const mail = "write to ana@example.org"
	set := func(s *formatv1.Subject) func(*AlertCompose) {
		return func(c *AlertCompose) { c.Subjects = []*formatv1.Subject{s} }
	}
	checkLacks(t, trend, map[string]alertCase{
		"person":            {"subjects[0]", LevelError, set(subject("person", "name", "Ana"))},
		"organisation":      {"subjects[0]", LevelError, set(subject("organisation", "name", "Ejemplo S.A."))},
		"account":           {"subjects[0]", LevelError, set(subject("account", "institution", "Banco"))},
		"phone":             {"subjects[0]", LevelError, set(subject("phone", "number", "1"))},
		"vehicle":           {"subjects[0]", LevelError, set(subject("vehicle", "model", "sedan"))},
		"one vessel":        {"subjects[0].attributes[1]", LevelError, set(subject("vessel", "type", "go-fast", "imo", "1"))},
		"unknown attribute": {"subjects[0].attributes[0]", LevelError, set(subject("substance", "nickname", "x"))},
		"hidden in a value": {"subjects[0].attributes[0]", LevelError, set(subject("substance", "name", mail))},
		"reason":            {"subjects[0]", LevelError, func(c *AlertCompose) { c.Subjects[0].Reason = mail }},
		"title":             {"title", LevelError, func(c *AlertCompose) { c.Notice.Title = mail }},
		"summary":           {"summary", LevelError, func(c *AlertCompose) { c.Notice.Summary = "call +52 55 1234 5678" }},
		"details":           {"details", LevelError, func(c *AlertCompose) { c.Notice.Details = "passport G12345678" }},
		"urgency reason":    {"urgency_reason", LevelError, func(c *AlertCompose) { c.Notice.UrgencyReason.Text = mail }},
		"handling text":     {"limits", LevelError, func(c *AlertCompose) { c.Notice.Limits.HandlingText = mail }},
		"tag":               {"tags", LevelError, func(c *AlertCompose) { c.Notice.Tags = []string{mail} }},
		"translated title":  {"texts[0].title", LevelError, func(c *AlertCompose) { c.Notice.Texts[0].Title = mail }},
		"translated text":   {"texts[0].summary", LevelError, func(c *AlertCompose) { c.Notice.Texts[0].Summary = mail }},
		"place":             {"places[0]", LevelError, func(c *AlertCompose) { c.Notice.Places[0].Name = mail }},
		"reference":         {"references", LevelError, func(c *AlertCompose) { c.Notice.References = []string{"interpol:0000/0000"} }},
		"file name": {"files[0]", LevelError, func(c *AlertCompose) {
			c.Files = []*formatv1.File{{Name: "ana@example.org", MediaType: "image/png", Data: []byte("x")}}
		}},
		"table": {"files[0]", LevelError, func(c *AlertCompose) {
			c.Files = []*formatv1.File{{Name: "a.csv", MediaType: "text/csv", Data: []byte("n\n" + mail)}}
		}},
		"picture": {"files[0]", LevelWarning, func(c *AlertCompose) {
			c.Files = []*formatv1.File{{Name: "a.png", MediaType: "image/png", Data: []byte("x")}}
		}},
	})
}

// domain.md 4.9: types "no" take objects, but none that leads to a person; all other types take persons.
func TestTypesWithoutPersons(t *testing.T) {
	for _, kind := range shipped(t).Codes("alert-types") {
		none := slices.Contains([]string{"modus-operandi", "substance", "trend"}, kind)
		for name, test := range map[string]struct {
			subject *formatv1.Subject
			refused bool
		}{
			"person":    {subject("person", "name", "Ana"), none},
			"plate":     {subject("vehicle", "plate", "AAA"), none},
			"model":     {subject("vehicle", "model", "sedan"), kind == "trend"},
			"group":     {subject("organisation", "name", "Ejemplo"), kind == "trend"},
			"telephone": {subject("organisation", "phone", "1"), none},
			"substance": {subject("substance", "name", "x"), false},
		} {
			code := RefuseAlert(false, &formatv1.AlertNotice{Type: kind}, []*formatv1.Subject{test.subject}, nil, shipped(t))
			if (code == "personal-data") != test.refused || !test.refused && code != "" {
				t.Errorf("%s with a %s: %q, want refused %t", kind, name, code, test.refused)
			}
			c := warning(t)
			c.Notice.Type, c.Subjects, c.Files = kind, []*formatv1.Subject{test.subject}, nil
			c.Notice.References = []string{"x"}
			fs := CheckAlert(c, shipped(t), alertNow(), alertNow().Add(AlertLife))
			refused := slices.ContainsFunc(fs, func(f Finding) bool { return f.Level == LevelError && strings.HasPrefix(f.Field, "subjects[0]") })
			if refused != test.refused {
				t.Errorf("%s with a %s: %v, want refused %t", kind, name, fs, test.refused)
			}
		}
	}
}

// domain.md 4.4: also where the sender did not look.
func TestRefuseRed(t *testing.T) {
	limits := func(tlp string) *formatv1.Limits { return &formatv1.Limits{Tlp: tlp} }
	file := func(tlp string) []*formatv1.File { return []*formatv1.File{{}, {Limits: limits(tlp)}} }
	for name, test := range map[string]struct {
		directed bool
		tlp      string
		files    []*formatv1.File
		want     string
	}{
		"AMBER": {false, "AMBER", nil, ""}, "none": {false, "", file(""), ""}, "RED": {false, "RED", nil, "tlp-red"}, "RED to named": {true, "RED", file("RED"), ""},
		"unknown": {false, "ULTRA", nil, "tlp-red"}, "in small letters": {false, "red", nil, "tlp-red"}, "RED file": {false, "CLEAR", file("RED"), "tlp-red"},
	} {
		if got := RefuseAlert(test.directed, &formatv1.AlertNotice{Limits: limits(test.tlp)}, nil, test.files, shipped(t)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		"Increase of 30 % in 2025":             "",
		"from 2024-01-01 to 2024-06-30":        "",
		"2024-01-01 2024-06-30":                "",
		"2019-2023 and 2019 – 2023":            "",
		"on 12/05/2026 and 12.05.2026":         "",
		"1,500,000 tablets of 25mg, 200000kg":  "",
		"COVID19, MDMB-4en, JWH-018, 3D":       "",
		"route 40, 10 to 20 persons, UN 1234":  "",
		"5F-MDMB-2201":                         "",
		"ana@example.org":                      "an e-mail address",
		"ana＠example．org":                      "an e-mail address",
		"ana\u200b@exam\u200bple.org":          "an e-mail address",
		"follow @ana_ejemplo":                  "the name of an online account",
		"from 198.51.100.7":                    "an IP address+a telephone or identity number",
		"from 10.0.0.1":                        "an IP address",
		"call 5551234":                         "a telephone or identity number",
		"call (57)(1)(5550000)":                "a telephone or identity number",
		"call +52 55 1234 5678":                "a telephone or identity number",
		"call 2010-12-3456":                    "a telephone or identity number",
		"call 555\u20111234":                   "a telephone or identity number",
		"call 55\u200b51234":                   "a telephone or identity number",
		"call ５５５１２３４":                         "a telephone or identity number",
		"call ٥٥٥١٢٣٤":                         "a telephone or identity number",
		"DNI 12.345.678":                       "a telephone or identity number",
		"CPF 123.456.789-09":                   "a telephone or identity number",
		"1 234 567":                            "a telephone or identity number",
		"passport A12345":                      "the number of a document or account",
		"passport AB-123456":                   "the number of a document or account",
		"RFC IAMJ481210AB1":                    "the number of a document or account",
		"wallet 1ExampleExampleExample":        "the number of a document or account",
		"GB29 NWBK 6016 1331 9268 19 was used": "an IBAN+a telephone or identity number",
	} {
		if got := strings.Join(identifiers(text), "+"); got != want {
			t.Errorf("%q looks like %q, want %q", text, got, want)
		}
	}
}

// A finding repeats nothing of what it found.
func TestFindingsRepeatNothing(t *testing.T) {
	c := trend(t)
	c.Notice.Summary = "ana@example.org 555 123 4567 @cuenta G12345678 GB29 NWBK 6016 1331 9268 19"
	c.Subjects = append(c.Subjects, subject("person", "name", "Ñandú"))
	fs := CheckAlert(c, shipped(t), alertNow(), alertNow().Add(AlertLife))
	if Sendable(fs) {
		t.Fatal("personal data in a trend went through")
	}
	for _, f := range fs {
		for _, word := range append(strings.Fields(c.Notice.Summary), "Ñandú") {
			if strings.Contains(f.Text, word) {
				t.Errorf("%s repeats %q", f.Field, word)
			}
		}
	}
}
