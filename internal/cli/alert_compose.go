package cli

import (
	_ "embed"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// exampleAlert is what "alert publish --print-example" prints; a test sends it through the checks.
//
//go:embed example/alert.yaml
var exampleAlert string

// alertExample shows the form of a file that describes an alert.
const alertExample = "enlace alert publish --print-example"

// alertFlags are the flags of "alert publish" and "alert update".
type alertFlags struct {
	d                           operatorv1.AlertDraft
	n                           formatv1.AlertNotice
	callBack                    formatv1.CallBack
	limits                      limitFlags
	reason                      string // of the urgency: CODE or CODE:TEXT
	expires, begins, ends       string
	valid, review               string
	subjects, texts, places     []string
	attach                      []string
	file                        string
	draft, exercise, wantSample bool
	dropFiles                   bool // of the version before; "alert update" alone
}

// notComposingAlert are the flags that go with --file, or with an alert that was written before.
func notComposingAlert(name string) bool {
	switch name {
	case "file", "attach", "draft", "print-example", "drop-files":
		return true
	}
	return false
}

func (f *alertFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, "file", "", "take the alert from a file, JSON or YAML; - reads the standard input; see --print-example")
	fs.BoolVar(&f.wantSample, "print-example", false, "print a commented example for --file and stop")
	fs.StringArrayVar(&f.attach, "attach", nil, "attach a file: a small one travels inside the alert, a larger one is pulled by readers; may be repeated")
	fs.BoolVar(&f.draft, "draft", false, "only store it; enlace alert publish ID submits it")
	f.registerHeader(fs)
	f.registerText(fs)
	f.registerMeaning(fs)
	f.limits.register(fs)
}

func (f *alertFlags) registerHeader(fs *pflag.FlagSet) {
	fs.StringVar(&f.d.Authority, "from", "", "issuing authority, such as mx/fgr (default: yours)")
	fs.StringVar(&f.d.Category, "category", "", "crime category, such as drugs.trafficking")
	fs.StringVar(&f.d.Urgency, "urgency", string(message.Routine), "ROUTINE, URGENT or IMMEDIATE")
	fs.StringVar(&f.reason, "urgency-reason", "", "why it is urgent: a CODE, or CODE:TEXT")
	fs.StringVar(&f.d.Status, "status", string(message.Actual), "ACTUAL, EXERCISE or TEST")
	fs.BoolVar(&f.exercise, "exercise", false, "the same as --status EXERCISE")
	fs.StringVar(&f.d.Distribution, "distribution", "", "CATEGORY, ALL_NPC or DIRECTED (default: DIRECTED with --to, else CATEGORY)")
	fs.StringSliceVar(&f.d.States, "state", nil, "only to this state, such as jm; may be repeated (default: all, which may be said too)")
	fs.StringSliceVar(&f.d.To, "to", nil, "authority that a DIRECTED alert is for, such as jm/jcf; may be repeated")
	fs.StringVar(&f.expires, "expires", "", "until when it holds: 30d or a date, at most 12 months (default: 90 days)")
}

func (f *alertFlags) registerText(fs *pflag.FlagSet) {
	fs.StringVar(&f.n.Type, "type", "", "type of alert, such as transport-of-interest")
	fs.StringVar(&f.n.Title, "title", "", "one line, at most 120 characters")
	fs.StringVar(&f.n.Summary, "summary", "", "at most 500 characters, for a pager")
	fs.StringVar(&f.n.Language, "language", "", "language it is written in: es, en, pt or fr (default: --lang)")
	fs.StringArrayVar(&f.texts, "text", nil, "title and summary in another language: "+textSyntax+"; may be repeated")
	fs.StringVar(&f.n.Details, "details", "", "what happened or is expected")
	fs.StringArrayVar(&f.places, "place", nil, "where: "+placeSyntax+"; may be repeated")
	fs.StringVar(&f.begins, "begins", "", "when it happened or is expected: a date or time")
	fs.StringVar(&f.ends, "ends", "", "end of that period")
	fs.StringArrayVar(&f.subjects, "subject", nil, "a person or thing: "+subjectSyntax+"; may be repeated")
	fs.StringVar(&f.n.Desk, "desk", "", "desk that issues it")
	fs.StringVar(&f.callBack.Phone, "phone", "", "telephone for questions")
	fs.StringVar(&f.callBack.Hours, "hours", "", "office hours of that telephone")
	fs.StringVar(&f.callBack.TimeZone, "time-zone", "", "time zone of those hours, such as America/Mexico_City")
	fs.StringVar(&f.callBack.Line_24_7, "line-24-7", "", "telephone that is answered at any hour")
}

func (f *alertFlags) registerMeaning(fs *pflag.FlagSet) {
	fs.StringVar(&f.n.Severity, "severity", "UNKNOWN", "EXTREME, SEVERE, MODERATE, MINOR or UNKNOWN")
	fs.StringVar(&f.n.Certainty, "certainty", "UNKNOWN", "OBSERVED, LIKELY, POSSIBLE, UNLIKELY or UNKNOWN")
	fs.StringVar(&f.n.ActionRequested, "action", "INFORM_ONLY", "what is asked of receivers, subject to their law, such as LOCATE_AND_REPORT")
	fs.StringVar(&f.n.Evaluation, "evaluation", "", "grade of source and information, such as eu4x4:B2")
	fs.StringSliceVar(&f.n.LegalBasis, "legal-basis", nil, "code of the treaty or law it rests on, such as untoc; may be repeated")
	fs.StringSliceVar(&f.n.Attestations, "attest", nil, "attestation that every alert with a person needs; may be repeated")
	fs.StringSliceVar(&f.n.SecondaryCategories, "secondary-category", nil, "a further category; may be repeated")
	fs.StringSliceVar(&f.n.Tags, "tag", nil, "a tag; may be repeated")
	fs.StringArrayVar(&f.n.References, "other-channel", nil, "reference of the same matter elsewhere, such as INTERPOL 2031/1; may be repeated")
	fs.StringVar(&f.valid, "valid-from", "", "from when it holds, a date (default: at once)")
	fs.StringVar(&f.review, "review-at", "", "when to decide whether it still holds: 30d or a date")
}

// completeAlert offers the codes that the flags take.
func (a *app) completeAlert(c *cobra.Command) {
	for flag, list := range map[string]string{
		"category": "crime-categories", "secondary-category": "crime-categories", "type": "alert-types", "urgency": "urgency",
		"urgency-reason": "urgency_reason", "status": "operational_status", "distribution": "distribution", "severity": "severity",
		"certainty": "certainty", "action": "alert-actions", "legal-basis": "legal-instruments", "attest": "attestation", "tlp": "tlp", "pap": "pap",
		"handling": "handling",
	} {
		a.complete(c, flag, list)
	}
}

// compose is the alert that the flags describe.
func (f *alertFlags) compose(w words, now time.Time) (*operatorv1.AlertDraft, error) {
	d, n := &f.d, &f.n
	d.Notice, n.Limits = n, f.limits.limits()
	if f.exercise {
		d.Status = string(message.Exercise)
	}
	if slices.Equal(d.GetStates(), []string{"all"}) {
		d.States = nil
	}
	if d.Distribution == "" {
		d.Distribution = string(message.ByCategory)
		if len(d.GetTo()) > 0 {
			d.Distribution = string(message.Directed)
		}
	}
	if proto.Size(&f.callBack) > 0 {
		n.CallBack = &f.callBack
	}
	n.Language = or(n.Language, w.a.langTag)
	if f.reason != "" {
		n.UrgencyReason = reasonOf(f.reason)
	}
	if err := f.lists(d, w); err != nil {
		return nil, err
	}
	return d, f.times(now)
}

func reasonOf(s string) *formatv1.Reason {
	code, text, _ := strings.Cut(s, ":")
	return &formatv1.Reason{Code: code, Text: strings.TrimSpace(text)}
}

// lists reads what has a form of its own: subjects, texts and places. What is given takes the place of what was there.
func (f *alertFlags) lists(d *operatorv1.AlertDraft, w words) error {
	if len(f.subjects) > 0 {
		d.Subjects = nil
	}
	if len(f.texts) > 0 {
		d.Notice.Texts = nil
	}
	if len(f.places) > 0 {
		d.Notice.Places = nil
	}
	for _, s := range f.subjects {
		subject, err := parseSubject(s, w)
		if err != nil {
			return err
		}
		d.Subjects = append(d.Subjects, subject)
	}
	for _, s := range f.texts {
		text, err := parseText(s)
		if err != nil {
			return err
		}
		d.Notice.Texts = append(d.Notice.Texts, text)
	}
	for _, s := range f.places {
		place, err := parsePlace(s)
		if err != nil {
			return err
		}
		d.Notice.Places = append(d.Notice.Places, place)
	}
	return nil
}

func (f *alertFlags) times(now time.Time) error {
	begin := func(s string, _ time.Time) (time.Time, error) { return moment(s) }
	for _, each := range []struct {
		text string
		read func(string, time.Time) (time.Time, error)
		to   *int64
	}{
		{f.expires, deadline, &f.d.Expires}, {f.review, deadline, &f.n.ReviewAt}, {f.ends, deadline, &f.n.To},
		{f.begins, begin, &f.n.From}, {f.valid, begin, &f.n.ValidFrom},
	} {
		if each.text == "" {
			continue
		}
		t, err := each.read(each.text, now)
		if err != nil {
			return err
		}
		*each.to = t.UnixMilli()
	}
	return nil
}

// composedAlert is the alert of the file or of the flags; never of both, so that it is plain which counts.
func (a *app) composedAlert(c *cobra.Command, f *alertFlags, w words) (*operatorv1.AlertDraft, error) {
	if f.file == "" {
		return f.compose(w, a.clock())
	}
	if other := composingFlags(c); len(other) > 0 {
		return nil, misused(c, "with --file the alert is in the file: leave out "+strings.Join(other, ", "))
	}
	return a.readAlert(f.file)
}

// composingFlags are those given that say something of the alert itself.
func composingFlags(c *cobra.Command) []string {
	var given []string
	c.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Changed && !notComposingAlert(flag.Name) {
			given = append(given, "--"+flag.Name)
		}
	})
	return given
}

// readAlert reads an alert from a file, or from the standard input for "-".
func (a *app) readAlert(path string) (*operatorv1.AlertDraft, error) {
	var b []byte
	var err error
	if path == "-" {
		b, err = readBounded("read standard input", a.streams.In, maxDraftFile)
	} else {
		b, err = readSmall(path, maxDraftFile)
	}
	if err != nil {
		return nil, err
	}
	d := new(operatorv1.AlertDraft)
	if err := parseMessage("read "+path, b, d, a.clock(), alertExample); err != nil {
		return nil, err
	}
	if d.GetNotice() == nil {
		return nil, fault.New(fault.Usage, "malformed-file", "read "+path, "the file says no alert: \"notice\" is missing").WithHint(alertExample + " shows the form")
	}
	return d, nil
}

// onto takes what stands already, so that composing changes only what flags name.
func (f *alertFlags) onto(base *operatorv1.AlertDraft, fs *pflag.FlagSet) error {
	again := given(fs)
	proto.Reset(&f.d)
	proto.Merge(&f.d, base)
	proto.Reset(&f.n)
	proto.Merge(&f.n, base.GetNotice())
	f.d.Notice = nil
	proto.Merge(&f.callBack, base.GetNotice().GetCallBack())
	l := base.GetNotice().GetLimits()
	f.limits = limitFlags{strings.Join(l.GetHandling(), "+"), l.GetHandlingText(), l.GetTlp(), l.GetPap(), l.GetDoNotInformSubject()}
	return again()
}

// given remembers the flags that were given; calling the result sets them again.
func given(fs *pflag.FlagSet) func() error {
	var again []func() error
	fs.VisitAll(func(flag *pflag.Flag) {
		if !flag.Changed {
			return
		}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			values := list.GetSlice()
			again = append(again, func() error { return list.Replace(values) })
			return
		}
		value := flag.Value.String()
		again = append(again, func() error { return flag.Value.Set(value) })
	})
	return func() error {
		for _, set := range again {
			if err := set(); err != nil {
				return err
			}
		}
		return nil
	}
}
