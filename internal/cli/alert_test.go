package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/format"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// checkAlertDraft is what the node finds in a draft.
func checkAlertDraft(t *testing.T, d *operatorv1.AlertDraft) []message.Finding {
	t.Helper()
	w := testWords(t)
	category, err := authority.ParseCategory(d.GetCategory())
	if err != nil {
		t.Fatal(err)
	}
	c := message.AlertCompose{
		Category: category, Urgency: message.Urgency(d.GetUrgency()), Status: message.OperationalStatus(d.GetStatus()),
		Distribution: message.Distribution(d.GetDistribution()), Notice: d.GetNotice(), Subjects: d.GetSubjects(), Files: d.GetFiles(),
	}
	expires := testClock().Add(message.AlertLife)
	if d.GetExpires() != 0 {
		expires = unixTime(d.GetExpires())
	}
	return message.CheckAlert(c, w.lists, testClock(), expires)
}

func TestAlertExampleIsSendable(t *testing.T) {
	a := testApp(t)
	a.streams.In = strings.NewReader(exampleAlert)
	d, err := a.readAlert("-")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range checkAlertDraft(t, d) {
		if f.Level == message.LevelError {
			t.Errorf("%s: %s", f.Field, f.Text)
		}
	}
	if d.GetNotice().GetFrom() == 0 || d.GetExpires() == 0 {
		t.Errorf("dates were not read: %v", d)
	}
}

// alertOf is what "alert publish" or "alert update" would send for these flags, onto what stands.
func alertOf(t *testing.T, base *operatorv1.AlertDraft, args ...string) (*operatorv1.AlertDraft, error) {
	t.Helper()
	a := testApp(t)
	c := a.publishAlertCommand()
	f := new(alertFlags)
	c.ResetFlags()
	f.register(c.Flags())
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if base != nil {
		if err := f.onto(base, c.LocalNonPersistentFlags()); err != nil {
			t.Fatal(err)
		}
	}
	return a.composedAlert(c, f, testWords(t))
}

func alertArgs() []string {
	return []string{
		"--category=drugs.trafficking", "--type=transport-of-interest", "--title=Vessel", "--summary=A grey vessel", "--evaluation=eu4x4:B2",
		"--legal-basis=untoc,domestic", "--subject=vessel;role=unknown;reason=seen;name=Ana", "--subject=person;role=unknown;reason=seen;name=Eva",
		"--attest=LAWFUL_BASIS,NECESSARY_AND_PROPORTIONATE", "--attest=NEUTRAL", "--attest=NO_REFUGEE", "--state=jm", "--state=ht", "--exercise",
		"--urgency=URGENT", "--urgency-reason=OTHER: it sails", "--expires=30d", "--begins=2031-04-01", "--text=es;title=Buque;summary=Un buque gris",
		"--place=jm;name=Kingston;kind=port;at=17.96,-76.79;precision=2000", "--phone=+52 55", "--handling=H1+H2", "--tlp=AMBER",
	}
}

func TestAlertFromFlags(t *testing.T) {
	d, err := alertOf(t, nil, alertArgs()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range checkAlertDraft(t, d) {
		if f.Level == message.LevelError {
			t.Errorf("%s: %s", f.Field, f.Text)
		}
	}
	n := d.GetNotice()
	if d.GetStatus() != "EXERCISE" || d.GetDistribution() != "CATEGORY" || !slices.Equal(d.GetStates(), []string{"jm", "ht"}) || len(d.GetSubjects()) != 2 {
		t.Errorf("got %v", d)
	}
	if got, want := n.GetPlaces()[0], (&formatv1.Place{State: "jm", Name: "Kingston", Kind: "port", LatitudeE6: 17960000, LongitudeE6: -76790000, PrecisionM: 2000}); !proto.Equal(got, want) {
		t.Errorf("place %v, want %v", got, want)
	}
	if got, want := n.GetTexts()[0], (&formatv1.AlertText{Language: "es", Title: "Buque", Summary: "Un buque gris", Translation: "human"}); !proto.Equal(got, want) {
		t.Errorf("text %v, want %v", got, want)
	}
	if n.GetUrgencyReason().GetText() != "it sails" || n.GetLanguage() != "en" || len(n.GetAttestations()) != 4 {
		t.Errorf("notice %v", n)
	}
}

func TestAddresseesMakeADirectedAlert(t *testing.T) {
	d, err := alertOf(t, nil, "--to=jm/jcf", "--category=drugs.trafficking")
	if err != nil || d.GetDistribution() != "DIRECTED" {
		t.Errorf("%v %v", d, err)
	}
}

// TestUpdateChangesOnlyWhatIsNamed: nothing that was said gets lost on the way to the next version.
func TestUpdateChangesOnlyWhatIsNamed(t *testing.T) {
	base, err := alertOf(t, nil, alertArgs()...)
	if err != nil {
		t.Fatal(err)
	}
	same, err := alertOf(t, base)
	if err != nil || !proto.Equal(base, same) {
		t.Fatalf("%v\ngot  %v\nwant %v", err, same, base)
	}
	got, err := alertOf(t, base, "--severity=SEVERE", "--state=br", "--subject=vessel;role=unknown;reason=seen;name=Leo", "--line-24-7=+1", "--tlp=GREEN")
	if err != nil {
		t.Fatal(err)
	}
	want := proto.CloneOf(base)
	want.States, want.Notice.Severity, want.Notice.CallBack.Line_24_7, want.Notice.Limits.Tlp = []string{"br"}, "SEVERE", "+1", "GREEN"
	want.Subjects = []*formatv1.Subject{{Type: "vessel", Role: "unknown", Reason: "seen", Attributes: []*formatv1.Attribute{{Name: "name", Value: "Leo"}}}}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestDraftIsNotWidenedUnseen: the node does not say to which states a draft goes.
func TestDraftIsNotWidenedUnseen(t *testing.T) {
	a := testApp(t)
	stands := &operatorv1.GetAlertResponse{Summary: &operatorv1.AlertSummary{Category: "drugs.trafficking"}, Notice: &formatv1.AlertNotice{Title: "t"}}
	for _, try := range []struct {
		args []string
		ok   bool
	}{{nil, false}, {[]string{"--state=jm"}, true}, {[]string{"--state=all"}, true}, {[]string{"--to=jm/jcf"}, true}} {
		f := new(alertFlags)
		c := a.updateAlertCommand()
		c.ResetFlags()
		f.register(c.Flags())
		if err := c.ParseFlags(try.args); err != nil {
			t.Fatal(err)
		}
		d, err := a.changed(c, f, stands, testWords(t))
		if (err == nil) != try.ok {
			t.Errorf("%v: %v", try.args, err)
		}
		if slices.Contains(d.GetStates(), "all") {
			t.Errorf("%v: states %v", try.args, d.GetStates())
		}
	}
}

// TestFilesDoNotGetLost: larger files are attached anew, or left out by word.
func TestFilesDoNotGetLost(t *testing.T) {
	a := testApp(t)
	stands := &operatorv1.GetAlertResponse{
		Summary: &operatorv1.AlertSummary{Version: 1}, Notice: &formatv1.AlertNotice{Title: "t"}, Attachments: []*operatorv1.AttachmentInfo{{Name: "big.bin"}},
		Files: []*formatv1.File{{Name: "small.txt"}},
	}
	c := a.updateAlertCommand()
	if _, err := a.changed(c, new(alertFlags), stands, testWords(t)); !fault.Is(err, fault.Usage) {
		t.Errorf("files were dropped without a word: %v", err)
	}
	d, err := a.changed(c, &alertFlags{dropFiles: true}, stands, testWords(t))
	if err != nil || len(d.GetFiles()) != 0 {
		t.Errorf("%v %v", d, err)
	}
	d, err = a.changed(c, &alertFlags{attach: []string{"x"}}, stands, testWords(t))
	if err != nil || len(d.GetFiles()) != 1 {
		t.Errorf("%v %v", d, err)
	}
}

func TestPartsRefuse(t *testing.T) {
	for _, s := range []string{"jm;name", "jm;at=91,0", "jm;at=1", "jm;at=NaN,1", "jm;precision=0", "jm;precision=-1", "jm;colour=red", "jm;name=a;name=b", `jm;name=\`} {
		if p, err := parsePlace(s); !fault.Is(err, fault.Usage) || fault.As(err).Hint == "" {
			t.Errorf("place %q: %v %v", s, p, err)
		}
	}
	for _, s := range []string{"es;title", "es;text=x", "es;title=a;title=b"} {
		if p, err := parseText(s); !fault.Is(err, fault.Usage) {
			t.Errorf("text %q: %v %v", s, p, err)
		}
	}
	if p, err := parsePlace(";at=-12.5,-80"); err != nil || p.GetLatitudeE6() != -12500000 {
		t.Errorf("at sea: %v %v", p, err)
	}
}

func TestSmallFilesGoInside(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, exact, over := file("empty", 0), file("exact.txt", smallFile), file("over", smallFile+1)
	d := new(operatorv1.AlertDraft)
	large, err := enclose(d, []string{empty, exact, over, exact, exact, exact, exact})
	if err != nil || !slices.Equal(large, []string{empty, over, exact}) || len(d.GetFiles()) != smallFiles/smallFile {
		t.Errorf("%v: outside %v, inside %d", err, large, len(d.GetFiles()))
	}
	if f := d.GetFiles()[0]; f.GetName() != "exact.txt" || f.GetMediaType() != "text/plain" {
		t.Errorf("file %v", f)
	}
	if _, err := enclose(d, []string{dir}); !fault.Is(err, fault.Usage) {
		t.Errorf("a folder was attached: %v", err)
	}
}

func alertShown(t *testing.T, r *operatorv1.GetAlertResponse, lang string) string {
	t.Helper()
	w := testWords(t)
	parsed, err := authority.ParseLanguage(lang)
	if err != nil {
		t.Fatal(err)
	}
	w.a.lang = parsed
	var b strings.Builder
	sheet{&b, w}.alert(r)
	return b.String()
}

func sampleAlert(t *testing.T) *operatorv1.GetAlertResponse {
	d, err := alertOf(t, nil, alertArgs()...)
	if err != nil {
		t.Fatal(err)
	}
	d.Notice.Type, d.Notice.ActionRequested, d.Notice.Limits.Handling, d.Notice.Limits.HandlingText = "wanted-reference", "STOP_AND_CONTACT", []string{"H1", "H3"}, "only the desk"
	return &operatorv1.GetAlertResponse{
		Summary: &operatorv1.AlertSummary{
			Id: "0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Reference: "mx-fgr-alert-2031-000007", Issuer: "mx/fgr", Own: "jm/jcf", Direction: "received",
			Type: "wanted-reference", Category: "drugs.trafficking", Urgency: "URGENT", OperationalStatus: "ACTUAL", Status: "UPDATED", Title: "Vessel\x1b[2J",
			Version: 2, Created: 1933000000000, Expires: 1934000000000, Mark: "HIT", Distribution: "CATEGORY",
		},
		Notice: d.GetNotice(), Subjects: d.GetSubjects(), Files: []*formatv1.File{{Name: "photo.jpg", MediaType: "image/jpeg", Data: []byte("x")}},
		Attachments: []*operatorv1.AttachmentInfo{{Index: 0, Name: "film.bin", Size: 9, Digest: "9f86"}},
		Steps: []*operatorv1.AlertStep{
			{Kind: "ALERT", Sender: "mx/fgr", Version: 1}, {Kind: "ALERT_UPDATE", Sender: "mx/fgr", Version: 2},
			{Kind: "ALERT_FEEDBACK", Sender: "jm/jcf", Feedback: &formatv1.Feedback{Mark: "HIT", Text: "berthed here", Request: make([]byte, 16)}},
		},
	}
}

func TestAlertSaysItAll(t *testing.T) {
	got := alertShown(t, sampleAlert(t), "en")
	for _, want := range []string{
		"mx-fgr-alert-2031-000007", "mx/fgr: Vessel", "[UPDATED]", "NOT EVIDENCE", "limit in words:\n  only the desk", "[STOP_AND_CONTACT], subject to the law of the receiving state",
		"never itself a ground for arrest", "B2 = ", "Kingston, Jamaica, port, 17.96,-76.79 within 2000 m", "Buque\n    Un buque gris", "[LAWFUL_BASIS]", "subject 2: person",
		"i0     photo.jpg", "0      film.bin", "berthed here", "Hit [HIT]", "update from mx/fgr",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") || strings.Contains(got, "***") || strings.Contains(got, "LOCKED") {
		t.Errorf("an escape sequence, a mark or a lock that is not there:\n%s", got)
	}
}

// TestActionIsSubjectToLaw: beside the action, in the reader's language. Domain 4.9.
func TestActionIsSubjectToLaw(t *testing.T) {
	for lang, law := range map[string]string{
		"en": "subject to the law of the receiving state", "es": "con sujeción a la ley del Estado receptor",
		"pt": "sujeito à lei do Estado receptor", "fr": "sous réserve de la loi de l'État destinataire",
	} {
		got := alertShown(t, sampleAlert(t), lang)
		line := ""
		for _, l := range strings.Split(got, "\n") {
			if strings.Contains(l, "STOP_AND_CONTACT") {
				line = l
			}
		}
		if !strings.Contains(line, law) {
			t.Errorf("%s: %q", lang, line)
		}
	}
}

func TestExerciseAlertCannotBeMistaken(t *testing.T) {
	for status, labels := range map[string]map[string]string{
		"EXERCISE": {"en": "EXERCISE", "es": "EJERCICIO", "pt": "EXERCÍCIO", "fr": "EXERCICE"}, "TEST": {"es": "PRUEBA TÉCNICA"},
	} {
		for lang, label := range labels {
			r := sampleAlert(t)
			r.Summary.OperationalStatus = status
			lines := strings.Split(strings.TrimSpace(alertShown(t, r, lang)), "\n")
			w := testWords(t)
			w.a.lang, _ = authority.ParseLanguage(lang)
			var list, line strings.Builder
			w.alertTable(&list, []*operatorv1.AlertSummary{{OperationalStatus: "ACTUAL", Title: "*** EXERCISE *** real"}, r.Summary})
			w.change(&line, r)
			rows := strings.Split(strings.TrimRight(list.String(), "\n"), "\n")
			for _, l := range []string{lines[0], lines[len(lines)-1], rows[2], line.String()} {
				if !strings.HasPrefix(l, "*** "+status) || !strings.Contains(l, label) {
					t.Errorf("%s in %s: line %q", status, lang, l)
				}
			}
			if strings.Count(rows[2], label) < 2 {
				t.Errorf("%s in %s: no column says so: %q", status, lang, rows[2])
			}
			if strings.Contains(rows[1], "***") {
				t.Errorf("a real alert looks like an exercise: %q", rows[1])
			}
		}
	}
}

func TestLockedCopySaysSo(t *testing.T) {
	r := sampleAlert(t)
	r.Notice, r.Subjects, r.Files, r.Attachments, r.Summary.Status = nil, nil, nil, nil, "CANCELLED"
	r.Steps = append(r.Steps, &operatorv1.AlertStep{Kind: "ALERT_CANCEL", Sender: "mx/fgr", Cancellation: &formatv1.Cancellation{Reason: "ERROR", Text: "another vessel", Version: 2}})
	got := alertShown(t, r, "en")
	for _, want := range []string{"LOCKED", "CANCELLED: Issued in error [ERROR]", "another vessel"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "ACTION REQUESTED") {
		t.Errorf("a locked copy asks for an action:\n%s", got)
	}
	r.Summary.Status = "ISSUED"
	if got := alertShown(t, r, "en"); strings.Contains(got, "LOCKED") || !strings.Contains(got, "CONTENT NOT AVAILABLE") {
		t.Errorf("an alert in force that does not open:\n%s", got)
	}
}

func TestRestrictionComesFirst(t *testing.T) {
	a := testApp(t)
	l := &formatv1.Limits{Handling: []string{"H3"}, HandlingText: "only the desk"}
	if err := a.restricted(t.Context(), l); !fault.Is(err, fault.Usage) || !strings.Contains(a.streams.Err.(*bytes.Buffer).String(), "only the desk") {
		t.Errorf("read without a confirmation: %v", err)
	}
	a.yes = true
	if err := a.restricted(t.Context(), l); err != nil {
		t.Error(err)
	}
}

func TestEntriesHaveNames(t *testing.T) {
	listed := format.Alert{AlertCompose: message.AlertCompose{Notice: &formatv1.AlertNotice{Title: "a", References: []string{"ofac-sdn:7"}}}}
	own := format.Alert{AlertCompose: message.AlertCompose{Notice: &formatv1.AlertNotice{Title: "a", References: []string{"INTERPOL 1"}}}}
	other := format.Alert{AlertCompose: message.AlertCompose{Notice: &formatv1.AlertNotice{Title: "b", References: []string{"INTERPOL 1"}}}}
	first, second := names{}, names{}
	var a, b []string
	for _, x := range []format.Alert{listed, own, own, other} {
		a, b = append(a, first.of(x)), append(b, second.of(x))
	}
	if !slices.Equal(a, b) {
		t.Errorf("the second run calls them otherwise: %v, %v", a, b)
	}
	if a[0] != "ofac-sdn:7" || a[2] != a[1]+"#2" || a[3] == a[1] {
		t.Errorf("names %v", a)
	}
}

func TestMemo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resume")
	m, err := openMemo(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []remembered{{"a", "1", "DRAFT"}, {"b", "2", "DRAFT"}, {"a", "1", "ISSUED"}} {
		if err := m.put(r, true); err != nil {
			t.Fatal(err)
		}
	}
	m.close()
	torn, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := torn.WriteString(`{"entry":"c","id":`); err != nil {
		t.Fatal(err)
	}
	torn.Close()
	for range 2 { // the torn line is gone for good
		if m, err = openMemo(path); err != nil {
			t.Fatal(err)
		}
		if m.of("a").State != "ISSUED" || m.of("b").State != "DRAFT" || m.of("c") != (remembered{}) {
			t.Errorf("remembered %v", m.all)
		}
		if err := m.put(remembered{"d", "4", "ISSUED"}, false); err != nil {
			t.Fatal(err)
		}
		m.close()
	}
	if err := os.WriteFile(path, []byte("not a memo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openMemo(path); !fault.Is(err, fault.Usage) {
		t.Errorf("a stranger's file was taken: %v", err)
	}
}

func TestCursorFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	a := testApp(t)
	if err := a.keepCursor(path, "117"); err != nil {
		t.Fatal(err)
	}
	if got, err := startOfWatch(t.Context(), nil, watchFlags{file: path, all: true}); err != nil || got != "117" {
		t.Errorf("begins at %q: %v", got, err)
	}
	if err := os.WriteFile(path, []byte("soon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := startOfWatch(t.Context(), nil, watchFlags{file: path}); !fault.Is(err, fault.Usage) {
		t.Errorf("a file without cursor was taken: %v", err)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	if got, err := startOfWatch(t.Context(), nil, watchFlags{file: fresh, cursor: "9"}); err != nil || got != "9" {
		t.Errorf("begins at %q: %v", got, err)
	}
	if b, err := os.ReadFile(fresh); err != nil || string(b) != "9\n" {
		t.Errorf("the beginning is not kept: %q %v", b, err)
	}
}

func TestCrowdStopsWhenTheSessionEnds(t *testing.T) {
	team := gather(t.Context(), 3)
	ended := fault.New(fault.Unauthenticated, "no-session", "", "ended")
	var ran atomic.Int32
	var refused bool
	for range 1000 {
		if !team.add(func(context.Context) error { ran.Add(1); return ended }) {
			refused = true
			break
		}
	}
	if err := team.wait(); !errors.Is(err, ended) || !refused || ran.Load() > 10 {
		t.Errorf("ran %d times, refused %v: %v", ran.Load(), refused, err)
	}
	team = gather(t.Context(), 3)
	ran.Store(0)
	for range 100 {
		team.add(func(context.Context) error { ran.Add(1); return fault.New(fault.Invalid, "", "", "bad") })
	}
	if err := team.wait(); err != nil || ran.Load() != 100 {
		t.Errorf("ran %d times: %v", ran.Load(), err)
	}
}

func TestPatiently(t *testing.T) {
	tries := 0
	err := patiently(t.Context(), func() error {
		if tries++; tries < 3 {
			return fault.New(fault.Retry, "busy", "", "later")
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("%d tries: %v", tries, err)
	}
	err = patiently(t.Context(), func() error { tries++; return fault.New(fault.Denied, "", "", "no") })
	if !fault.Is(err, fault.Denied) || tries != 4 {
		t.Errorf("%d tries: %v", tries, err)
	}
}

func FuzzAlertFile(f *testing.F) {
	f.Add([]byte(exampleAlert))
	f.Add([]byte(`{"notice":{"from":"2031-04-03"},"expires":"30d"}`))
	f.Add([]byte("notice: {}\nto: [jm/jcf]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := testApp(t)
		a.streams.In = bytes.NewReader(b)
		if d, err := a.readAlert("-"); (err == nil) == (d == nil) {
			t.Errorf("%v %v", d, err)
		}
	})
}

// TestDoctorKnowsTheBus: what the monitor says of the road of alerts comes with what to do.
func TestDoctorKnowsTheBus(t *testing.T) {
	found := diagnose(&operatorv1.GetStatusResponse{Freshness: "fresh", Components: []*operatorv1.Component{
		{Name: "bus", Text: "not connected"}, {Name: "proofs", Text: "1 kept"}, {Name: "nudge", Text: "no mail server"},
	}}, testClock())
	general := advice("something else")
	if len(found) != 3 {
		t.Fatalf("found %v", found)
	}
	for _, d := range found {
		if d.State != doctor.Failing || d.Do == general {
			t.Errorf("%+v", d)
		}
	}
}
