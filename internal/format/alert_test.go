package format

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func errorsOf(fs []message.Finding) []message.Finding {
	return slices.DeleteFunc(slices.Clone(fs), func(f message.Finding) bool { return f.Level != message.LevelError })
}

func TestOFACAlerts(t *testing.T) {
	var got []string
	var problems []Problem
	for a, err := range OFACAlerts(os.DirFS("testdata/list"), now(), func(p Problem) { problems = append(problems, p) }) {
		if err != nil {
			t.Fatal(err)
		}
		n := a.Notice
		got = append(got, fmt.Sprintf("%v %s %s %v %s", n.GetReferences(), n.GetType(), a.Category, n.GetSecondaryCategories(), n.GetTitle()))
		if fs := errorsOf(message.CheckAlert(a.AlertCompose, lists(t), now(), a.Expires)); len(fs) > 0 {
			t.Errorf("%v: %v", n.GetReferences(), fs)
		}
	}
	want := []string{
		"[ofac-sdn:101] warning-person drugs.trafficking [] IBÁÑEZ MUÑOZ, José Ángel",
		"[ofac-sdn:102] asset ocg.general [corruption.general] COMPAÑÍA DE PRUEBA, S.A. DE C.V.",
		"[ofac-sdn:105] warning-person drugs.trafficking [] GÓMEZ, Ana",
	}
	if !slices.Equal(got, want) {
		t.Errorf("alerts = %q, want %q", got, want)
	}
	if len(problems) != 8 {
		t.Errorf("%d malformed rows reported, want 8: %v", len(problems), problems)
	}
}

func TestEntryAlert(t *testing.T) {
	entries, _ := read(t, os.DirFS("testdata/list"))
	a, ok := entries[0].Alert(now())
	if !ok || a.Expires != now().Add(message.AlertLife) || a.Urgency != message.Routine || a.Status != message.Actual || a.Distribution != message.ByCategory {
		t.Errorf("alert = %v %s %s %s, want a routine, real one to its category for 90 days", a.Expires, a.Urgency, a.Status, a.Distribution)
	}
	if n := a.Notice; n.GetLimits().GetTlp() != "CLEAR" || n.GetActionRequested() != "INFORM_ONLY" || !slices.Equal(n.GetLegalBasis(), []string{"domestic"}) ||
		!strings.Contains(n.GetDetails(), "Foreign Narcotics Kingpin Designation Act") || !strings.Contains(a.Subjects[0].GetReason(), "SDNTK") {
		t.Errorf("notice = %v, want a public one for information that names its law", n)
	}
	if p := a.Notice.GetPlaces(); len(p) != 1 || p[0].GetState() != "mx" || p[0].GetName() != "Culiacán" {
		t.Errorf("places = %v, want Culiacán", p)
	}
	if got, want := len(a.Subjects), 2; got != want {
		t.Errorf("%d subjects, want the person and the virtual asset", got)
	}
	vessel := entries[2]
	if v, _ := vessel.Alert(now()); v.Notice.GetType() != "transport-of-interest" || v.Category.String() != "cyber.general" || len(v.Notice.GetAttestations()) > 0 {
		t.Errorf("vessel = %v", v.Notice)
	}
	if _, ok := entries[3].Alert(now()); ok {
		t.Error("an entry of no crime category became an alert")
	}
}

// An entry may say more than receivers take of one subject: all of it goes out, in several.
func TestManyAttributes(t *testing.T) {
	e := Entry{Number: 1, Name: "EJEMPLO, " + strings.Repeat("ñ", 200), Type: Individual, Programmes: []string{"SDNT"}}
	for i := range 600 {
		e.Aliases = append(e.Aliases, Alias{Kind: "a.k.a.", Name: fmt.Sprint("ALIAS ", i)})
	}
	a, _ := e.Alert(now())
	if fs := errorsOf(message.CheckAlert(a.AlertCompose, lists(t), now(), a.Expires)); len(fs) > 0 {
		t.Errorf("findings: %v", fs)
	}
	names := map[string]bool{}
	for _, s := range a.Subjects {
		if s.GetAttributes()[0].GetValue() != e.Name {
			t.Errorf("a part of the subject begins with %q, want the whole name", s.GetAttributes()[0].GetValue())
		}
		for _, at := range s.GetAttributes() {
			names[at.GetValue()] = true
		}
	}
	if len(a.Subjects) != 3 || len(names) != 601 {
		t.Errorf("%d subjects with %d names, want 3 with 601", len(a.Subjects), len(names))
	}
}

func TestShorten(t *testing.T) {
	tests := []struct {
		s                 string
		characters, bytes int
		want              string
	}{
		{"ñandú", 5, 99, "ñandú"},
		{"ñandú", 4, 99, "ñan…"},
		{"ñandú", 99, 7, "ñandú"},
		{"ñandúe", 99, 7, "ñan…"},
		{"abc def", 5, 99, "abc…"},
		{"ne\u0301e", 3, 99, "n…"}, // the accent is not cut off its letter
		{"\u0301\u0301\u0301", 2, 99, "…"},
	}
	for _, test := range tests {
		got := shorten(test.s, test.characters, test.bytes)
		if got != test.want || !utf8.ValidString(got) || len(got) > test.bytes {
			t.Errorf("shorten(%q, %d, %d) = %q, want %q", test.s, test.characters, test.bytes, got, test.want)
		}
	}
}

// Every entry of the real list against narcotics and organised crime makes an alert that can be sent.
func TestSampleAlerts(t *testing.T) {
	dir, registered := sample(t), lists(t)
	start := time.Now()
	counts, alerts, problems, largest, most := map[string]int{}, 0, 0, 0, 0
	for a, err := range OFACAlerts(dir, now(), func(Problem) { problems++ }) {
		if err != nil {
			t.Fatal(err)
		}
		alerts++
		counts["category "+a.Category.String()]++
		counts["type "+a.Notice.GetType()]++
		size := proto.Size(a.Notice)
		for _, s := range a.Subjects {
			size += proto.Size(s)
			most = max(most, len(s.GetAttributes()))
		}
		largest = max(largest, size)
		for _, f := range message.CheckAlert(a.AlertCompose, registered, now(), a.Expires) {
			counts[string(f.Level)+" "+f.Field]++
			if f.Level == message.LevelError {
				t.Errorf("%v: %s: %s", a.Notice.GetReferences(), f.Field, f.Text)
			}
		}
		if !nameStands(a.Subjects[0], a.Notice.GetTitle()) {
			t.Errorf("%v: the title is not the name of the subject", a.Notice.GetReferences())
		}
	}
	t.Logf("%d alerts, %d rows reported, largest %d bytes, at most %d attributes, %v in %v", alerts, problems, largest, most, counts, time.Since(start).Round(time.Millisecond))
	if alerts != 2489 || problems != 10 {
		t.Errorf("%d alerts and %d problems, want 2489 and 10", alerts, problems)
	}
}

func nameStands(s *formatv1.Subject, title string) bool {
	name := s.GetAttributes()[0].GetValue()
	return name == title || strings.HasPrefix(name, strings.TrimSuffix(title, "…"))
}
