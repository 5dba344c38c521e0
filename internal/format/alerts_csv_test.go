package format

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func readAlerts(r io.Reader) (out []Alert, problems []Problem, err error) {
	for a, err := range ReadAlerts(r, "a.csv", func(p Problem) { problems = append(problems, p) }) {
		if err != nil {
			return out, problems, err
		}
		out = append(out, a)
	}
	return out, problems, nil
}

func writeAlerts(t testing.TB, alerts ...Alert) (string, []Problem) {
	t.Helper()
	var b strings.Builder
	var problems []Problem
	if err := WriteAlerts(&b, slices.Values(alerts), func(p Problem) { problems = append(problems, p) }); err != nil {
		t.Fatal(err)
	}
	return b.String(), problems
}

func same(a, b Alert) bool {
	return a.Category == b.Category && a.Urgency == b.Urgency && a.Status == b.Status && a.Distribution == b.Distribution &&
		slices.Equal(a.States, b.States) && a.Expires.Equal(b.Expires) && proto.Equal(a.Notice, b.Notice) &&
		slices.EqualFunc(a.Subjects, b.Subjects, func(x, y *formatv1.Subject) bool { return proto.Equal(x, y) })
}

// anyText is text with all that a table, a cell or a spreadsheet might trip over.
func anyText() *rapid.Generator[string] {
	special := rapid.SampledFrom([]rune("=+-@'\",;|~/\\\n\t \u00a0＝ñé漢\U0001F6A2\u0301\u202e\ufeff#"))
	return rapid.StringOf(rapid.OneOf(special, rapid.RuneFrom([]rune("abcXYZ019")))).Filter(isText)
}

func anyWord() *rapid.Generator[string] {
	return anyText().Filter(func(s string) bool { return s != "" })
}

func oneOf[T any](t *rapid.T, values ...T) T { return rapid.SampledFrom(values).Draw(t, "one of") }

func anyAlert(t *rapid.T) Alert {
	text := func() string { return anyText().Draw(t, "text") }
	several := func() []string { return rapid.SliceOfN(anyWord(), 0, 3).Draw(t, "list") }
	moment := func() int64 {
		return oneOf[int64](t, 0, 1, 1_700_000_000_000, 1_700_000_000_123, 253_402_300_799_999, -1)
	}
	parsed, _ := authority.ParseCategory("drugs.trafficking")
	mexico, _ := authority.ParseState("mx")
	body, _ := authority.ParseState("x-rss")
	n := &formatv1.AlertNotice{
		Version: 1, Type: text(), Title: text(), Summary: text(), Language: text(), Details: text(), Severity: text(), Certainty: text(),
		ActionRequested: text(), Evaluation: text(), Desk: text(), Tags: several(), References: several(), LegalBasis: several(),
		Attestations: several(), SecondaryCategories: several(), From: moment(), To: moment(), ValidFrom: moment(), ReviewAt: moment(),
	}
	for range rapid.IntRange(0, 2).Draw(t, "texts") {
		n.Texts = append(n.Texts, &formatv1.AlertText{Language: text(), Translation: text(), Title: text(), Summary: text()})
		n.Places = append(n.Places, &formatv1.Place{
			State: text(), Region: text(), Name: text(), Kind: text(), PrecisionM: rapid.Uint32().Draw(t, "precision"),
			LatitudeE6: rapid.Int64Range(-90e6, 90e6).Draw(t, "latitude"), LongitudeE6: rapid.Int64Range(-180e6, 180e6).Draw(t, "longitude"),
		})
	}
	if rapid.Bool().Draw(t, "limits") {
		n.Limits = &formatv1.Limits{Handling: several(), HandlingText: text(), Tlp: oneOf(t, "AMBER", "RED"), Pap: text(), DoNotInformSubject: rapid.Bool().Draw(t, "silence")}
		n.UrgencyReason = &formatv1.Reason{Code: "OTHER", Text: text()}
		n.CallBack = &formatv1.CallBack{Phone: "+52", Hours: text(), TimeZone: text(), Line_24_7: text()}
	}
	return Alert{
		AlertCompose: message.AlertCompose{
			Category: parsed, Urgency: oneOf(t, message.Routine, message.Immediate), Status: oneOf(t, message.Actual, message.Exercise),
			Distribution: oneOf(t, message.ByCategory, message.AllNPC, message.Directed), Notice: n, Subjects: rapid.SliceOfN(rapid.Custom(anySubject), 0, 4).Draw(t, "subjects"),
		},
		States:  oneOf(t, nil, []authority.State{mexico}, []authority.State{mexico, body}),
		Expires: oneOf(t, time.Time{}, now(), now().Add(1)),
	}
}

func anySubject(t *rapid.T) *formatv1.Subject {
	text := func() string { return anyText().Draw(t, "text") }
	s := &formatv1.Subject{Type: anyWord().Draw(t, "type"), Role: text(), Reason: text(), Minor: text(), Confidence: text()}
	for range rapid.IntRange(0, 3).Draw(t, "attributes") {
		s.Attributes = append(s.Attributes, &formatv1.Attribute{Name: anyWord().Draw(t, "name"), Value: text(), Kind: text(), Country: text(), Note: text()})
	}
	return s
}

// What is written is read back the same, whatever people write; and no spreadsheet finds a formula in it.
func TestAlertsRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		alerts := rapid.SliceOfN(rapid.Custom(anyAlert), 0, 3).Draw(rt, "alerts")
		table, problems := writeAlerts(t, alerts...)
		if len(problems) > 0 {
			rt.Fatalf("not written: %v", problems)
		}
		got, problems, err := readAlerts(strings.NewReader(table))
		if err != nil || len(problems) > 0 || !slices.EqualFunc(got, alerts, same) {
			rt.Fatalf("%v %v\n%s\n got %v\nwant %v", err, problems, table, got, alerts)
		}
		for rec := range splitTable(strings.NewReader(table)) {
			for _, cell := range rec.fields {
				if cell != "" && strings.ContainsAny(strings.TrimLeft(cell, " \u00a0")[:min(1, len(strings.TrimLeft(cell, " \u00a0")))], "=+-@\t") {
					rt.Fatalf("the cell %q could be a formula", cell)
				}
			}
		}
	})
}

func TestFormulas(t *testing.T) {
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+52 55": "'+52 55", "-5": "'-5", "@cuenta": "'@cuenta", " =1": "' =1", "\t=1": "'\t=1", "＝1": "'＝1",
		"'=1": "''=1", "'ABD": "''ABD", "a=1": "a=1", "": "", "ñ": "ñ",
	} {
		if got := guard(cell); got != want || unguard(got) != cell {
			t.Errorf("guard(%q) = %q, want %q and back", cell, got, want)
		}
	}
	// As a person types it: no guard, so nothing is taken away.
	if got := unguard("'Abd"); got != "'Abd" {
		t.Errorf("an apostrophe of a name was taken away: %q", got)
	}
}

const tableHead = "alert,category,type,urgency,status,distribution,title,subject_type,attributes\n"

// row is a row of a small table.
func tableRow(number any, rest string) string {
	return fmt.Sprint(number, ",drugs.trafficking,threat,ROUTINE,ACTUAL,CATEGORY,", rest, "\n")
}

func TestTableByHand(t *testing.T) {
	text := byteOrderMark + tableHead + tableRow(1, `Ana,person,name/alias/mx=La Flaca~a.k.a.|address=Calle 5 #2 = esquina`) + "\r\n" +
		"1,,,,,,,vehicle,plate//mx=AAA\n" + "7,drugs.trafficking,trend,URGENT,TEST,ALL_NPC,\"dos\r\nlíneas\",,\n"
	got, problems, err := readAlerts(strings.NewReader(text))
	if err != nil || len(problems) > 0 || len(got) != 2 {
		t.Fatalf("%d alerts, %v, %v; want 2", len(got), problems, err)
	}
	if s := got[0].Subjects; len(s) != 2 || !slices.Equal(say(s[0].GetAttributes()), []string{"name/alias=La Flaca@mx (a.k.a.)", "address=Calle 5 #2 = esquina"}) ||
		!slices.Equal(say(s[1].GetAttributes()), []string{"plate=AAA@mx"}) {
		t.Errorf("subjects = %v", s)
	}
	if a := got[1]; a.Notice.GetTitle() != "dos\nlíneas" || a.Status != message.Test || a.Distribution != message.AllNPC || len(a.Subjects) != 0 || !a.Expires.IsZero() {
		t.Errorf("alert = %v", a)
	}
	semicolons, _, err := readAlerts(strings.NewReader(strings.ReplaceAll(strings.ReplaceAll(tableHead+tableRow(1, "a,,"), ",", ";"), "CATEGORY", "DIRECTED")))
	if err != nil || len(semicolons) != 1 || semicolons[0].Distribution != message.Directed {
		t.Errorf("with semicolons: %v, %v", semicolons, err)
	}
	white, _, err := readAlerts(strings.NewReader(strings.TrimSuffix(tableHead, "\n") + ",tlp,expires\n" + strings.TrimSuffix(tableRow(1, "a,,"), "\n") + ",WHITE,2026-05-01\n"))
	if err != nil || len(white) != 1 || white[0].Notice.GetLimits().GetTlp() != "CLEAR" || formatTime(white[0].Expires) != "2026-05-01T00:00:00Z" {
		t.Errorf("TLP:WHITE until a date: %v, %v", white, err)
	}
}

// A row that cannot be read is reported with its line, and an alert is read whole or not at all.
func TestTableProblems(t *testing.T) {
	good := tableRow(9, "good,person,name=Z")
	for name, test := range map[string]struct {
		rows   string
		line   int
		reason string
		others int // further reports
	}{
		"no number":           {tableRow("x", "a,,"), 2, "not a positive number", 0},
		"number zero":         {tableRow(0, "a,,"), 2, "not a positive number", 0},
		"too few cells":       {"1,drugs.trafficking\n", 2, "another number of cells", 0},
		"bad category":        {strings.Replace(tableRow(1, "a,,"), "drugs.trafficking", "Drugs!", 1), 2, "the cell category", 0},
		"no category":         {strings.Replace(tableRow(1, "a,,"), "drugs.trafficking", "", 1), 2, "must be filled in", 0},
		"bad urgency":         {strings.Replace(tableRow(1, "a,,"), "ROUTINE", "SOON", 1), 2, "the cell urgency", 0},
		"no status":           {strings.Replace(tableRow(1, "a,,"), "ACTUAL", "", 1), 2, "must be filled in", 0},
		"attributes":          {tableRow(1, "a,person,Ana"), 2, "the cell attributes", 0},
		"escape":              {tableRow(1, `a,person,name=\x`), 2, "the cell attributes", 0},
		"path too long":       {tableRow(1, "a,person,name/a/mx/x=Ana"), 2, "the cell attributes", 0},
		"not UTF-8":           {tableRow(1, "a\xff,,"), 2, "not UTF-8", 0},
		"control character":   {tableRow(1, "a\x1b,,"), 2, "control character", 0},
		"stray quote":         {tableRow(1, `a"b,,`), 2, "quote is misplaced", 0},
		"open quote":          {tableRow(1, `"a,,`) + tableRow(2, `"b",,`), 2, "quote is misplaced", 0},
		"swallowed row":       {tableRow(1, `"a,,`) + tableRow(2, `"b",,`) + tableRow(2, `"b",,`), 2, "lines 3 to 3 are lost", 1},
		"long row":            {tableRow(1, strings.Repeat("x", maxRow)+",,"), 2, "too long", 0},
		"long over lines":     {tableRow(1, `"`+strings.Repeat(strings.Repeat("x", 999)+"\n", 70)+`x",,`), 2, "too long", 5},
		"second row":          {tableRow(1, "a,person,name=A") + "1,,,,,,,person,B\n", 3, "its alert is left out", 0},
		"second row differs":  {tableRow(1, "a,person,name=A") + "1,,,URGENT,,,,person,name=B\n", 3, "differs", 0},
		"row behind a bad":    {tableRow(1, "a,person,A") + tableRow(1, "a,person,name=B"), 2, "its alert is left out", 1},
		"row behind a broken": {tableRow(1, `"a"b,,`) + tableRow(1, "a,person,name=B"), 2, "quote is misplaced", 1},
		"unknown row":         {tableRow(1, "a,person,name=A") + ",x\n", 3, "the alert before it is left out", 0},
		"descending":          {tableRow(1, "a,,") + tableRow(5, "b,,") + tableRow(1, "c,,"), 4, "do not ascend", 0},
	} {
		got, problems, err := readAlerts(strings.NewReader(tableHead + test.rows + good))
		if err != nil || len(got) == 0 || got[len(got)-1].Notice.GetTitle() != "good" || name != "descending" && len(got) != 1 {
			t.Errorf("%s: %d alerts, %v; want the one behind", name, len(got), err)
		}
		if len(problems) != 1+test.others || problems[0].File != "a.csv" || problems[0].Line != test.line || !strings.Contains(problems[0].Reason, test.reason) {
			t.Errorf("%s: problems = %v, want %q in line %d and %d more", name, problems, test.reason, test.line, test.others)
		}
	}
	if got, problems, _ := readAlerts(strings.NewReader(tableHead + good + tableRow(10, `"open`))); len(got) != 1 || len(problems) != 1 || !strings.Contains(problems[0].Reason, "left open") {
		t.Errorf("open to the end: %d alerts, %v", len(got), problems)
	}
	rows := tableHead + tableRow(1, "a,,") + strings.Repeat("1,,,,,,,person,name=A\n", 257) + good
	if got, problems, _ := readAlerts(strings.NewReader(rows)); len(got) != 1 || len(problems) != 1 || problems[0].Line != 259 {
		t.Errorf("257 subjects: %d alerts, %v", len(got), problems)
	}
}

// endless is blank lines without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	p[len(p)-1] = '\n'
	return len(p), nil
}

func TestTableRefused(t *testing.T) {
	for name, test := range map[string]struct {
		r    io.Reader
		want fault.Kind
	}{
		"empty":          {strings.NewReader(""), fault.Invalid},
		"no header":      {strings.NewReader(tableRow(1, "a,,")), fault.Invalid},
		"unknown column": {strings.NewReader("alert,titel\n"), fault.Invalid},
		"twice":          {strings.NewReader("alert,title,title\n"), fault.Invalid},
		"no numbers":     {strings.NewReader("category,title\n"), fault.Invalid},
		"broken header":  {strings.NewReader("alert,\"ti\"tle\n"), fault.Invalid},
		"endless":        {io.MultiReader(strings.NewReader(tableHead), endless{}), fault.TooLarge},
	} {
		if got, _, err := readAlerts(test.r); len(got) > 0 || err == nil || !fault.Is(err, test.want) {
			t.Errorf("%s: %d alerts, %v; want %s", name, len(got), err, test.want)
		}
	}
}

// What a table cannot hold is told, and nothing of it written.
func TestNotWritten(t *testing.T) {
	entries, _ := read(t, os.DirFS("testdata/list"))
	for name, change := range map[string]func(*Alert){
		"nothing":         func(a *Alert) { a.Notice = nil },
		"no category":     func(a *Alert) { a.Category = authority.Category{} },
		"no status":       func(a *Alert) { a.Status = "" },
		"long row":        func(a *Alert) { a.Notice.Details = strings.Repeat("x", maxRow) },
		"not UTF-8":       func(a *Alert) { a.Notice.Details = "\xff" },
		"control":         func(a *Alert) { a.Subjects[1].Reason = "\x1b[2J" },
		"year 10000":      func(a *Alert) { a.Notice.From = 253_402_300_800_000 },
		"off the globe":   func(a *Alert) { a.Notice.Places = []*formatv1.Place{{LatitudeE6: 1000e6}} },
		"empty subject":   func(a *Alert) { a.Subjects = append(a.Subjects, &formatv1.Subject{}) },
		"257 subjects":    func(a *Alert) { a.Subjects = slices.Repeat(a.Subjects[:1], 257) },
		"nameless number": func(a *Alert) { a.Subjects[0].Attributes[0].Name = "" },
	} {
		first, _ := entries[0].Alert(now())
		good, _ := entries[1].Alert(now())
		change(&first)
		table, problems := writeAlerts(t, first, good)
		got, _, err := readAlerts(strings.NewReader(table))
		if err != nil || len(got) != 1 || !same(got[0], good) || len(problems) != 1 || problems[0].Line != 1 {
			t.Errorf("%s: %d alerts, %v, %v; want the other alert alone and one report", name, len(got), problems, err)
		}
	}
	a, _ := entries[1].Alert(now())
	a.Notice.Details = "a\r\nb\rc"
	table, _ := writeAlerts(t, a)
	if got, _, _ := readAlerts(strings.NewReader(table)); len(got) != 1 || got[0].Notice.GetDetails() != "a\nb\nc" {
		t.Errorf("line breaks: %v", got)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriteFails(t *testing.T) {
	if err := WriteAlerts(failing{}, slices.Values([]Alert(nil)), func(Problem) {}); !fault.Is(err, fault.Internal) {
		t.Errorf("error = %v", err)
	}
}

// The real list goes through a table and comes back the same.
func TestSampleThroughTable(t *testing.T) {
	var alerts []Alert
	for a, err := range OFACAlerts(sample(t), now(), func(Problem) {}) {
		if err != nil {
			t.Fatal(err)
		}
		alerts = append(alerts, a)
	}
	start := time.Now()
	table, problems := writeAlerts(t, alerts...)
	written := time.Since(start)
	got, unread, err := readAlerts(strings.NewReader(table))
	if err != nil || len(problems)+len(unread) > 0 || !slices.EqualFunc(got, alerts, same) {
		t.Errorf("%d of %d alerts came back, %v, %v, %v", len(got), len(alerts), problems, unread, err)
	}
	t.Logf("%d alerts, %d bytes, written in %v, read in %v", len(got), len(table), written.Round(time.Millisecond), (time.Since(start) - written).Round(time.Millisecond))
}

func FuzzReadAlerts(f *testing.F) {
	f.Add(tableHead + tableRow(1, `"a ""b"" c",person,name=A|address=B~c`) + "1,,,,,,,person,name=B\n" + tableRow(2, `"open`))
	f.Add("alert;category\n1;drugs.trafficking\n")
	f.Fuzz(func(t *testing.T, table string) {
		lines := strings.Count(table, "\n") + 1
		alerts, problems, err := readAlerts(strings.NewReader(table))
		if err != nil {
			return
		}
		for _, p := range problems {
			if p.Line < 2 || p.Line > lines || p.Reason == "" {
				t.Errorf("problem %v is nowhere in %d lines", p, lines)
			}
		}
		// What was read can be written, unless a cell grew by its escapes, and is then read back the same.
		again, unwritten := writeAlerts(t, alerts...)
		back, unread, err := readAlerts(strings.NewReader(again))
		if err != nil || len(unread) > 0 || len(back)+len(unwritten) != len(alerts) {
			t.Fatalf("%d of %d alerts came back, %d not written, %v, %v", len(back), len(alerts), len(unwritten), unread, err)
		}
		if len(unwritten) == 0 && !slices.EqualFunc(back, alerts, same) {
			t.Errorf("%v came back as %v", alerts, back)
		}
	})
}
