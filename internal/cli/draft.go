package cli

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// maxDraftFile bounds a file that describes a request; content has at most 1 MiB (PROTOCOL 1.3).
const maxDraftFile = 2 << 20

// exampleDraft is what "request new --print-example" prints; a test sends it through the checks.
//
//go:embed example/request.yaml
var exampleDraft string

// limitFlags are the originator's limits of whatever is composed.
type limitFlags struct {
	handling, handlingText, tlp, pap string
	doNotInform                      bool
}

func (l *limitFlags) register(f *pflag.FlagSet) {
	f.StringVar(&l.handling, "handling", "H1+H2", "handling codes: H0 alone, or H1, H2, H3 joined by +")
	f.StringVar(&l.handlingText, "handling-text", "", "the restriction in words, for H3")
	f.StringVar(&l.tlp, "tlp", "AMBER+STRICT", "who may see it: RED, AMBER+STRICT, AMBER, GREEN or CLEAR")
	f.StringVar(&l.pap, "pap", "", "what may be done with it: RED, AMBER, GREEN or CLEAR")
	f.BoolVar(&l.doNotInform, "do-not-inform-subject", false, "the person must not learn of it")
}

func (l limitFlags) limits() *formatv1.Limits {
	return &formatv1.Limits{
		Handling: strings.Split(l.handling, "+"), HandlingText: l.handlingText, Tlp: l.tlp, Pap: l.pap, DoNotInformSubject: l.doNotInform,
	}
}

// draftFlags are the flags of "request new".
type draftFlags struct {
	d          operatorv1.Draft
	r          formatv1.Request
	callBack   formatv1.CallBack
	offence    formatv1.Offence
	limits     limitFlags
	urgency    string // reason CODE or CODE:TEXT
	neededBy   string
	expires    string
	reviewAt   string
	questions  []string
	subjects   []string
	attach     []string
	file       string
	send       bool
	exercise   bool
	wantSample bool
}

// notComposing are the flags of "request new" that go with --file.
func notComposing(name string) bool {
	switch name {
	case "file", "attach", "send", "print-example":
		return true
	}
	return false
}

func (f *draftFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, "file", "", "take the request from a file, JSON or YAML; see --print-example")
	fs.BoolVar(&f.wantSample, "print-example", false, "print a commented example for --file and stop")
	fs.StringArrayVar(&f.attach, "attach", nil, "attach a file; may be repeated")
	fs.BoolVar(&f.send, "send", false, "send it at once, or hand it to approval")
	f.registerHeader(fs)
	f.registerText(fs)
	f.registerRest(fs)
	f.limits.register(fs)
}

func (f *draftFlags) registerHeader(fs *pflag.FlagSet) {
	fs.StringVar(&f.d.Authority, "from", "", "own authority, such as mx/fgr (default: yours)")
	fs.StringVar(&f.d.To, "to", "", "authority that is asked, such as jm/jcf; enlace directory who finds it")
	fs.StringVar(&f.d.Category, "category", "", "crime category, such as drugs.trafficking")
	fs.StringVar(&f.d.Urgency, "urgency", "ROUTINE", "ROUTINE, URGENT or IMMEDIATE")
	fs.StringVar(&f.urgency, "urgency-reason", "", "why it is urgent: a CODE, or CODE:TEXT")
	fs.StringVar(&f.d.Status, "status", "ACTUAL", "ACTUAL, EXERCISE or TEST")
	fs.BoolVar(&f.exercise, "exercise", false, "the same as --status EXERCISE")
	fs.StringVar(&f.expires, "expires", "", "how long it may be delivered: 48h, 7d or a date (default: by urgency)")
}

func (f *draftFlags) registerText(fs *pflag.FlagSet) {
	fs.StringVar(&f.r.Kind, "kind", "", "kind of request, such as identify-person")
	fs.StringVar(&f.r.Title, "title", "", "one line that says what it is about")
	fs.StringVar(&f.r.Purpose, "purpose", "", "what the answer is for")
	fs.StringVar(&f.r.Facts, "facts", "", "summary of the facts")
	fs.StringVar(&f.r.Necessity, "necessity", "", "why it is needed and proportionate")
	fs.StringVar(&f.r.Link, "link", "", "why the other state should hold it")
	fs.StringArrayVar(&f.r.LegalBasis, "legal-basis", nil, "code of the treaty or law it rests on, such as untoc; may be repeated")
	fs.StringVar(&f.r.Stage, "stage", "", "stage of the case: prevention, intelligence, investigation, prosecution, trial or execution")
	fs.StringVar(&f.r.IntendedUse, "use", "", "intended use: intelligence-only, operational-lead, evidence-later-by-mla or evidence-under-treaty")
	fs.StringArrayVar(&f.questions, "question", nil, "one question, answerable by itself; may be repeated")
	fs.StringArrayVar(&f.subjects, "subject", nil, "a person or thing: "+subjectSyntax+"; may be repeated")
}

func (f *draftFlags) registerRest(fs *pflag.FlagSet) {
	fs.StringVar(&f.r.LocalReference, "reference", "", "own file number")
	fs.StringVar(&f.r.Language, "language", "", "language it is written in: es, en, pt or fr (default: --lang)")
	fs.StringVar(&f.r.Desk, "desk", "", "desk that asks")
	fs.StringVar(&f.callBack.Phone, "phone", "", "telephone for questions")
	fs.StringVar(&f.callBack.Hours, "hours", "", "office hours of that telephone")
	fs.StringVar(&f.callBack.TimeZone, "time-zone", "", "time zone of those hours, such as America/Mexico_City")
	fs.StringVar(&f.callBack.Line_24_7, "line-24-7", "", "telephone that is answered at any hour")
	fs.StringVar(&f.offence.Title, "offence", "", "offence in own law")
	fs.StringVar(&f.offence.Article, "article", "", "article of that offence")
	fs.Uint32Var(&f.offence.MaximumPenalty, "maximum-penalty", 0, "its maximum penalty in years")
	fs.StringVar(&f.r.DualCriminality, "dual-criminality", "", "note on dual criminality")
	fs.StringVar(&f.r.Procedure, "procedure", "", "formality to observe")
	fs.StringVar(&f.neededBy, "needed-by", "", "48h, 7d or a date")
	fs.StringVar(&f.r.NeededByReason, "needed-by-reason", "", "why that date")
	fs.StringVar(&f.reviewAt, "review-at", "", "when to decide whether to keep it: 90d or a date")
	fs.StringArrayVar(&f.r.Tags, "tag", nil, "a tag; may be repeated")
	fs.StringArrayVar(&f.r.OtherChannels, "other-channel", nil, "reference of the same matter elsewhere, such as INTERPOL 2031/1; may be repeated")
	fs.BoolVar(&f.r.Confidential, "confidential", false, "that the request exists is confidential too")
}

// draft is the request that the flags describe.
func (f *draftFlags) draft(w words, now time.Time) (*operatorv1.Draft, error) {
	d, r := &f.d, &f.r
	d.Request, r.Limits = r, f.limits.limits()
	if f.exercise {
		d.Status = "EXERCISE"
	}
	if f.urgency != "" {
		code, text, _ := strings.Cut(f.urgency, ":")
		r.UrgencyReason = &formatv1.Reason{Code: code, Text: strings.TrimSpace(text)}
	}
	if proto.Size(&f.callBack) > 0 {
		r.CallBack = &f.callBack
	}
	if proto.Size(&f.offence) > 0 {
		r.Offence = &f.offence
	}
	r.Language = or(r.Language, w.a.langTag)
	for i, q := range f.questions {
		d.Asks = append(d.Asks, &formatv1.Ask{Number: uint32(i + 1), Kind: r.Kind, Question: q})
	}
	for _, s := range f.subjects {
		subject, err := parseSubject(s, w)
		if err != nil {
			return nil, err
		}
		d.Subjects = append(d.Subjects, subject)
	}
	return d, f.times(now)
}

func (f *draftFlags) times(now time.Time) error {
	for text, to := range map[*string]*int64{&f.neededBy: &f.r.NeededBy, &f.expires: &f.d.Expires, &f.reviewAt: &f.r.ReviewAt} {
		if *text == "" {
			continue
		}
		t, err := deadline(*text, now)
		if err != nil {
			return err
		}
		*to = t.UnixMilli()
	}
	return nil
}

// readDraft reads a request from a file. Unknown keys are refused: a misspelt one would be a field silently missing.
func readDraft(path string, now time.Time) (*operatorv1.Draft, error) {
	b, err := readSmall(path, maxDraftFile)
	if err != nil {
		return nil, err
	}
	return parseDraft("read "+path, b, now)
}

func parseDraft(op string, b []byte, now time.Time) (*operatorv1.Draft, error) {
	d := new(operatorv1.Draft)
	if err := parseMessage(op, b, d, now, "enlace request new --print-example"); err != nil {
		return nil, err
	}
	for i, a := range d.GetAsks() {
		if a.Number == 0 {
			a.Number = uint32(i + 1)
		}
		a.Kind = or(a.Kind, d.GetRequest().GetKind())
	}
	return d, nil
}

// parseMessage reads a message from JSON or YAML with the field names of the proto. Where the proto has Unix
// milliseconds a person may write a date. example is the command that shows the form.
func parseMessage(op string, b []byte, m proto.Message, now time.Time, example string) error {
	var err error
	if !json.Valid(b) {
		if hasAnchor(string(b)) {
			return fault.New(fault.Usage, "malformed-file", op, "anchors and aliases are not allowed in this file")
		}
		if b, err = yaml.YAMLToJSON(b); err != nil {
			return fault.New(fault.Usage, "malformed-file", op, "this is neither JSON nor YAML: "+cut(firstLine(err.Error()), 200))
		}
	}
	if b, err = datesToMillis(b, now); err != nil {
		return fault.New(fault.Usage, "malformed-file", op, fault.As(err).Say).WithHint(fault.As(err).Hint)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: false}).Unmarshal(b, m); err != nil {
		return fault.New(fault.Usage, "malformed-file", op, jsonTrouble(err)).WithHint(example + " shows the form")
	}
	return nil
}

// hasAnchor finds YAML's references within a file: nine lines of them can stand for gigabytes.
func hasAnchor(s string) bool {
	return slices.ContainsFunc(lexer.Tokenize(s), func(t *token.Token) bool { return t.Type == token.AnchorType || t.Type == token.AliasType })
}

// jsonTrouble is protojson's message without its own name in front, which varies its spaces from build to build.
func jsonTrouble(err error) string {
	s := strings.ReplaceAll(firstLine(err.Error()), "\u00a0", " ")
	return cut(strings.TrimSpace(strings.TrimPrefix(s, "proto:")), 200)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// datesToMillis replaces dates in words, where the proto has a time, by Unix milliseconds.
func datesToMillis(b []byte, now time.Time) ([]byte, error) {
	var tree any
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, fault.New(fault.Usage, "malformed-file", "", "this is not JSON")
	}
	if err := datesIn(tree, "", now); err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

// datesIn walks a JSON value; under is the key it stands under.
func datesIn(v any, under string, now time.Time) error {
	switch v := v.(type) {
	case []any:
		for _, each := range v {
			if err := datesIn(each, under, now); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, each := range v {
			text, isText := each.(string)
			read := timeAt(under, key)
			if read == nil || !isText || isDigits(text) {
				if err := datesIn(each, key, now); err != nil {
					return err
				}
				continue
			}
			t, err := read(text, now)
			if err != nil {
				return err
			}
			v[key] = t.UnixMilli()
		}
	}
	return nil
}

// timeAt is how to read a date at a key, or nil where the proto has no time.
func timeAt(under, key string) func(string, time.Time) (time.Time, error) {
	begin := func(s string, _ time.Time) (time.Time, error) { return moment(s) }
	switch key {
	case "expires", "needed_by", "neededBy", "review_at", "reviewAt":
		return deadline
	case "information_date", "informationDate", "valid_from", "validFrom":
		return begin
	case "from":
		if under == "asks" || under == "notice" {
			return begin
		}
	case "to":
		if under == "asks" || under == "notice" {
			return deadline
		}
	}
	return nil
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
