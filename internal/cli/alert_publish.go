package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// A file of at most smallFile bytes travels inside the alert, as long as all of them have at most smallFiles: every
// receiver stores them, so less than what the rules allow (message.CheckAlert).
const (
	smallFile  = 64 << 10
	smallFiles = 256 << 10
)

func (a *app) publishAlertCommand() *cobra.Command {
	f := new(alertFlags)
	c := &cobra.Command{
		Use: "publish [ID]", Short: "Write an alert and submit it, or submit a draft",
		Long: "Write an alert and submit it: to approval where two persons are wanted, else to everyone entitled to it. With\n" +
			"an ID, submit a draft that was stored before. A simple alert fits on the command line; a longer one is read\n" +
			"from a file with --file, whose form --print-example shows. With --draft nothing leaves the node.\n\n" +
			"A subject is typed as TYPE;KEY=VALUE;..., where a key is role, reason, minor, confidence or an attribute,\n" +
			"with the kind and the country of issue behind slashes: identity-number/passport/mx=G00000000.",
		Example: "  enlace alert publish --category drugs.trafficking --type transport-of-interest --title 'Vessel without lights' \\\n" +
			"    --summary 'A grey vessel takes cargo at night south of Kingston' --evaluation eu4x4:B2 --legal-basis untoc \\\n" +
			"    --action LOCATE_AND_REPORT --subject 'vessel;role=unknown;reason=seen twice;name=Estrella de Ejemplo' --attach photo.jpg\n" +
			"  enlace alert publish --print-example > alert.yaml\n  enlace alert publish --file alert.yaml --draft\n" +
			"  enlace alert publish 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.publishAlert(c, f, args) },
	}
	f.register(c.Flags())
	a.completeAlert(c)
	return c
}

func (a *app) publishAlert(c *cobra.Command, f *alertFlags, args []string) error {
	if f.wantSample {
		_, err := io.WriteString(a.streams.Out, exampleAlert)
		return err
	}
	w, err := a.words()
	if err != nil {
		return err
	}
	if len(args) == 1 {
		return a.publishDraft(c, f, args, w)
	}
	d, err := a.composedAlert(c, f, w)
	if err != nil {
		return err
	}
	large, err := enclose(d, f.attach) // before the draft exists
	if err != nil {
		return err
	}
	return a.with(c, func(ctx context.Context, node *operator.Client) error {
		made, err := node.Alerts.CreateAlert(ctx, &operatorv1.CreateAlertRequest{Draft: d})
		if err != nil {
			return err
		}
		// From here on the draft exists.
		return a.finishAlert(ctx, node, made.GetId(), large, f, w)
	})
}

// publishDraft submits what was stored before.
func (a *app) publishDraft(c *cobra.Command, f *alertFlags, args []string, w words) error {
	if other := composingFlags(c); len(other)+len(f.attach)+len(f.file) > 0 || f.draft {
		return misused(c, "a draft is submitted as it is").WithHint("change it first: enlace alert update " + clean(args[0]) + " --draft ...")
	}
	return a.onAlert(func(ctx context.Context, node *operator.Client, id string) error {
		out, err := node.Alerts.PublishAlert(ctx, &operatorv1.PublishAlertRequest{Id: id})
		if err != nil {
			return err
		}
		a.stale(out.GetFreshness())
		return a.show(out, func(wr io.Writer) { printPublished(wr, w, id, out.GetStatus(), out.GetAudience()) })
	})(c, args)
}

func (a *app) stale(freshness string) {
	if freshness == "degraded" {
		a.note("note: the directory at this node is not fresh; the audience is taken from what it knew last")
	}
}

func printPublished(wr io.Writer, w words, id, status string, audience uint32) {
	fmt.Fprintf(wr, "state: %s\n", w.coded("alert_state", status))
	switch {
	case status == string(message.AlertPending):
		fmt.Fprintf(wr, "a second person releases it: enlace alert approve %s\n", id)
	case audience > 0:
		fmt.Fprintf(wr, "for %d authorities; who has it: enlace alert holders %s\n", audience, id)
	}
}

// enclose puts small files into a draft and names the others, which are added to it one by one.
func enclose(d *operatorv1.AlertDraft, paths []string) (large []string, err error) {
	total := 0
	for _, file := range d.GetFiles() {
		total += len(file.GetData())
	}
	for _, path := range paths {
		if err := readable(path); err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, unreadable(path, err)
		}
		size := int(min(info.Size(), smallFile+1))
		if size == 0 || size > smallFile || total+size > smallFiles {
			large = append(large, path)
			continue
		}
		data, err := readSmall(path, smallFile)
		if err != nil {
			return nil, err
		}
		total += len(data)
		name := filepath.Base(path)
		d.Files = append(d.Files, &formatv1.File{Name: name, MediaType: plainType(name), Data: data})
	}
	return large, nil
}

// plainType is a media type without parameters, as the rules want it.
func plainType(name string) string {
	plain, _, _ := strings.Cut(mediaTypeOf(name), ";")
	return plain
}

// newAlert is what "alert publish" and "alert update" report.
type newAlert struct {
	ID          string        `json:"id"`
	Status      string        `json:"status"`
	MessageID   string        `json:"message_id"`
	Audience    uint32        `json:"audience"`
	Sendable    bool          `json:"sendable"`
	Findings    []finding     `json:"findings"`
	Attachments []addedResult `json:"attachments"`
}

// finishAlert adds a draft's larger files and submits it. If it fails in between, the draft is there and the error says
// under which ID.
func (a *app) finishAlert(ctx context.Context, node *operator.Client, id string, large []string, f *alertFlags, w words) error {
	out := newAlert{ID: id, Status: string(message.AlertDraft), Findings: []finding{}, Attachments: []addedResult{}}
	if err := a.fillAlert(ctx, node, &out, large, f); err != nil {
		e := fault.As(err)
		return e.WithHint(strings.TrimPrefix(e.Hint+"; ", "; ") + "the draft is kept: enlace alert update " + id + " changes it")
	}
	return a.print(out, func(wr io.Writer) { printAlertMade(wr, out, w) })
}

func (a *app) fillAlert(ctx context.Context, node *operator.Client, out *newAlert, large []string, f *alertFlags) error {
	for _, path := range large {
		added, err := a.uploadAlertFile(ctx, node, out.ID, path, f.limits)
		if err != nil {
			return err
		}
		out.Attachments = append(out.Attachments, added)
	}
	check, err := node.Alerts.CheckAlert(ctx, &operatorv1.CheckAlertRequest{Id: out.ID})
	if err != nil {
		return err
	}
	out.Sendable, out.Findings, out.Audience = check.GetSendable(), findingsOf(check.GetFindings()), uint32(len(check.GetAudience()))
	if f.draft {
		return nil
	}
	sent, err := node.Alerts.PublishAlert(ctx, &operatorv1.PublishAlertRequest{Id: out.ID})
	if err != nil {
		return err
	}
	a.stale(sent.GetFreshness())
	out.Status, out.MessageID = sent.GetStatus(), sent.GetMessageId()
	if sent.GetMessageId() != "" {
		out.Audience = sent.GetAudience()
	}
	return nil
}

func (a *app) uploadAlertFile(ctx context.Context, node *operator.Client, id, path string, limits limitFlags) (addedResult, error) {
	return a.uploading(path, fileNote{limits: limits}, func(note *formatv1.AttachmentNote, src io.Reader) (addedResult, error) {
		out, err := node.UploadAlertFile(ctx, id, note, src)
		return addedResult{note.GetName(), out.GetIndex(), out.GetSize(), out.GetDigest()}, err
	})
}

// printAlertMade prints the ID alone on the first line, for ID=$(enlace alert publish ... | head -1).
func printAlertMade(wr io.Writer, out newAlert, w words) {
	fmt.Fprintln(wr, out.ID)
	for _, x := range out.Attachments {
		fmt.Fprintf(wr, "attached %s as number %d, %d bytes, SHA-256 %s\n", clean(x.Name), x.Index, x.Size, x.Digest)
	}
	printFindings(wr, out.Findings, w)
	switch {
	case out.Status != string(message.AlertDraft):
		printPublished(wr, w, out.ID, out.Status, out.Audience)
	case out.Sendable:
		fmt.Fprintf(wr, "ready for %d authorities: enlace alert publish %s\n", out.Audience, out.ID)
	default:
		fmt.Fprintln(wr, "not ready to be published yet")
	}
}

func (a *app) updateAlertCommand() *cobra.Command {
	f := new(alertFlags)
	c := &cobra.Command{
		Use: "update ID", Short: "Write the next version of an alert and submit it, or change a draft",
		Long: "Write the next version of an alert, or a draft anew, and submit it. What no flag names stays as it was issued; with\n" +
			"--file all is said anew. Category, distribution, audience and operational status of an issued alert stay.\n" +
			"Larger files are attached anew, or left out with --drop-files.",
		Example: "  enlace alert update 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --severity SEVERE --details 'seen again on 7 April'\n" +
			"  enlace alert update mx-fgr-alert-2031-000007 --file alert.yaml",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.updateAlert(c, f, args[0]) },
	}
	f.register(c.Flags())
	c.Flags().BoolVar(&f.dropFiles, "drop-files", false, "leave the files of the version before out")
	a.completeAlert(c)
	return c
}

func (a *app) updateAlert(c *cobra.Command, f *alertFlags, ref string) error {
	if f.wantSample {
		_, err := io.WriteString(a.streams.Out, exampleAlert)
		return err
	}
	w, err := a.words()
	if err != nil {
		return err
	}
	return a.with(c, func(ctx context.Context, node *operator.Client) error {
		id, err := resolveAlert(ctx, node, ref)
		if err != nil {
			return err
		}
		now, err := node.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: id})
		if err != nil {
			return err
		}
		d, err := a.changed(c, f, now, w)
		if err != nil {
			return err
		}
		large, err := enclose(d, f.attach)
		if err != nil {
			return err
		}
		if _, err := node.Alerts.UpdateAlert(ctx, &operatorv1.UpdateAlertRequest{Id: id, Draft: d}); err != nil {
			return err
		}
		// From here on the new draft stands.
		return a.finishAlert(ctx, node, id, large, f, w)
	})
}

// changed is the alert as it stands with what the command line changes.
func (a *app) changed(c *cobra.Command, f *alertFlags, now *operatorv1.GetAlertResponse, w words) (*operatorv1.AlertDraft, error) {
	if n := len(now.GetAttachments()); n > 0 && len(f.attach) == 0 && !f.dropFiles {
		return nil, misused(c, fmt.Sprintf("the alert has %d larger files, which do not go along by themselves", n)).
			WithHint("attach them again with --attach, or leave them out with --drop-files; enlace alert get fetches them")
	}
	if f.file != "" {
		return a.composedAlert(c, f, w)
	}
	if now.GetNotice() == nil {
		return nil, fault.New(fault.Conflict, "wrong-state", "change alert", "the alert is over, and says nothing any more")
	}
	base := draftFrom(now)
	if now.GetSummary().GetVersion() == 0 && len(f.d.GetStates())+len(f.d.GetTo()) == 0 {
		// The node does not tell to whom a draft goes, and a narrow one must not become wide unseen.
		return nil, misused(c, "say again to whom the draft goes").WithHint("add --state for each state, --state all, or --to for a DIRECTED one")
	}
	if f.dropFiles {
		base.Files = nil
	}
	if err := f.onto(base, c.LocalNonPersistentFlags()); err != nil {
		return nil, err
	}
	return f.compose(w, a.clock())
}

// draftFrom is what an alert says, as a draft of its next version. Its life stays where nothing else is said.
func draftFrom(now *operatorv1.GetAlertResponse) *operatorv1.AlertDraft {
	s := now.GetSummary()
	d := &operatorv1.AlertDraft{
		Authority: s.GetOwn(), Category: s.GetCategory(), Urgency: s.GetUrgency(), Status: s.GetOperationalStatus(), Distribution: s.GetDistribution(),
		Notice: now.GetNotice(), Subjects: now.GetSubjects(), Files: now.GetFiles(),
	}
	if s.GetVersion() == 0 {
		d.Expires = s.GetExpires()
	}
	return d
}
