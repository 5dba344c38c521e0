package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"enlace": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		code := Main(ctx, os.Args[1:], Streams{os.Stdin, os.Stdout, os.Stderr}, time.Now, rand.Reader)
		stop()
		os.Exit(code)
	}})
}

// TestScripts runs the command line where no server is needed. Scripts against a network lie in testdata/network.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("ENLACE_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "mode": mode},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// exits CODE COMMAND... runs a command and compares its exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// mode MODE FILE compares a file's permissions.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

func testApp(t *testing.T) *app {
	t.Helper()
	lang, err := authority.ParseLanguage("en")
	if err != nil {
		t.Fatal(err)
	}
	return &app{streams: Streams{strings.NewReader(""), new(bytes.Buffer), new(bytes.Buffer)}, clock: testClock, random: rand.Reader,
		profile: "default", lang: lang, langTag: "en"}
}

func testClock() time.Time { return time.Date(2031, 4, 3, 12, 0, 0, 0, time.UTC) }

func testWords(t testing.TB) words {
	t.Helper()
	lang, err := authority.ParseLanguage("en")
	if err != nil {
		t.Fatal(err)
	}
	w, err := (&app{lang: lang, langTag: "en"}).words()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestEveryCommandExplainsItself walks the whole tree.
func TestEveryCommandExplainsItself(t *testing.T) {
	a := testApp(t)
	seen := 0
	_ = eachCommand(a.root(), func(c *cobra.Command) error {
		seen++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if !strings.Contains(c.Example, "enlace ") {
			t.Errorf("%s: example %q", c.CommandPath(), c.Example)
		}
		return nil
	})
	if seen < 40 {
		t.Errorf("only %d commands", seen)
	}
}

func TestExitCodes(t *testing.T) {
	for kind, want := range map[fault.Kind]int{
		fault.Internal: 1, fault.Usage: 2, fault.Denied: 3, fault.Invalid: 3, fault.Conflict: 3, fault.TooLarge: 3,
		fault.Unauthenticated: 3, fault.NotFound: 4, fault.Retry: 5,
	} {
		if got := exitCode(kind); got != want {
			t.Errorf("exit code of %s = %d, want %d", kind, got, want)
		}
	}
}

func TestParseSubject(t *testing.T) {
	w := testWords(t)
	got, err := parseSubject(`person;role=suspect;reason=drove\; fled;name/primary= Ana Nuñez ;identity-number/passport/mx=G1234567;minor=no;`, w)
	if err != nil {
		t.Fatal(err)
	}
	want := &formatv1.Subject{Type: "person", Role: "suspect", Reason: "drove; fled", Minor: "no", Attributes: []*formatv1.Attribute{
		{Name: "name", Kind: "primary", Value: "Ana Nuñez"},
		{Name: "identity-number", Kind: "passport", Country: "mx", Value: "G1234567"},
	}}
	if !proto.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	w := testWords(t)
	for name, tc := range map[string]struct{ in, want string }{
		"empty":             {"", "no subject of type"},
		"unknown type":      {"robot;name=x", "no subject of type"},
		"no value":          {"person;name=", "is not KEY=VALUE"},
		"no key":            {"person;=x", "is not KEY=VALUE"},
		"no equals":         {"person;name", "is not KEY=VALUE"},
		"empty field":       {"person;;name=x", "is not KEY=VALUE"},
		"unknown attribute": {"person;plate=x", "not an attribute of a person"},
		"unknown kind":      {"person;name/nick=x", "not a kind of name"},
		"country in full":   {"person;identity-number/passport/mexico=x", "not a country"},
		"capital country":   {"person;identity-number/passport/MX=x", "not a country"},
		"too many slashes":  {"person;name/alias/mx/x=y", "not an attribute"},
		"role twice":        {"person;role=suspect;role=victim", "given twice"},
		"open escape":       {`person;name=x\`, "backslash"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parseSubject(tc.in, w)
			if !fault.Is(err, fault.Usage) || !strings.Contains(fault.As(err).Say, tc.want) {
				t.Errorf("got %v, %v, want Usage with %q", s, err, tc.want)
			}
		})
	}
}

// FuzzSubject holds that whatever is accepted survives being written and read again.
func FuzzSubject(f *testing.F) {
	f.Add("person;role=suspect;reason=x;name=Ana Nuñez;identity-number/passport/mx=G1")
	f.Add(`vehicle;plate=A\;B\\C`)
	f.Add("vessel;imo=9074729;flag=pa;")
	w := testWords(f)
	f.Fuzz(func(t *testing.T, s string) {
		first, err := parseSubject(s, w)
		if err != nil {
			if !fault.Is(err, fault.Usage) {
				t.Fatalf("error of kind %s", fault.KindOf(err))
			}
			return
		}
		again, err := parseSubject(writeSubject(first), w)
		if err != nil || !proto.Equal(again, first) {
			t.Errorf("%q read as %v, written and read again %v, %v", s, first, again, err)
		}
	})
}

// writeSubject is the inverse of parseSubject.
func writeSubject(s *formatv1.Subject) string {
	escape := strings.NewReplacer(`\`, `\\`, `;`, `\;`)
	fields := []string{s.GetType()}
	for _, own := range []struct{ key, value string }{{"role", s.Role}, {"reason", s.Reason}, {"minor", s.Minor}, {"confidence", s.Confidence}} {
		if own.value != "" {
			fields = append(fields, own.key+"="+escape.Replace(own.value))
		}
	}
	for _, a := range s.GetAttributes() {
		key := strings.TrimRight(strings.Join([]string{a.Name, a.Kind, a.Country}, "/"), "/")
		fields = append(fields, key+"="+escape.Replace(a.Value))
	}
	return strings.Join(fields, ";")
}

// draftOf is what "request new" would send for these flags.
func draftOf(t *testing.T, args ...string) (*operatorv1.Draft, error) {
	t.Helper()
	a := testApp(t)
	c := a.newRequestCommand()
	f := new(draftFlags)
	c.ResetFlags()
	f.register(c.Flags())
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return a.composed(c, f, testWords(t))
}

func TestDraftFromFlags(t *testing.T) {
	d, err := draftOf(t, "--from=mx/fgr", "--to=jm/jcf", "--kind=identify-person", "--category=drugs.trafficking", "--urgency=URGENT",
		"--urgency-reason=OTHER: the ship sails", "--purpose=find him", "--facts=seen at the port on 3 April", "--necessity=no other way",
		"--legal-basis=untoc", "--stage=investigation", "--use=operational-lead", "--question=Who?", "--question=Where?",
		"--subject=person;role=suspect;reason=seen;name=Ana", "--needed-by=2d", "--needed-by-reason=court", "--phone=+52 55", "--exercise")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Status, "EXERCISE"; got != want {
		t.Errorf("status %q, want %q", got, want)
	}
	if got, want := d.Request.Limits, (&formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER+STRICT"}); !proto.Equal(got, want) {
		t.Errorf("limits %v, want %v", got, want)
	}
	if got, want := d.Request.NeededBy, testClock().Add(48*time.Hour).UnixMilli(); got != want {
		t.Errorf("needed by %d, want %d", got, want)
	}
	if got, want := d.Request.UrgencyReason, (&formatv1.Reason{Code: "OTHER", Text: "the ship sails"}); !proto.Equal(got, want) {
		t.Errorf("urgency reason %v, want %v", got, want)
	}
	checkSendable(t, d)
	if got := d.Asks[1]; got.Number != 2 || got.Kind != "identify-person" {
		t.Errorf("second question %v", got)
	}
}

func TestFileExcludesFlags(t *testing.T) {
	_, err := draftOf(t, "--file=example/request.yaml", "--title=x")
	if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), "--title") {
		t.Errorf("got %v, want Usage that names --title", err)
	}
}

// TestExampleIsSendable keeps the printed example true.
func TestExampleIsSendable(t *testing.T) {
	d, err := draftOf(t, "--file=example/request.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkSendable(t, d)
	if d.Status != "EXERCISE" {
		t.Errorf("status %q: whoever sends the example unread must send an exercise", d.Status)
	}
	if got, want := d.Asks[0].To, time.Date(2031, 4, 5, 23, 59, 0, 0, time.Local).UnixMilli(); got != want {
		t.Errorf("period ends %d, want %d", got, want)
	}
}

func checkSendable(t *testing.T, d *operatorv1.Draft) {
	t.Helper()
	w := testWords(t)
	urgency, err := message.ParseUrgency(d.Urgency)
	if err != nil {
		t.Fatal(err)
	}
	found := message.CheckRequest(message.Compose{Request: d.Request, Asks: d.Asks, Subjects: d.Subjects}, w.lists)
	found = append(found, message.CheckUrgency(urgency, d.Request)...)
	if !message.Sendable(found) {
		t.Errorf("not sendable: %v", found)
	}
	if !w.lists.Has("crime-categories", d.Category) {
		t.Errorf("category %q is not in the list", d.Category)
	}
}

func TestReadMessage(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"json":        {`{"to":"jm/jcf","expires":"1933000000000"}`, ""},
		"yaml":        {"to: jm/jcf\nexpires: 1933000000000\n", ""},
		"unknown":     {`{"too":"jm/jcf"}`, `unknown field "too"`},
		"deep":        {"request: {limits: {colour: red}}", `unknown field "colour"`},
		"bad date":    {"expires: soon", "time cannot be read"},
		"wrong type":  {"to: 7", "invalid value"},
		"neither":     {"{to: [", "neither JSON nor YAML"},
		"a bomb":      {"a: &a [x, x]\nb: &b [*a, *a]\n", "anchors and aliases"},
		"a list":      {"- to", "unexpected token"},
		"two objects": {`{"to":"jm/jcf"} {"to":"mx/fgr"}`, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d")
			if err := os.WriteFile(path, []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := readDraft(path, testClock())
			if tc.want == "" {
				if err != nil || d.GetTo() != "jm/jcf" || d.GetExpires() != 1933000000000 {
					t.Errorf("got %v, %v", d, err)
				}
				return
			}
			if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want Usage with %q", err, tc.want)
			}
		})
	}
}

// FuzzDraftFile holds that any file gives a draft or a usage error.
func FuzzDraftFile(f *testing.F) {
	f.Add([]byte(exampleDraft))
	f.Add([]byte(`{"to":"jm/jcf","asks":[{"from":"2031-04-01"}]}`))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseDraft("read", b, testClock()); err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("error %v of kind %s", err, fault.KindOf(err))
		}
	})
}

func TestAnswerFlags(t *testing.T) {
	as, l := parseAnswers(t, "--ask=2", "--result=FOUND", "--text=Ana", "--evaluation=eu4x4:B2", "--ask=1", "--result=NOT_FOUND", "--date=2031-01-02")
	got := as.completed(*l, "es")
	want := []*formatv1.Answer{
		{Ask: 2, Result: "FOUND", Text: "Ana", Evaluation: "eu4x4:B2", Origin: "own", Language: "es",
			Limits: &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER+STRICT"}},
		{Ask: 1, Result: "NOT_FOUND", InformationDate: time.Date(2031, 1, 2, 0, 0, 0, 0, time.Local).UnixMilli()},
	}
	if !slices.EqualFunc(got, want, func(a, b *formatv1.Answer) bool { return proto.Equal(a, b) }) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestAnswerWithoutAskIsAboutTheFirst(t *testing.T) {
	as, _ := parseAnswers(t, "--result=NOT_FOUND")
	if len(as.all) != 1 || as.all[0].Ask != 1 {
		t.Errorf("got %v, want one answer to question 1", as.all)
	}
}

func TestAnswerFlagTwice(t *testing.T) {
	a := testApp(t)
	c := a.answerCommand()
	for _, args := range [][]string{{"--ask=1", "--result=FOUND", "--result=NOT_FOUND"}, {"--ask=0"}, {"--ask=x"}, {"--date=soon"}} {
		if err := c.ParseFlags(args); err == nil {
			t.Errorf("%q accepted", args)
		}
	}
}

func parseAnswers(t *testing.T, args ...string) (*answers, *limitFlags) {
	t.Helper()
	as, l := new(answers), new(limitFlags)
	c := &cobra.Command{Use: "answer"}
	as.register(c.Flags())
	l.register(c.Flags())
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return as, l
}

func TestDeadline(t *testing.T) {
	now := testClock()
	for in, want := range map[string]time.Time{
		"36h":                  now.Add(36 * time.Hour),
		"2d":                   now.Add(48 * time.Hour),
		"1w":                   now.Add(7 * 24 * time.Hour),
		"2031-05-01":           time.Date(2031, 5, 1, 23, 59, 0, 0, time.Local),
		"2031-05-01 14:00":     time.Date(2031, 5, 1, 14, 0, 0, 0, time.Local),
		"2031-05-01T14:00:00Z": time.Date(2031, 5, 1, 14, 0, 0, 0, time.UTC),
	} {
		if got, err := deadline(in, now); err != nil || !got.Equal(want) {
			t.Errorf("deadline(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "soon", "-3h", "0h", "d", "-1d", "99999d", "2031-13-01", "01/05/2031"} {
		if got, err := deadline(in, now); err == nil {
			t.Errorf("deadline(%q) = %v, want an error", in, got)
		}
	}
}

// TestCleanKeepsATerminalSafe: other states write what is printed.
func TestCleanKeepsATerminalSafe(t *testing.T) {
	for in, want := range map[string]string{
		"Ana Nuñez":               "Ana Nuñez",
		"a\x1b[2Jb":               "a[2Jb",
		"a\u202egpj.exe":          "agpj.exe",
		"a\x00\x07\x9bb":          "a\uFFFDb",
		"one\ntwo\tthree":         "one two three",
		"a\u200bb\u2066c\ufeffd":  "abcd",
		"\x1b]0;title\x07visible": "]0;titlevisible",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSafeName(t *testing.T) {
	for in, want := range map[string]string{
		"photo.jpg": "photo.jpg", "../../etc/passwd": "passwd", `C:\x\a.exe`: "a.exe", ".bashrc": "bashrc", "-rf": "rf",
		"": "attachment-7", "..": "attachment-7", "a/": "attachment-7", "a:b?.txt": "a_b_.txt", "informe año.pdf": "informe año.pdf",
		strings.Repeat("x", 300): "attachment-7", "a\nb": "a b",
	} {
		if got := safeName(in, 7); got != want {
			t.Errorf("safeName(%q) = %q, want %q", in, got, want)
		}
	}
}

// shown is a request as "request show" prints it.
// pagesOf lists requests one to a page, as a node with many would.
func pagesOf(all ...*operatorv1.RequestSummary) listing {
	return func(in *operatorv1.ListRequestsRequest) (*operatorv1.ListRequestsResponse, error) {
		i := 0
		if in.GetCursor() != "" {
			i, _ = strconv.Atoi(in.GetCursor())
		}
		out := &operatorv1.ListRequestsResponse{}
		if i < len(all) {
			out.Requests = all[i : i+1]
		}
		if i+1 < len(all) {
			out.NextCursor = strconv.Itoa(i + 1)
		}
		return out, nil
	}
}

// TestReferenceOfTwoRequests: a state sends a request under the reference of another's, so that the answer meant for
// one would go to the other.
func TestReferenceOfTwoRequests(t *testing.T) {
	meant := &operatorv1.RequestSummary{Id: "0190b4a6-7c1e-7a3b-8f00-000000000001", Reference: "mx-jm-2031-000001", Direction: "received", From: "mx/fgr", To: "jm/jcf"}
	forged := &operatorv1.RequestSummary{Id: "0190b4a6-7c1e-7a3b-8f00-000000000002", Reference: "MX-jm-2031-000001", Direction: "received", From: "br/pf", To: "jm/jcf"}
	own := &operatorv1.RequestSummary{Id: "0190b4a6-7c1e-7a3b-8f00-000000000003", Reference: "mx-jm-2031-000001", Direction: "sent", From: "jm/jcf", To: "ky/cayman"}
	other := &operatorv1.RequestSummary{Id: "0190b4a6-7c1e-7a3b-8f00-000000000004", Reference: "mx-jm-2031-000002", Direction: "received", From: "mx/fgr"}
	nameless := &operatorv1.RequestSummary{Id: "0190b4a6-7c1e-7a3b-8f00-000000000005", Direction: "sent", To: "mx/fgr"}
	list := pagesOf(forged, other, nameless, meant, own)
	all, err := withReference("mx-jm-2031-000001", list)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = only(all); !fault.Is(err, fault.Usage) || fault.CodeOf(err) != "ambiguous-reference" {
		t.Fatalf("got %v, want ambiguous-reference", err)
	}
	for _, want := range []string{meant.Id + " from mx/fgr", forged.Id + " from br/pf", own.Id + " to ky/cayman"} {
		if hint := fault.As(err).Hint; !strings.Contains(hint, want) {
			t.Errorf("the hint %q does not say %q", hint, want)
		}
	}
	// One request listed twice, because it changed between two pages, is one.
	if all, err = withReference("MX-JM-2031-000002", pagesOf(other, forged, other)); err != nil {
		t.Fatal(err)
	}
	if id, err := only(all); id != other.Id || err != nil {
		t.Errorf("got %q, %v, want %s", id, err, other.Id)
	}
	if all, err = withReference("", list); err != nil {
		t.Fatal(err)
	}
	if _, err := only(all); !fault.Is(err, fault.NotFound) {
		t.Errorf("no reference: %v, want NotFound", err)
	}
}

// TestEndlessListing: where the end is never reached, nothing is taken for the only one.
func TestEndlessListing(t *testing.T) {
	one := &operatorv1.RequestSummary{Id: "0190b4a6-7c1e-7a3b-8f00-000000000001", Reference: "mx-jm-2031-000001"}
	_, err := withReference(one.Reference, func(*operatorv1.ListRequestsRequest) (*operatorv1.ListRequestsResponse, error) {
		return &operatorv1.ListRequestsResponse{Requests: []*operatorv1.RequestSummary{one}, NextCursor: "7"}, nil
	})
	if fault.CodeOf(err) != "ambiguous-reference" {
		t.Errorf("got %v, want ambiguous-reference", err)
	}
}

func shown(t *testing.T, r *operatorv1.GetRequestResponse, lang string) string {
	t.Helper()
	w := testWords(t)
	var err error
	if w.a.lang, err = authority.ParseLanguage(lang); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	sheet{&b, w}.request(r)
	return b.String()
}

func sampleRequest() *operatorv1.GetRequestResponse {
	return &operatorv1.GetRequestResponse{
		Summary: &operatorv1.RequestSummary{
			Id: "0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Reference: "MX-JM-2031-000123", From: "mx/fgr", To: "jm/jcf", Kind: "identify-person",
			Category: "drugs.trafficking", Urgency: "URGENT", OperationalStatus: "ACTUAL", Status: "ANSWERED", Title: "Driver\x1b[2J", Created: 1933000000000,
		},
		Request: &formatv1.Request{Kind: "identify-person", Facts: "first line\nsecond line", Limits: &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER+STRICT"}},
		Asks:    []*formatv1.Ask{{Number: 1, Kind: "identify-person", Question: "Who?"}},
		Subjects: []*formatv1.Subject{{Type: "person", Role: "suspect", Reason: "seen", Attributes: []*formatv1.Attribute{
			{Name: "identity-number", Kind: "passport", Country: "mx", Value: "G1"}}}},
		Steps: []*operatorv1.Step{
			{Kind: "REQUEST", Sender: "mx/fgr", Delivery: "COMPLETE", Receipts: []*operatorv1.ReceiptInfo{
				{Node: "jm/node/primary", Authority: "jm/jcf", Stage: "COMPLETE", Time: 1933000000000, Verified: true},
				{Node: "jm/node/other", Authority: "jm/jcf", Stage: "RECEIVED", Time: 1933000000000}}},
			{Kind: "ACKNOWLEDGE", Sender: "jm/jcf", Acknowledgement: &formatv1.Acknowledgement{ExpectedAt: 1933000000000, LocalReference: "JCF/77", Urgency: "URGENT"}},
			{Kind: "REPLY_FINAL", Sender: "jm/jcf", Answers: []*formatv1.Answer{{Ask: 1, Result: "FOUND", Text: "Ana", Evaluation: "eu4x4:C2",
				Limits: &formatv1.Limits{Handling: []string{"H1"}, Tlp: "RED"}}}},
		},
	}
}

func TestShowSaysItAll(t *testing.T) {
	got := shown(t, sampleRequest(), "en")
	for _, want := range []string{
		"MX-JM-2031-000123", "mx/fgr → jm/jcf", "NOT EVIDENCE", "[H2]", "Identify a person", "    second line", "question 1", "passport, MX",
		"receipt of node jm/node/primary for jm/jcf: received, opened and stored with all files", "signature verified", "SIGNATURE NOT VERIFIED",
		"JCF/77", "found [FOUND]", "C2 = ", "mostly unreliable",
	} {
		if !strings.Contains(strings.ToLower(got), strings.ToLower(want)) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("an escape sequence of the sender reached the terminal")
	}
	if strings.Contains(got, "***") {
		t.Error("real traffic carries the mark of an exercise")
	}
}

// TestShowSaysWhomToTelephone: the road in words, and where a message could not be delivered the numbers of who it was for.
func TestShowSaysWhomToTelephone(t *testing.T) {
	r := sampleRequest()
	r.Steps[0].Delivery, r.Steps[0].Road = "UNDELIVERABLE", "mailbox"
	r.Fallback = &operatorv1.AuthorityInfo{Name: "jm/jcf", Desks: []*operatorv1.DeskInfo{{Slug: "duty", TimeZone: "America/Jamaica", Phone_24_7: "+1 876"}}}
	for _, want := range []string{"[mailbox]", "NOT DELIVERED", "jm/jcf", "desk duty", "+1 876"} {
		if got := shown(t, r, "en"); !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	r.Fallback.Desks = nil
	if got := shown(t, r, "en"); !strings.Contains(got, "no contact card with a number is known") {
		t.Errorf("nothing is said of a card that is absent:\n%s", got)
	}
	r.Fallback = nil
	if got := shown(t, r, "en"); !strings.Contains(got, "names nobody to telephone") {
		t.Errorf("nothing is said where nobody is named:\n%s", got)
	}
}

// TestExerciseCannotBeMistaken: first and last line, in English and in the reader's words. Domain 4.1.
func TestExerciseCannotBeMistaken(t *testing.T) {
	for status, labels := range map[string]map[string]string{
		"EXERCISE": {"en": "EXERCISE", "es": "EJERCICIO", "pt": "EXERCÍCIO", "fr": "EXERCICE"},
		"TEST":     {"es": "PRUEBA TÉCNICA"},
	} {
		for lang, label := range labels {
			r := sampleRequest()
			r.Summary.OperationalStatus = status
			lines := strings.Split(strings.TrimSpace(shown(t, r, lang)), "\n")
			for _, line := range []string{lines[0], lines[len(lines)-1]} {
				if !strings.HasPrefix(line, "*** "+status) || !strings.Contains(line, label) {
					t.Errorf("%s in %s: line %q", status, lang, line)
				}
			}
		}
	}
}

func TestForgedMarkIsTakenOff(t *testing.T) {
	w := testWords(t)
	real := &operatorv1.RequestSummary{Title: "*** EXERCISE *** ignore", OperationalStatus: "ACTUAL"}
	if got := w.marked(real); strings.HasPrefix(got, "***") {
		t.Errorf("title of real traffic reads %q", got)
	}
}

func TestLabelsInFourLanguages(t *testing.T) {
	for lang, want := range map[string]string{"en": "Identify a person", "es": "Identificar a una persona", "pt": "Identificar uma pessoa", "fr": "Identifier une personne"} {
		if got := shown(t, sampleRequest(), lang); !strings.Contains(got, want) {
			t.Errorf("%s: %q is missing", lang, want)
		}
	}
}

func TestDiagnose(t *testing.T) {
	now := testClock()
	well := func() *operatorv1.GetStatusResponse {
		return &operatorv1.GetStatusResponse{Freshness: "fresh", CertificateExpires: now.Add(5 * 24 * time.Hour).UnixMilli(),
			Components: []*operatorv1.Component{{Name: "ledger", Healthy: true}}, Peers: []*operatorv1.PeerInfo{{Node: "jm/node/primary", Queued: 3}}}
	}
	for name, tc := range map[string]struct {
		spoil func(*operatorv1.GetStatusResponse)
		want  string
	}{
		"well":        {func(*operatorv1.GetStatusResponse) {}, ""},
		"component":   {func(s *operatorv1.GetStatusResponse) { s.Components[0].Healthy = false }, "failing ledger"},
		"degraded":    {func(s *operatorv1.GetStatusResponse) { s.Freshness = "degraded" }, "warning directory"},
		"stale":       {func(s *operatorv1.GetStatusResponse) { s.Freshness = "stale" }, "failing directory"},
		"renewing":    {func(s *operatorv1.GetStatusResponse) { s.CertificateExpires = now.Add(time.Hour).UnixMilli() }, "warning certificate"},
		"expired":     {func(s *operatorv1.GetStatusResponse) { s.CertificateExpires = now.UnixMilli() }, "failing certificate"},
		"unreachable": {func(s *operatorv1.GetStatusResponse) { s.Peers[0].LastError = "refused" }, "warning queue"},
	} {
		t.Run(name, func(t *testing.T) {
			s := well()
			tc.spoil(s)
			var got []string
			for _, d := range diagnose(s, now) {
				got = append(got, string(d.State)+" "+d.Component)
				if d.Do == "" || d.Code == "" {
					t.Errorf("%s: no advice, or no code", d.Component)
				}
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("found %q, want %q", got, tc.want)
			}
		})
	}
}

// TestDoctorFails: a monitor goes by the exit code.
func TestDoctorFails(t *testing.T) {
	a := testApp(t)
	a.json = true
	err := a.report(&operatorv1.GetStatusResponse{}, []doctor.Finding{{Component: "ledger", State: doctor.Failing, Code: "full", Found: "full", Do: "free space"}})
	if got := exitCode(fault.KindOf(err)); err == nil || got != 1 {
		t.Errorf("exit code %d of %v, want 1", got, err)
	}
	var out struct {
		Healthy  bool
		Findings []doctor.Finding
		Status   map[string]any
	}
	if err := json.Unmarshal(a.streams.Out.(*bytes.Buffer).Bytes(), &out); err != nil || out.Healthy || len(out.Findings) != 1 || out.Status["evidence_size"] != "0" {
		t.Errorf("printed %s, %v", a.streams.Out, err)
	}
	if err := a.report(&operatorv1.GetStatusResponse{}, []doctor.Finding{{Component: "directory", State: doctor.Warning, Code: "old", Found: "old", Do: "wait"}}); err != nil {
		t.Errorf("a warning alone fails: %v", err)
	}
}

func TestProfile(t *testing.T) {
	home := t.TempDir()
	t.Setenv("ENLACE_CONFIG_HOME", home)
	a := testApp(t)
	if _, err := a.loadProfile(); !fault.Is(err, fault.NotFound) {
		t.Errorf("no profile: %v, want NotFound", err)
	}
	want := profile{Addr: "node.example:7443", Pin: strings.Repeat("ab", 32), User: "ana", Token: "secret", Expires: 7}
	if err := a.saveProfile(want); err != nil {
		t.Fatal(err)
	}
	if got, err := a.loadProfile(); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	path := filepath.Join(home, "profiles", "default.json")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.loadProfile(); fault.CodeOf(err) != "open-profile" {
		t.Errorf("a profile that others can read: %v, want open-profile", err)
	}
	for _, name := range []string{"", "../x", "A", "a/b", ".hidden", strings.Repeat("a", 65)} {
		a.profile = name
		if _, err := a.profilePath(); !fault.Is(err, fault.Usage) {
			t.Errorf("profile name %q: %v, want Usage", name, err)
		}
	}
}

func TestReplaceLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, brokenReader{}); err == nil {
		t.Error("a broken source was not noticed")
	}
	names, err := os.ReadDir(dir)
	if b, _ := os.ReadFile(path); err != nil || len(names) != 1 || string(b) != "old" {
		t.Errorf("left %v with %q, want the old file alone", names, b)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, os.ErrClosed }

func TestSureNeedsATerminalOrYes(t *testing.T) {
	a := testApp(t)
	if err := a.sure(t.Context(), "do it?"); !fault.Is(err, fault.Usage) {
		t.Errorf("without terminal: %v, want Usage", err)
	}
	a.yes = true
	if err := a.sure(t.Context(), "do it?"); err != nil {
		t.Errorf("with --yes: %v", err)
	}
}

func TestRoff(t *testing.T) {
	if got, want := roff("a-b\n.TH \\x\n'q é"), "a\\-b\n\\&.TH \\ex\n\\&'q \\[u00E9]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
