package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) requestCommand() *cobra.Command {
	return group("request", "Write, send, read and answer requests",
		a.newRequestCommand(), a.checkCommand(), a.sendCommand(), a.approveCommand(), a.returnCommand(),
		a.listRequestsCommand(), a.showRequestCommand(), a.watchCommand(),
		a.acknowledgeCommand(), a.answerCommand(), a.refuseCommand(), a.closeCommand())
}

func (a *app) newRequestCommand() *cobra.Command {
	f := new(draftFlags)
	c := &cobra.Command{
		Use: "new", Short: "Write a request; it stays a draft at the node until it is sent",
		Long: "Write a request. A simple one fits on the command line; a longer one is read from a file with --file,\n" +
			"whose form --print-example shows. Nothing leaves the node before enlace request send, or --send.\n\n" +
			"A subject is typed as TYPE;KEY=VALUE;..., where a key is role, reason, minor, confidence or an attribute,\n" +
			"with the kind and the country of issue behind slashes: identity-number/passport/mx=G00000000.",
		Example: "  enlace request new --to jm/jcf --kind vehicle-registry --category vehicles.theft --title 'Stolen car' \\\n" +
			"    --purpose 'to return it' --facts 'Stolen in Puebla on 3 April and seen in Kingston' --necessity 'no other way' \\\n" +
			"    --legal-basis untoc --stage investigation --use operational-lead --question 'Who is the owner?' \\\n" +
			"    --subject 'vehicle;role=unknown;plate=ABC1234' --attach photo.jpg\n" +
			"  enlace request new --print-example > request.yaml\n  enlace request new --file request.yaml --send",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.newRequest(c, f) },
	}
	f.register(c.Flags())
	for flag, list := range map[string]string{
		"kind": "request-kinds", "category": "crime-categories", "urgency": "urgency", "urgency-reason": "urgency_reason", "stage": "stage",
		"use": "intended_use", "legal-basis": "legal-instruments", "tlp": "tlp", "pap": "pap", "handling": "handling", "status": "operational_status",
	} {
		a.complete(c, flag, list)
	}
	return c
}

func (a *app) newRequest(c *cobra.Command, f *draftFlags) error {
	if f.wantSample {
		_, err := io.WriteString(a.streams.Out, exampleDraft)
		return err
	}
	w, err := a.words()
	if err != nil {
		return err
	}
	d, err := a.composed(c, f, w)
	if err != nil {
		return err
	}
	for _, path := range f.attach {
		if err := readable(path); err != nil {
			return err // before the draft exists
		}
	}
	return a.with(c, func(ctx context.Context, node *operator.Client) error { return a.storeDraft(ctx, node, d, f, w) })
}

// composed is the request of the file or of the flags; never of both, so that it is plain which counts.
func (a *app) composed(c *cobra.Command, f *draftFlags, w words) (*operatorv1.Draft, error) {
	if f.file == "" {
		return f.draft(w, a.clock())
	}
	var other []string
	c.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Changed && !notComposing(flag.Name) {
			other = append(other, "--"+flag.Name)
		}
	})
	if len(other) > 0 {
		return nil, misused(c, "with --file the request is in the file: leave out "+strings.Join(other, ", "))
	}
	return readDraft(f.file, a.clock())
}

// newDraft is what "request new" reports.
type newDraft struct {
	ID          string        `json:"id"`
	Status      string        `json:"status"`
	MessageID   string        `json:"message_id"`
	Sendable    bool          `json:"sendable"`
	Findings    []finding     `json:"findings"`
	Attachments []addedResult `json:"attachments"`
}

type finding struct {
	Field string `json:"field"`
	Level string `json:"level"`
	Text  string `json:"text"`
}

// storeDraft makes the draft, adds its files, and sends it if that was asked. If it fails in between, the draft is
// there and the error says under which ID.
func (a *app) storeDraft(ctx context.Context, node *operator.Client, d *operatorv1.Draft, f *draftFlags, w words) error {
	if d.GetAuthority() == "" {
		me, err := node.Session.WhoAmI(ctx, &operatorv1.WhoAmIRequest{})
		if err != nil {
			return err
		}
		d.Authority = me.GetAuthority()
	}
	made, err := node.Requests.CreateRequest(ctx, &operatorv1.CreateRequestRequest{Draft: d})
	if err != nil {
		return err
	}
	// From here on the draft exists.
	out := newDraft{ID: made.GetId(), Status: string(message.Draft), Findings: []finding{}, Attachments: []addedResult{}}
	if err := a.fillDraft(ctx, node, &out, f); err != nil {
		e := fault.As(err)
		return e.WithHint(strings.TrimPrefix(e.Hint+"; ", "; ") + "the draft is kept: " + out.ID)
	}
	return a.print(out, func(wr io.Writer) { printCreated(wr, out, w) })
}

func (a *app) fillDraft(ctx context.Context, node *operator.Client, out *newDraft, f *draftFlags) error {
	for _, path := range f.attach {
		added, err := a.upload(ctx, node, out.ID, path, fileNote{limits: f.limits})
		if err != nil {
			return err
		}
		out.Attachments = append(out.Attachments, added)
	}
	check, err := node.Requests.CheckRequest(ctx, &operatorv1.CheckRequestRequest{Id: out.ID})
	if err != nil {
		return err
	}
	out.Sendable = check.GetSendable()
	for _, x := range check.GetFindings() {
		out.Findings = append(out.Findings, finding{x.GetField(), x.GetLevel(), x.GetText()})
	}
	if !f.send {
		return nil
	}
	sent, err := node.Requests.SendRequest(ctx, &operatorv1.SendRequestRequest{Id: out.ID})
	out.Status, out.MessageID = sent.GetStatus(), sent.GetMessageId()
	return err
}

// printCreated prints the ID alone on the first line, for ID=$(enlace request new ...| head -1).
func printCreated(wr io.Writer, out newDraft, w words) {
	fmt.Fprintln(wr, out.ID)
	for _, x := range out.Attachments {
		fmt.Fprintf(wr, "attached %s as number %d, %d bytes, SHA-256 %s\n", clean(x.Name), x.Index, x.Size, x.Digest)
	}
	printFindings(wr, out.Findings, w)
	switch {
	case out.Status != string(message.Draft):
		fmt.Fprintf(wr, "state: %s\n", w.coded("request_state", out.Status))
	case out.Sendable:
		fmt.Fprintf(wr, "ready: enlace request send %s\n", out.ID)
	default:
		fmt.Fprintln(wr, "not ready to be sent yet")
	}
}

func printFindings(wr io.Writer, all []finding, w words) {
	for _, x := range all {
		fmt.Fprintf(wr, "%-7s %s: %s\n", x.Level, x.Field, w.finding(x.Text))
	}
}

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check ID", Short: "Say what a draft still lacks",
		Long:    "Say what a draft lacks. Errors keep it from being sent, warnings do not. Exit code 3 if there are errors.",
		Example: "  enlace request check 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error { return a.check(ctx, node, args[0]) })
		},
	}
}

func (a *app) check(ctx context.Context, node *operator.Client, ref string) error {
	w, err := a.wordsNow(ctx, node)
	if err != nil {
		return err
	}
	id, err := resolve(ctx, node, ref)
	if err != nil {
		return err
	}
	out, err := node.Requests.CheckRequest(ctx, &operatorv1.CheckRequestRequest{Id: id})
	if err != nil {
		return err
	}
	err = a.show(out, func(wr io.Writer) {
		for _, x := range out.GetFindings() {
			printFindings(wr, []finding{{x.GetField(), x.GetLevel(), x.GetText()}}, w)
		}
		if out.GetSendable() {
			fmt.Fprintln(wr, "ready to be sent")
		}
	})
	if err == nil && !out.GetSendable() {
		return fault.New(fault.Invalid, "incomplete", "check request", "the draft cannot be sent as it is")
	}
	return err
}

func (a *app) sendCommand() *cobra.Command {
	return &cobra.Command{
		Use: "send ID", Short: "Send a draft, or hand it to approval where two persons are wanted",
		Example: "  enlace request send 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Args: cobra.ExactArgs(1),
		RunE: a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
			out, err := node.Requests.SendRequest(ctx, &operatorv1.SendRequestRequest{Id: id})
			if err != nil {
				return err
			}
			if out.GetFreshness() == "degraded" {
				a.note("note: the directory at this node is not fresh; the request goes by what it knew last")
			}
			w, err := a.wordsNow(ctx, node)
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) { fmt.Fprintf(wr, "state: %s\n", w.coded("request_state", out.GetStatus())) })
		}),
	}
}

func (a *app) approveCommand() *cobra.Command {
	var digest string
	c := &cobra.Command{
		Use: "approve ID", Short: "Release what somebody else wrote",
		Long: "Release a draft that waits for approval. Read it first with enlace request show: the digest printed there,\n" +
			"given as --digest, makes sure that what leaves is exactly what was read.",
		Example: "  enlace request approve 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --digest 9f86d0…", Args: cobra.ExactArgs(1),
		RunE: a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
			out, err := node.Requests.ApproveRequest(ctx, &operatorv1.ApproveRequestRequest{Id: id, Digest: digest})
			if err != nil {
				return err
			}
			w, err := a.wordsNow(ctx, node)
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) { fmt.Fprintf(wr, "state: %s\n", w.coded("request_state", out.GetStatus())) })
		}),
	}
	c.Flags().StringVar(&digest, "digest", "", "digest of the draft as it was read (default: as it is now)")
	return c
}

func (a *app) returnCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "return ID", Short: "Give a draft that waits for approval back to its author",
		Example: "  enlace request return 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --reason 'the necessity is not explained'", Args: cobra.ExactArgs(1),
		RunE: a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
			out, err := node.Requests.ReturnRequest(ctx, &operatorv1.ReturnRequestRequest{Id: id, Reason: reason})
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) { fmt.Fprintln(wr, "returned to its author") })
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "what the author should change")
	return c
}

// onRequest is the body of a command whose one argument is a request.
func (a *app) onRequest(do func(ctx context.Context, node *operator.Client, id string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		return a.with(c, func(ctx context.Context, node *operator.Client) error {
			id, err := resolve(ctx, node, args[0])
			if err != nil {
				return err
			}
			return do(ctx, node, id)
		})
	}
}

// resolvePages bounds how far back a reference is looked for: 1000 pages of 500.
const resolvePages = 1000

// resolve is the ID of a request that is named by its ID or, as over the telephone, by its reference.
func resolve(ctx context.Context, node *operator.Client, ref string) (string, error) {
	if id, err := message.ParseID(strings.ToLower(ref)); err == nil {
		return id.String(), nil
	}
	all, err := withReference(ref, func(in *operatorv1.ListRequestsRequest) (*operatorv1.ListRequestsResponse, error) {
		return node.Requests.ListRequests(ctx, in)
	})
	if err != nil {
		return "", err
	}
	return only(all)
}

// listing gives one page of a node's requests.
type listing func(*operatorv1.ListRequestsRequest) (*operatorv1.ListRequestsResponse, error)

// withReference is every request of that reference, each once, newest change first. It reads the listing to its end: a
// reference is what the sender wrote, so a later request of another state may carry it too, and the first found need
// not be the one that was meant.
func withReference(ref string, list listing) ([]*operatorv1.RequestSummary, error) {
	var all []*operatorv1.RequestSummary
	seen := map[string]bool{} // a request that changes meanwhile may be listed twice
	in := &operatorv1.ListRequestsRequest{Limit: 500}
	for range resolvePages {
		page, err := list(in)
		if err != nil {
			return nil, err
		}
		for _, s := range page.GetRequests() {
			if s.GetReference() != "" && strings.EqualFold(s.GetReference(), ref) && !seen[s.GetId()] {
				all, seen[s.GetId()] = append(all, s), true
			}
		}
		if in.Cursor = page.GetNextCursor(); in.Cursor == "" {
			return all, nil
		}
	}
	return nil, fault.New(fault.Usage, "ambiguous-reference", "find request", "there are too many requests to be sure which one has the reference").
		WithHint("give the request's ID: enlace request ls")
}

// only is the ID of the one request found; never a guess.
func only(all []*operatorv1.RequestSummary) (string, error) {
	switch len(all) {
	case 0:
		return "", fault.New(fault.NotFound, "unknown-request", "find request", "no request of yours has this ID or reference").
			WithHint("enlace request ls")
	case 1:
		return all[0].GetId(), nil
	}
	return "", ambiguous(all)
}

// ambiguous refuses a reference of several requests and says which they are, so that a person chooses.
func ambiguous(all []*operatorv1.RequestSummary) error {
	const most = 10
	var which []string
	for _, s := range all[:min(len(all), most)] {
		if s.GetDirection() == "received" {
			which = append(which, s.GetId()+" from "+s.GetFrom())
		} else {
			which = append(which, s.GetId()+" to "+s.GetTo())
		}
	}
	if len(all) > most {
		which = append(which, fmt.Sprintf("and %d more", len(all)-most))
	}
	return fault.New(fault.Usage, "ambiguous-reference", "find request", fmt.Sprintf("%d requests have this reference", len(all))).
		WithHint("give the ID of the one you mean: " + strings.Join(which, ", "))
}

func (a *app) listRequestsCommand() *cobra.Command {
	in := new(operatorv1.ListRequestsRequest)
	c := &cobra.Command{
		Use: "ls", Short: "List requests, newest change first",
		Example: "  enlace request ls --direction received --status DELIVERED\n  enlace request ls --authority jm/jcf --lang es\n  enlace request ls --limit 20 --cursor 117",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error { return a.listRequests(ctx, node, in) })
		},
	}
	c.Flags().StringVar(&in.Direction, "direction", "", "sent or received (default both)")
	c.Flags().StringVar(&in.Status, "status", "", "only this state, such as DELIVERED")
	c.Flags().StringVar(&in.Authority, "authority", "", "only with this other authority, such as jm/jcf")
	c.Flags().Uint32Var(&in.Limit, "limit", 0, "at most so many, up to 500 (default 50)")
	c.Flags().StringVar(&in.Cursor, "cursor", "", "go on where the page before ended")
	a.complete(c, "status", "request_state")
	return c
}

func (a *app) listRequests(ctx context.Context, node *operator.Client, in *operatorv1.ListRequestsRequest) error {
	w, err := a.wordsNow(ctx, node)
	if err != nil {
		return err
	}
	out, err := node.Requests.ListRequests(ctx, in)
	if err != nil {
		return err
	}
	return a.show(out, func(wr io.Writer) {
		t := newTable(wr)
		t.row("ID", "REFERENCE", "FROM", "TO", "KIND", "URGENCY", "STATE", "DUE", "TITLE")
		for _, s := range out.GetRequests() {
			t.row(s.GetId(), or(clean(s.GetReference()), "-"), s.GetFrom(), s.GetTo(), w.label("request-kinds", s.GetKind()),
				w.label("urgency", s.GetUrgency()), w.label("request_state", s.GetStatus()), when(s.GetDue()), w.marked(s))
		}
		t.end()
		if out.GetNextCursor() != "" {
			fmt.Fprintf(wr, "more: --cursor %s\n", out.GetNextCursor())
		}
	})
}

// marked is a title behind the mark of an exercise or a test: no real title begins with it unmarked.
func (w words) marked(s *operatorv1.RequestSummary) string {
	title := strings.TrimLeft(cut(s.GetTitle(), 60), "*")
	if mark := w.mark(s.GetOperationalStatus()); mark != "" {
		return mark + " " + title
	}
	return title
}

// mark is empty for real traffic, else the status between stars, in English and in the reader's words.
func (w words) mark(status string) string {
	if status == "" || status == string(message.Actual) {
		return ""
	}
	label := strings.ToUpper(w.label("operational_status", status))
	if label == status {
		return "*** " + label + " ***"
	}
	return "*** " + clean(status) + " / " + label + " ***"
}

// errEnough ends a watch after --count changes.
type errEnough struct{}

func (errEnough) Error() string { return "enough" }

func (a *app) watchCommand() *cobra.Command {
	var cursor string
	var count int
	c := &cobra.Command{
		Use: "watch", Short: "Print changes of requests as they happen",
		Long: "Print one line for each change of a request, until interrupted. Cuts are bridged. With --json each line is\n" +
			"an object with a cursor; give the last one as --cursor to go on later without missing a change.",
		Example: "  enlace request watch\n  enlace request watch --json --cursor 117", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := a.with(c, func(ctx context.Context, node *operator.Client) error { return a.watch(ctx, node, cursor, count) })
			if c.Context().Err() != nil {
				return nil // interrupting is how one stops
			}
			return err
		},
	}
	c.Flags().StringVar(&cursor, "cursor", "", "last change seen; 0 begins with everything (default: from now on)")
	c.Flags().IntVar(&count, "count", 0, "stop after so many changes; 0 = never")
	return c
}

func (a *app) watch(ctx context.Context, node *operator.Client, cursor string, count int) error {
	w, err := a.wordsNow(ctx, node)
	if err != nil {
		return err
	}
	seen := 0
	err = node.Watch(ctx, cursor, func(ch *operatorv1.WatchRequestsResponse) error {
		s := ch.GetSummary()
		err := a.show(ch, func(wr io.Writer) {
			fmt.Fprintf(wr, "%s  %s  %s → %s  %s  %s\n", when(s.GetChanged()), s.GetId(), s.GetFrom(), s.GetTo(),
				w.label("request_state", s.GetStatus()), w.marked(s))
		})
		if seen++; err == nil && seen == count {
			return errEnough{}
		}
		return err
	})
	if errors.Is(err, errEnough{}) {
		return nil
	}
	return err
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
