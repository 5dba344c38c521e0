package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/format"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// Formats of lists.
const (
	formatSDN = "sdn"
	formatCSV = "csv"
	// entriesOfSDN is the file whose rows are entries; those of the others only add to them.
	entriesOfSDN = "sdn.csv"
)

type importFlags struct {
	format, status, expires, resume string
	exercise, dryRun                bool
	parallel                        int
}

func (a *app) importAlertsCommand() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use: "import --format FORMAT PATH", Short: "Make an alert of every entry of a list, and submit each",
		Long: "Make an alert of every entry of a list, and submit each: to approval where two persons are wanted (enlace alert\n" +
			"approve --all), else to its audience. sdn is the list of Specially Designated Nationals, a folder with sdn.csv,\n" +
			"add.csv, alt.csv and sdn_comments.csv: its entries for narcotics trafficking and transnational criminal\n" +
			"organisations. csv is the table that enlace alert export writes.\n\n" +
			"A row that cannot be read, or that adds to no entry, is reported with file and line, and skipped. With --resume a file remembers what was\n" +
			"submitted; the same command with the same file goes on where it was cut off and submits nothing twice.\n" +
			"Exit code 0 only if every entry was read and submitted, now or before.",
		Example: "  enlace alert import --format sdn ./ofac --resume ofac.resume\n  enlace alert import --format csv alerts.csv --exercise --expires 30d\n  enlace alert import --format csv alerts.csv --dry-run",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.importAlerts(c, f, args[0]) },
	}
	c.Flags().StringVar(&f.format, "format", "", "sdn or csv (required)")
	c.Flags().StringVar(&f.status, "status", "", "ACTUAL, EXERCISE or TEST for all of them (default: as the list says; ACTUAL for sdn)")
	c.Flags().BoolVar(&f.exercise, "exercise", false, "the same as --status EXERCISE")
	c.Flags().StringVar(&f.expires, "expires", "", "until when they hold: 30d or a date (default: as the list says, or 90 days)")
	c.Flags().StringVar(&f.resume, "resume", "", "file that remembers what was submitted; made where it is not there")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "read and check all of it, and submit nothing; no node is asked")
	c.Flags().IntVar(&f.parallel, "parallel", inFlight, "how many at a time, up to 64")
	a.complete(c, "status", "operational_status")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatSDN, formatCSV}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// importing is one run.
type importing struct {
	a    *app
	f    importFlags
	w    words
	path string
	memo *memo
	bar  bar

	lock sync.Mutex
	out  imported
}

// imported is what "alert import" reports.
type imported struct {
	Read      int            `json:"read"`
	Submitted int            `json:"submitted"`
	Skipped   int            `json:"skipped"`
	Failed    int            `json:"failed"`
	Unread    int            `json:"unread"` // rows that are entries and could not be read
	States    map[string]int `json:"states"`
	Failures  []failedEntry  `json:"failures"`
	Problems  []problem      `json:"problems"`
}

// failedEntry is an entry that was read and not submitted.
type failedEntry struct {
	Entry string `json:"entry"`
	Code  string `json:"code"`
	Error string `json:"error"`
	kind  fault.Kind
}

// problem is a row that was not read.
type problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

func (a *app) importAlerts(c *cobra.Command, f importFlags, path string) error {
	w, err := a.words()
	if err != nil {
		return err
	}
	if f.exercise {
		f.status = string(message.Exercise)
	}
	if err := f.check(c, w); err != nil {
		return err
	}
	i := &importing{a: a, f: f, w: w, path: path, out: imported{States: map[string]int{}, Failures: []failedEntry{}, Problems: []problem{}}}
	if err := i.survey(); err != nil {
		return err
	}
	if f.dryRun {
		return i.report(nil)
	}
	if i.memo, err = openMemo(f.resume); err != nil {
		return err
	}
	defer i.memo.close()
	var stopped error
	err = a.with(c, func(ctx context.Context, node *operator.Client) error {
		stopped = i.submitAll(ctx, node)
		return nil
	})
	if err != nil {
		return err
	}
	return i.report(stopped)
}

func (f importFlags) check(c *cobra.Command, w words) error {
	switch {
	case f.format != formatSDN && f.format != formatCSV:
		return misused(c, "say what the list is").WithHint("add --format sdn or --format csv")
	case f.parallel < 1 || f.parallel > mostInFlight:
		return misused(c, "from 1 to 64 go at a time")
	case f.status != "" && !w.lists.Has("operational_status", f.status):
		return w.unknown("--status", "operational_status", f.status)
	}
	return nil
}

// entries reads the list from its beginning. Rows that cannot be read go to report.
func (i *importing) entries(report func(format.Problem)) iter.Seq2[format.Alert, error] {
	if i.f.format == formatSDN {
		return format.OFACAlerts(os.DirFS(i.path), i.a.clock(), report)
	}
	return func(yield func(format.Alert, error) bool) {
		f, err := os.Open(i.path)
		if err != nil {
			yield(format.Alert{}, unreadable(i.path, err))
			return
		}
		defer f.Close()
		for x, err := range format.ReadAlerts(f, filepath.Base(i.path), report) {
			if !yield(x, err) {
				return
			}
		}
	}
}

// survey reads the list once to its end, so that what is wrong with it is said before anything is submitted, and the
// progress has an end. With --dry-run each entry goes through the checks.
func (i *importing) survey() error {
	report := func(p format.Problem) {
		i.out.Problems = append(i.out.Problems, problem(p))
		if i.f.format != formatSDN || p.File == entriesOfSDN {
			i.out.Unread++
		}
		i.a.note("%s:%d: %s", clean(p.File), p.Line, clean(p.Reason))
	}
	keys := names{}
	for x, err := range i.entries(report) {
		if err != nil {
			return err
		}
		i.out.Read++
		key := keys.of(x)
		if !i.f.dryRun {
			continue
		}
		if err := i.lacks(x); err != nil {
			i.failed(key, err)
		}
	}
	return nil
}

// lacks checks an entry as the node will, as far as can be known here.
func (i *importing) lacks(x format.Alert) error {
	d, err := i.draft(x)
	if err != nil {
		return err
	}
	now := i.a.clock()
	expires := now.Add(message.AlertLife)
	if d.GetExpires() != 0 {
		expires = unixTime(d.GetExpires())
	}
	x.Status = message.OperationalStatus(d.GetStatus())
	for _, f := range message.CheckAlert(x.AlertCompose, i.w.lists, now, expires) {
		if f.Level == message.LevelError {
			return fault.New(fault.Invalid, "incomplete", "", f.Field+": "+f.Text)
		}
	}
	return nil
}

// draft is an entry as it is submitted.
func (i *importing) draft(x format.Alert) (*operatorv1.AlertDraft, error) {
	d := &operatorv1.AlertDraft{
		Category: x.Category.String(), Urgency: string(x.Urgency), Status: or(i.f.status, string(x.Status)), Distribution: string(x.Distribution),
		Notice: x.Notice, Subjects: x.Subjects, Files: x.Files,
	}
	for _, s := range x.States {
		d.States = append(d.States, s.String())
	}
	if !x.Expires.IsZero() {
		d.Expires = x.Expires.UnixMilli()
	}
	if i.f.expires != "" {
		t, err := deadline(i.f.expires, i.a.clock())
		if err != nil {
			return nil, err
		}
		d.Expires = t.UnixMilli()
	}
	return d, nil
}

func (i *importing) submitAll(ctx context.Context, node *operator.Client) error {
	i.bar = i.a.counter("importing", i.out.Read)
	defer i.bar.end()
	team := gather(ctx, i.f.parallel)
	keys := names{}
	var broken error
	for x, err := range i.entries(func(format.Problem) {}) { // said by survey
		if broken = err; err != nil {
			break
		}
		key := keys.of(x)
		known := i.memo.of(key)
		if known.State != "" && known.State != string(message.AlertDraft) {
			i.lock.Lock()
			i.out.Skipped++
			i.lock.Unlock()
			i.bar.done()
			continue
		}
		if !team.add(func(ctx context.Context) error { return i.one(ctx, node, key, known, x) }) {
			break
		}
	}
	if err := team.wait(); err != nil {
		return err
	}
	return broken
}

// one submits an entry and counts what became of it.
func (i *importing) one(ctx context.Context, node *operator.Client, key string, known remembered, x format.Alert) error {
	defer i.bar.done()
	state, err := i.submit(ctx, node, key, known, x)
	i.lock.Lock()
	defer i.lock.Unlock()
	if err != nil {
		i.failed(key, err)
		return err
	}
	i.out.Submitted++
	i.out.States[state]++
	return nil
}

func (i *importing) failed(key string, err error) {
	e := fault.As(err)
	i.out.Failed++
	i.out.Failures = append(i.out.Failures, failedEntry{key, or(e.Code, e.Kind.String()), sentence(err), e.Kind})
}

// submit makes the draft of an entry and submits it. The draft's name is remembered before it is submitted: a run that
// is cut off in between submits that same draft the next time.
func (i *importing) submit(ctx context.Context, node *operator.Client, key string, known remembered, x format.Alert) (string, error) {
	if known.ID == "" {
		d, err := i.draft(x)
		if err != nil {
			return "", err
		}
		err = patiently(ctx, func() error {
			made, err := node.Alerts.CreateAlert(ctx, &operatorv1.CreateAlertRequest{Draft: d})
			known = remembered{Entry: key, ID: made.GetId(), State: string(message.AlertDraft)}
			return err
		})
		if err != nil {
			return "", err
		}
		// If the program stops here, a draft that nobody submits is left.
		if err := i.memo.put(known, true); err != nil {
			return "", err
		}
	}
	state, err := publishOnce(ctx, node, known.ID)
	if err != nil {
		return "", err
	}
	known.State = state
	return state, i.memo.put(known, false)
}

// publishOnce submits a draft, or finds that it was submitted before its answer got lost.
func publishOnce(ctx context.Context, node *operator.Client, id string) (string, error) {
	var state string
	err := patiently(ctx, func() error {
		out, err := node.Alerts.PublishAlert(ctx, &operatorv1.PublishAlertRequest{Id: id})
		state = out.GetStatus()
		return err
	})
	if !fault.Is(err, fault.Conflict) {
		return state, err
	}
	now, lookErr := node.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: id})
	if lookErr != nil || now.GetSummary().GetStatus() == string(message.AlertDraft) {
		return "", err
	}
	return now.GetSummary().GetStatus(), nil
}

func (i *importing) report(stopped error) error {
	slices.SortFunc(i.out.Failures, func(x, y failedEntry) int { return strings.Compare(x.Entry, y.Entry) })
	if err := i.a.print(i.out, i.print); err != nil {
		return err
	}
	switch {
	case stopped != nil:
		return stopped
	case i.out.Failed+i.out.Unread == 0:
		return nil
	case i.out.Unread == 0 && !slices.ContainsFunc(i.out.Failures, func(f failedEntry) bool { return f.kind != fault.Retry }):
		return fault.New(fault.Retry, "not-all", "import alerts", "the node could not take all of them now").WithHint("run it again, with the same --resume file")
	}
	return fault.New(fault.Invalid, "not-all", "import alerts", fmt.Sprintf("%d entries failed and %d could not be read, see above", i.out.Failed, i.out.Unread))
}

func (i *importing) print(wr io.Writer) {
	const most = 20
	for _, f := range i.out.Failures[:min(most, len(i.out.Failures))] {
		fmt.Fprintf(wr, "FAILED %s: %s\n", clean(f.Entry), clean(f.Error))
	}
	if n := len(i.out.Failures) - most; n > 0 {
		fmt.Fprintf(wr, "FAILED: and %d more; --json names them all\n", n)
	}
	if i.f.dryRun {
		fmt.Fprintf(wr, "read %d, of which %d would not be published as they are; nothing was submitted\n", i.out.Read, i.out.Failed)
		return
	}
	fmt.Fprintf(wr, "read %d, submitted %d, submitted before %d, failed %d\n", i.out.Read, i.out.Submitted, i.out.Skipped, i.out.Failed)
	if n := i.out.States[string(message.AlertPending)]; n > 0 {
		fmt.Fprintf(wr, "%d wait for a second person: enlace alert approve --all\n", n)
	}
}

// names counts how often each entry came: two that are the same are two alerts.
type names map[string]int

// of names an entry from one run to the next: by the number that a public list gives it, else by all that it says.
func (n names) of(x format.Alert) string {
	key := ""
	if refs := x.Notice.GetReferences(); len(refs) > 0 && strings.HasPrefix(refs[0], "ofac-sdn:") {
		key = refs[0]
	} else {
		key = digestOf(x)
	}
	if n[key]++; n[key] > 1 {
		return fmt.Sprintf("%s#%d", key, n[key])
	}
	return key
}

func digestOf(x format.Alert) string {
	h := sha256.New()
	whole := &operatorv1.AlertDraft{
		Category: x.Category.String(), Urgency: string(x.Urgency), Status: string(x.Status), Distribution: string(x.Distribution), Notice: x.Notice, Subjects: x.Subjects,
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(whole)
	if err != nil {
		b = []byte(x.Notice.GetTitle()) // no text: the node will refuse it
	}
	h.Write(b)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)[:16])
}
