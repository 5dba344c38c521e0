package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) acknowledgeCommand() *cobra.Command {
	ack := new(formatv1.Acknowledgement)
	var expected string
	c := &cobra.Command{
		Use: "acknowledge ID", Short: "Take a received request on and say when the answer is expected",
		Long: "Take a received request on. The sender sees who took it and when the answer is expected. The urgency is\n" +
			"accepted as it is, or lowered with a reason, never silently.",
		Example: "  enlace request acknowledge 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --expected 3d --reference JCF/77/2031\n" +
			"  enlace request acknowledge 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --expected 2031-05-01 --urgency ROUTINE --urgency-reason 'the ship left yesterday'",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.acknowledge(c, args[0], expected, ack) },
	}
	c.Flags().StringVar(&expected, "expected", "", "when the answer is expected: 36h, 3d, a date (required)")
	c.Flags().StringVar(&ack.LocalReference, "reference", "", "own file number")
	c.Flags().StringVar(&ack.Urgency, "urgency", "", "urgency accepted (default: as asked)")
	c.Flags().StringVar(&ack.UrgencyReason, "urgency-reason", "", "why the urgency is lowered")
	c.Flags().StringVar(&ack.TakenBy, "taken-by", "", "role or desk that took it; no personal name")
	c.Flags().StringVar(&ack.Text, "text", "", "a remark for the sender")
	a.complete(c, "urgency", "urgency")
	return c
}

func (a *app) acknowledge(c *cobra.Command, ref, expected string, ack *formatv1.Acknowledgement) error {
	if expected == "" {
		return misused(c, "say when the answer is expected").WithHint("add --expected 3d, or a date")
	}
	at, err := deadline(expected, a.clock())
	if err != nil {
		return err
	}
	ack.ExpectedAt = at.UnixMilli()
	return a.with(c, func(ctx context.Context, node *operator.Client) error {
		id, err := resolve(ctx, node, ref)
		if err != nil {
			return err
		}
		if ack.Urgency == "" {
			r, err := node.Requests.GetRequest(ctx, &operatorv1.GetRequestRequest{Id: id})
			if err != nil {
				return err
			}
			ack.Urgency = r.GetSummary().GetUrgency()
		}
		out, err := node.Requests.AcknowledgeRequest(ctx, &operatorv1.AcknowledgeRequestRequest{Id: id, Acknowledgement: ack})
		if err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) { fmt.Fprintf(w, "acknowledged; answer expected by %s\n", when(ack.ExpectedAt)) })
	})
}

// answers are the answers of one command line. Flags belong to the --ask before them, so their order counts; before
// any --ask they are about question 1.
type answers struct {
	all   []*formatv1.Answer
	given map[string]bool // flags of the answer being described
}

// answerFlag is one flag that describes an answer.
type answerFlag struct {
	of   *answers
	name string
	set  func(*formatv1.Answer, string) error
}

func (f *answerFlag) String() string { return "" }
func (f *answerFlag) Type() string   { return "string" }

// Set is called in the order of the command line.
func (f *answerFlag) Set(s string) error {
	if f.name == "ask" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 0 {
			return fault.New(fault.Usage, "malformed-number", "", "a question is named by its number, from 1")
		}
		f.of.begin(uint32(n))
		return nil
	}
	if len(f.of.all) == 0 {
		f.of.begin(1)
	}
	if f.of.given[f.name] {
		return fault.New(fault.Usage, "twice", "", "it is given twice for one question; begin the next with --ask")
	}
	f.of.given[f.name] = true
	return f.set(f.of.all[len(f.of.all)-1], s)
}

func (as *answers) begin(ask uint32) {
	as.all = append(as.all, &formatv1.Answer{Ask: ask})
	as.given = map[string]bool{}
}

func (as *answers) register(fs *pflag.FlagSet) {
	add := func(name, usage string, set func(*formatv1.Answer, string) error) {
		fs.Var(&answerFlag{as, name, set}, name, usage)
	}
	text := func(field func(*formatv1.Answer) *string) func(*formatv1.Answer, string) error {
		return func(x *formatv1.Answer, s string) error { *field(x) = s; return nil }
	}
	add("ask", "number of the question that the flags behind it answer", nil)
	add("result", "FOUND, NOT_FOUND, PARTIAL or REFUSED", text(func(x *formatv1.Answer) *string { return &x.Result }))
	add("text", "the answer", text(func(x *formatv1.Answer) *string { return &x.Text }))
	add("evaluation", "grade of source and information, such as eu4x4:B2", text(func(x *formatv1.Answer) *string { return &x.Evaluation }))
	add("origin", "own, third-party or open-source", text(func(x *formatv1.Answer) *string { return &x.Origin }))
	add("refusal-reason", "code of the reason, for REFUSED", text(func(x *formatv1.Answer) *string { return &x.RefusalReason }))
	add("inaccurate-because", "why it may be inaccurate", text(func(x *formatv1.Answer) *string { return &x.InaccurateBecause }))
	add("date", "date of the information", func(x *formatv1.Answer, s string) error {
		t, err := moment(s)
		x.InformationDate = t.UnixMilli()
		return err
	})
}

// completed gives what was not said its default: limits where there is content, own origin, the language.
func (as *answers) completed(l limitFlags, language string) []*formatv1.Answer {
	for _, x := range as.all {
		if x.Result == "FOUND" || x.Result == "PARTIAL" {
			x.Origin = or(x.Origin, "own")
			if x.Limits == nil {
				x.Limits = l.limits()
			}
		}
		if x.Text != "" {
			x.Language = or(x.Language, language)
		}
	}
	return as.all
}

func (a *app) answerCommand() *cobra.Command {
	as, l := new(answers), new(limitFlags)
	var file string
	var subjects []string
	c := &cobra.Command{
		Use: "answer ID", Short: "Answer a received request, question by question",
		Long: "Answer every question of a request. The flags behind an --ask describe its answer; with one question\n" +
			"--ask may be left out. NOT_FOUND is an answer. FOUND and PARTIAL need an evaluation of source and\n" +
			"information: A to C or X, and 1 to 4 (eu4x4:B2 = mostly reliable source, known to it at first hand).\n" +
			"Limits are H1+H2 and AMBER+STRICT where nothing else is said.",
		Example: "  enlace request answer 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --ask 1 --result FOUND --text 'Owner: …' --evaluation eu4x4:A1 --ask 2 --result NOT_FOUND\n" +
			"  enlace request answer 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --file answers.yaml",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in, err := a.answersOf(c, as, l, file, subjects)
			if err != nil {
				return err
			}
			return a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
				in.Id = id
				return a.answer(ctx, node, in)
			})(c, args)
		},
	}
	as.register(c.Flags())
	l.register(c.Flags())
	c.Flags().StringArrayVar(&subjects, "subject", nil, "a person or thing found: "+subjectSyntax+"; may be repeated")
	c.Flags().StringVar(&file, "file", "", "take the answers from a file, JSON or YAML: {answers: [{ask: 1, result: FOUND, …}], subjects: […]}")
	a.complete(c, "refusal-reason", "refusal-reasons")
	return c
}

func (a *app) answersOf(c *cobra.Command, as *answers, l *limitFlags, file string, subjects []string) (*operatorv1.AnswerRequestRequest, error) {
	in := new(operatorv1.AnswerRequestRequest)
	if file != "" {
		if len(as.all)+len(subjects) > 0 {
			return nil, misused(c, "with --file the answers are in the file")
		}
		b, err := readSmall(file, maxDraftFile)
		if err != nil {
			return nil, err
		}
		if err := parseMessage("read "+file, b, in, a.clock(), "enlace request new --print-example"); err != nil {
			return nil, err
		}
		as.all = in.Answers
	}
	if len(as.all) == 0 {
		return nil, misused(c, "there is no answer").WithHint("add --ask 1 --result FOUND --text … --evaluation eu4x4:B2")
	}
	w, err := a.words()
	if err != nil {
		return nil, err
	}
	for _, s := range subjects {
		subject, err := parseSubject(s, w)
		if err != nil {
			return nil, err
		}
		in.Subjects = append(in.Subjects, subject)
	}
	in.Answers = as.completed(*l, a.langTag)
	return in, nil
}

func (a *app) answer(ctx context.Context, node *operator.Client, in *operatorv1.AnswerRequestRequest) error {
	out, err := node.Requests.AnswerRequest(ctx, in)
	if err != nil {
		return err
	}
	return a.show(out, func(w io.Writer) { fmt.Fprintf(w, "answered as message %s\n", out.GetMessageId()) })
}

func (a *app) refuseCommand() *cobra.Command {
	r := new(formatv1.Refusal)
	c := &cobra.Command{
		Use: "refuse ID", Short: "Refuse a received request with a reason",
		Long:    "Refuse a request as a whole. That no information is held is an answer, NOT_FOUND, not a refusal. Say what\nwould cure it, if anything would. Where two persons are wanted, one acknowledges first and an approver refuses.",
		Example: "  enlace request refuse 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --reason WRONG_LANE_USE_MLA --cure 'send it to the central authority' --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkReason(c, r.Reason); err != nil {
				return err
			}
			if err := a.sure(c.Context(), "refuse "+args[0]+" for good?"); err != nil {
				return err
			}
			return a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
				out, err := node.Requests.RefuseRequest(ctx, &operatorv1.RefuseRequestRequest{Id: id, Refusal: r})
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { fmt.Fprintf(w, "refused as message %s\n", out.GetMessageId()) })
			})(c, args)
		},
	}
	c.Flags().StringVar(&r.Reason, "reason", "", "code of the reason (required); completion lists them")
	c.Flags().StringVar(&r.Text, "text", "", "the reason in words")
	c.Flags().StringVar(&r.Cure, "cure", "", "what would cure it")
	a.complete(c, "reason", "refusal-reasons")
	return c
}

func (a *app) checkReason(c *cobra.Command, code string) error {
	if code == "" {
		return misused(c, "a refusal needs its reason").WithHint("add --reason CODE")
	}
	w, err := a.words()
	if err == nil && !w.lists.Has("refusal-reasons", code) {
		err = w.unknown("--reason", "refusal-reasons", code)
	}
	return err
}

func (a *app) closeCommand() *cobra.Command {
	cl := new(formatv1.Closing)
	c := &cobra.Command{
		Use: "close ID", Short: "Close a request of ours and tell the other side whether it helped",
		Example: "  enlace request close 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --feedback hit --useful --outcome 'one arrest'", Args: cobra.ExactArgs(1),
		RunE: a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
			out, err := node.Requests.CloseRequest(ctx, &operatorv1.CloseRequestRequest{Id: id, Closing: cl})
			if err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) { fmt.Fprintln(w, "closed") })
		}),
	}
	c.Flags().StringVar(&cl.Feedback, "feedback", "", "hit, partial or no-hit")
	c.Flags().BoolVar(&cl.Useful, "useful", false, "the answer was of use")
	c.Flags().StringVar(&cl.Outcome, "outcome", "", "what came of it")
	_ = c.RegisterFlagCompletionFunc("feedback", cobra.FixedCompletions(strings.Fields("hit partial no-hit"), cobra.ShellCompDirectiveNoFileComp))
	return c
}
