package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) showRequestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a request with everything said on it, its files and its receipts",
		Long: "Show a request whole, by its ID or its reference. A receipt of a node, the acknowledgement by a person and\n" +
			"the answer are three facts and are shown apart. Reading is recorded.",
		Example: "  enlace request show 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --lang es", Args: cobra.ExactArgs(1),
		RunE: a.onRequest(func(ctx context.Context, node *operator.Client, id string) error {
			w, err := a.wordsNow(ctx, node)
			if err != nil {
				return err
			}
			r, err := node.Requests.GetRequest(ctx, &operatorv1.GetRequestRequest{Id: id})
			if err != nil {
				return err
			}
			if err := a.restricted(ctx, r.GetRequest().GetLimits()); err != nil {
				return err
			}
			return a.show(r, func(out io.Writer) { sheet{out, w}.request(r) })
		}),
	}
}

// sheet prints one request for a person.
type sheet struct {
	out io.Writer
	w   words
}

func (s sheet) line(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// field prints a label and a value that was given.
func (s sheet) field(label, value string) {
	if value != "" && value != "-" {
		s.line("  %-18s %s", label, value)
	}
}

// long prints a label and text of several lines.
func (s sheet) long(label, text string) {
	if strings.TrimSpace(text) != "" {
		s.line("  %s\n%s", label, paragraph("    ", text))
	}
}

func (s sheet) request(r *operatorv1.GetRequestResponse) {
	sum, body := r.GetSummary(), r.GetRequest()
	mark := s.w.mark(sum.GetOperationalStatus())
	if mark != "" {
		s.line("%s", s.banner(sum.GetOperationalStatus(), mark))
	}
	s.line("%s", or(clean(sum.GetReference()), sum.GetId()))
	s.line("%s → %s: %s", sum.GetFrom(), sum.GetTo(), or(clean(sum.GetTitle()), "(no title)"))
	s.line("state: %s", s.w.coded("request_state", sum.GetStatus()))
	s.limits(body.GetLimits())
	s.line("")
	s.header(r)
	s.substance(body)
	for _, ask := range r.GetAsks() {
		s.ask(ask)
	}
	for i, x := range r.GetSubjects() {
		s.subject(i+1, x)
	}
	s.files(r)
	for _, step := range r.GetSteps() {
		s.step(step)
	}
	s.fallback(r)
	if r.GetDigest() != "" {
		s.line("\nto approve exactly this: enlace request approve %s --digest %s", sum.GetId(), r.GetDigest())
	}
	if mark != "" {
		s.line("%s", s.banner(sum.GetOperationalStatus(), mark))
	}
}

// banner cannot be taken for real traffic, in English and in the reader's language.
func (s sheet) banner(status, mark string) string {
	e, _ := s.w.lists.Entry("operational_status", status)
	return strings.TrimSpace(mark + " " + e.Fields["explain_en"])
}

// limits come before any content; H1 is marked on every view (domain 4.3).
func (s sheet) limits(l *formatv1.Limits) {
	if l == nil {
		return
	}
	if slices.Contains(l.GetHandling(), "H1") {
		s.line("NOT EVIDENCE: %s [H1]", s.w.label("handling", "H1"))
	}
	for _, h := range l.GetHandling() {
		if h != "H1" {
			s.line("limit: %s", s.w.coded("handling", h))
		}
	}
	if l.GetHandlingText() != "" {
		s.line("limit in words:\n%s", paragraph("  ", l.GetHandlingText()))
	}
	s.line("limit: %s", s.w.label("tlp", l.GetTlp()))
	if l.GetPap() != "" {
		s.line("limit: %s", s.w.label("pap", l.GetPap()))
	}
	if l.GetDoNotInformSubject() {
		s.line("limit: the person must not learn of it")
	}
}

func (s sheet) header(r *operatorv1.GetRequestResponse) {
	sum, body := r.GetSummary(), r.GetRequest()
	s.field("ID", sum.GetId())
	s.field("kind", s.w.coded("request-kinds", sum.GetKind()))
	s.field("category", s.w.coded("crime-categories", sum.GetCategory()))
	s.field("urgency", s.w.coded("urgency", sum.GetUrgency()))
	if u := body.GetUrgencyReason(); u.GetCode() != "" {
		s.field("urgent because", strings.TrimSuffix(s.w.coded("urgency_reason", u.GetCode())+": "+clean(u.GetText()), ": "))
	}
	s.field("written", when(sum.GetCreated()))
	s.field("last change", when(sum.GetChanged()))
	s.field("answer due", when(sum.GetDue()))
	s.field("needed by", strings.TrimSuffix(when(body.GetNeededBy())+", "+clean(body.GetNeededByReason()), ", "))
	s.field("sender's file", clean(body.GetLocalReference()))
	s.field("our file", clean(r.GetLocalReference()))
	s.field("desk", clean(body.GetDesk()))
	if cb := body.GetCallBack(); cb != nil {
		s.field("call back", strings.Trim(clean(cb.GetPhone()+"  "+cb.GetHours()+" "+cb.GetTimeZone()), " "))
		s.field("at any hour", clean(cb.GetLine_24_7()))
	}
}

func (s sheet) substance(body *formatv1.Request) {
	s.field("stage", s.w.label("stage", body.GetStage()))
	s.field("intended use", s.w.label("intended_use", body.GetIntendedUse()))
	for _, l := range body.GetLegalBasis() {
		s.field("legal basis", s.w.coded("legal-instruments", l))
	}
	if o := body.GetOffence(); o != nil {
		s.field("offence", strings.Trim(clean(o.GetTitle()+", "+o.GetArticle()), ", "))
		if o.GetMaximumPenalty() > 0 {
			s.field("maximum penalty", number(o.GetMaximumPenalty())+" years")
		}
	}
	if body.GetConfidential() {
		s.field("confidential", "yes, that it exists too")
	}
	s.field("also sent by", clean(strings.Join(body.GetOtherChannels(), ", ")))
	s.field("review at", when(body.GetReviewAt()))
	s.long("purpose", body.GetPurpose())
	s.long("facts", body.GetFacts())
	s.long("necessity", body.GetNecessity())
	s.long("why you", body.GetLink())
	s.long("dual criminality", body.GetDualCriminality())
	s.long("procedure", body.GetProcedure())
}

func (s sheet) ask(x *formatv1.Ask) {
	s.line("\nquestion %d (%s)\n%s", x.GetNumber(), s.w.label("request-kinds", x.GetKind()), paragraph("  ", x.GetQuestion()))
	if x.GetFrom() != 0 || x.GetTo() != 0 {
		s.line("  from %s to %s", when(x.GetFrom()), when(x.GetTo()))
	}
}

func (s sheet) subject(n int, x *formatv1.Subject) {
	s.line("\nsubject %d: %s, %s", n, clean(x.GetType()), s.w.label("subject_role", x.GetRole()))
	s.field("reason", clean(x.GetReason()))
	if x.GetMinor() == "yes" {
		s.field("MINOR", "yes")
	}
	s.field("confidence", clean(x.GetConfidence()))
	for _, at := range x.GetAttributes() {
		detail := strings.Join(slices.DeleteFunc([]string{at.GetKind(), strings.ToUpper(at.GetCountry()), at.GetNote()}, func(p string) bool { return p == "" }), ", ")
		if detail != "" {
			detail = " (" + clean(detail) + ")"
		}
		s.field(s.w.label("subject:"+x.GetType(), at.GetName()), clean(at.GetValue())+detail)
	}
}

func (s sheet) files(r *operatorv1.GetRequestResponse) {
	if len(r.GetAttachments()) == 0 {
		return
	}
	s.line("\nfiles")
	printFiles(s.out, r.GetAttachments())
}

// step prints one message of the conversation. What a machine did (receipts) and what a person said stand apart.
func (s sheet) step(x *operatorv1.Step) {
	s.line("\n%s from %s at %s", stepName(x.GetKind()), x.GetSender(), when(x.GetCreated()))
	s.field("message", x.GetMessageId())
	s.field("released", clean(x.GetApproval()))
	s.field("delivery", deliveryWords(x.GetDelivery()))
	s.field("road", roadWords(x.GetRoad()))
	if x.GetAttempts() > 0 && x.GetDelivery() == "QUEUED" {
		s.field("attempts", fmt.Sprintf("%d, next %s, %s", x.GetAttempts(), when(x.GetNextAttempt()), or(clean(x.GetLastError()), "no error")))
	}
	for _, r := range x.GetReceipts() {
		s.receipt(r)
	}
	s.acknowledgement(x.GetAcknowledgement())
	for _, an := range x.GetAnswers() {
		s.answer(an)
	}
	for i, found := range x.GetSubjects() {
		s.subject(i+1, found)
	}
	if f := x.GetRefusal(); f != nil {
		s.line("  REFUSED: %s", s.w.coded("refusal-reasons", f.GetReason()))
		s.long("in words", f.GetText())
		s.long("what would cure it", f.GetCure())
	}
	if c := x.GetClosing(); c != nil {
		s.field("feedback", clean(c.GetFeedback()))
		s.field("useful", map[bool]string{true: "yes", false: "no"}[c.GetUseful()])
		s.long("outcome", c.GetOutcome())
	}
}

func (s sheet) receipt(r *operatorv1.ReceiptInfo) {
	proof := "signature verified"
	if !r.GetVerified() {
		proof = "SIGNATURE NOT VERIFIED"
	}
	words := map[string]string{
		"RECEIVED": "received, opened and stored", "COMPLETE": "received, opened and stored with all files", "REJECTED": "rejected",
	}
	stage := or(words[r.GetStage()], clean(r.GetStage()))
	if r.GetCode() != "" {
		stage += " (" + clean(r.GetCode()) + ")"
	}
	s.line("  receipt of node %s for %s: %s at %s, %s", r.GetNode(), r.GetAuthority(), stage, when(r.GetTime()), proof)
}

func (s sheet) acknowledgement(k *formatv1.Acknowledgement) {
	if k == nil {
		return
	}
	s.field("taken by", or(clean(k.GetTakenBy()), "a person there"))
	s.field("their file", clean(k.GetLocalReference()))
	s.field("answer expected", when(k.GetExpectedAt()))
	s.field("urgency", s.w.coded("urgency", k.GetUrgency()))
	s.field("lowered because", clean(k.GetUrgencyReason()))
	s.long("remark", k.GetText())
}

func (s sheet) answer(x *formatv1.Answer) {
	s.line("  answer to question %d: %s", x.GetAsk(), resultWords(x.GetResult()))
	s.limits(x.GetLimits())
	if x.GetRefusalReason() != "" {
		s.field("refused because", s.w.coded("refusal-reasons", x.GetRefusalReason()))
	}
	s.long("text", x.GetText())
	s.field("evaluation", s.evaluation(x.GetEvaluation()))
	s.field("origin", clean(x.GetOrigin()))
	s.field("information of", when(x.GetInformationDate()))
	s.field("maybe inaccurate", clean(x.GetInaccurateBecause()))
}

// evaluation shows words and not only letters: C is bad here and fair in the Admiralty scale (domain 4.5).
func (s sheet) evaluation(e string) string {
	grade, ok := strings.CutPrefix(e, "eu4x4:")
	if !ok || len(grade) != 2 {
		return clean(e)
	}
	return grade + " = " + s.w.label("evaluation_source", grade[:1]) + "; " + s.w.label("evaluation_information", grade[1:])
}

func stepName(kind string) string {
	switch message.Kind(kind) {
	case message.KindRequest:
		return "request"
	case message.KindAcknowledge:
		return "acknowledgement"
	case message.KindReply:
		return "answer"
	case message.KindRefuse:
		return "refusal"
	case message.KindClose:
		return "closing"
	}
	return clean(kind)
}

func deliveryWords(state string) string {
	switch state {
	case "QUEUED":
		return "waiting to be delivered [QUEUED]"
	case "DELIVERED":
		return "delivered; files are still on their way, if there are any [DELIVERED]"
	case "COMPLETE":
		return "delivered with all files [COMPLETE]"
	case "REJECTED":
		return "rejected by the other node, for good [REJECTED]"
	case "UNDELIVERABLE":
		return "could not be delivered in time; telephone [UNDELIVERABLE]"
	}
	return clean(state)
}

// roadWords say how a message went, or is being tried.
func roadWords(road string) string {
	switch road {
	case "direct":
		return "straight to the other node [direct]"
	case "collect":
		return "over a connection that the other node opened, since it cannot be called [collect]"
	case "mailbox":
		return "sealed, through the mailbox at the hub, since the nodes cannot reach each other [mailbox]"
	}
	return clean(road)
}

// fallback says whom to telephone where a message could not be delivered.
func (s sheet) fallback(r *operatorv1.GetRequestResponse) {
	undelivered := func(x *operatorv1.Step) bool { return x.GetDelivery() == "UNDELIVERABLE" }
	f := r.GetFallback()
	if f == nil && !slices.ContainsFunc(r.GetSteps(), undelivered) {
		return
	}
	s.line("\nNOT DELIVERED: telephone, and send it again as a new request if it is still wanted")
	if f == nil {
		s.line("  this node's directory names nobody to telephone for it: ask the Secretariat")
		return
	}
	s.field("authority", clean(f.GetName()))
	numbers := false
	for _, d := range f.GetDesks() {
		s.desk(d)
		numbers = numbers || d.GetPhone()+d.GetPhone_24_7()+d.GetSatellitePhone() != ""
	}
	if !numbers {
		s.line("  no contact card with a number is known to this node: see `enlace directory show %s` for its state's other desks", clean(f.GetName()))
	}
}

func resultWords(result string) string {
	switch result {
	case "FOUND":
		return "found [FOUND]"
	case "NOT_FOUND":
		return "no information held [NOT_FOUND]"
	case "PARTIAL":
		return "found in part [PARTIAL]"
	case "REFUSED":
		return "refused [REFUSED]"
	}
	return clean(result)
}
