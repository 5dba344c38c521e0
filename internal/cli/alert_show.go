package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) showAlertCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show an alert with its files and everything that became of it",
		Long: "Show an alert whole, by its ID or its reference. Of one that is cancelled or expired a receiver's copy is\n" +
			"locked, and only its life is shown. Reading is recorded.",
		Example: "  enlace alert show 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --lang es\n  enlace alert show mx-fgr-alert-2031-000007", Args: cobra.ExactArgs(1),
		RunE: a.onAlert(func(ctx context.Context, node *operator.Client, id string) error {
			w, err := a.wordsNow(ctx, node)
			if err != nil {
				return err
			}
			r, err := node.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: id})
			if err != nil {
				return err
			}
			if err := a.restricted(ctx, r.GetNotice().GetLimits()); err != nil {
				return err
			}
			return a.show(r, func(out io.Writer) { sheet{out, w}.alert(r) })
		}),
	}
}

// restricted shows the text of an H3 restriction before the content, and has it confirmed; domain 4.3.
func (a *app) restricted(ctx context.Context, l *formatv1.Limits) error {
	if a.json || !slices.Contains(l.GetHandling(), "H3") {
		return nil
	}
	fmt.Fprintf(a.streams.Err, "restriction of the originator (H3):\n%s\n", paragraph("  ", l.GetHandlingText()))
	return a.sure(ctx, "read it under this restriction?")
}

// lawOfReceiver stands beside whatever an alert asks for; domain 4.9.
func lawOfReceiver(lang authority.Language) string {
	switch lang.String() {
	case "es":
		return "con sujeción a la ley del Estado receptor"
	case "pt":
		return "sujeito à lei do Estado receptor"
	case "fr":
		return "sous réserve de la loi de l'État destinataire"
	}
	return "subject to the law of the receiving state"
}

func (s sheet) alert(r *operatorv1.GetAlertResponse) {
	sum, n := r.GetSummary(), r.GetNotice()
	mark := s.w.mark(sum.GetOperationalStatus())
	if mark != "" {
		s.line("%s", s.banner(sum.GetOperationalStatus(), mark))
	}
	s.line("%s", or(clean(sum.GetReference()), sum.GetId()))
	s.line("%s: %s", sum.GetIssuer(), or(s.w.alertTitle(sum, 120), "(no title)"))
	s.line("state: %s", s.w.coded("alert_state", sum.GetStatus()))
	s.locked(r)
	s.limits(n.GetLimits())
	if warning := s.w.lists.AlertWarning(sum.GetType(), s.w.a.lang); warning != "" {
		s.line("NOTE: %s", clean(warning))
	}
	s.line("")
	s.alertHeader(sum, n)
	if n != nil {
		s.notice(n)
	}
	for i, x := range r.GetSubjects() {
		s.subject(i+1, x)
	}
	s.alertFiles(r)
	for _, step := range r.GetSteps() {
		s.alertStep(step)
	}
	s.approving(r)
	if mark != "" {
		s.line("%s", s.banner(sum.GetOperationalStatus(), mark))
	}
}

// locked says why there is no content.
func (s sheet) locked(r *operatorv1.GetAlertResponse) {
	switch {
	case r.GetNotice() != nil:
	case message.AlertState(r.GetSummary().GetStatus()).Over():
		s.line("LOCKED: the alert is over; what it said is not shown any more and must not be acted upon")
	default:
		s.line("CONTENT NOT AVAILABLE: it cannot be opened here now")
	}
}

func (s sheet) alertHeader(sum *operatorv1.AlertSummary, n *formatv1.AlertNotice) {
	s.field("ID", sum.GetId())
	s.field("situation", s.w.coded("operational_status", sum.GetOperationalStatus()))
	s.field("type", s.w.coded("alert-types", sum.GetType()))
	s.field("category", s.w.coded("crime-categories", sum.GetCategory()))
	for _, c := range n.GetSecondaryCategories() {
		s.field("also", s.w.coded("crime-categories", c))
	}
	s.field("urgency", s.w.coded("urgency", sum.GetUrgency()))
	if u := n.GetUrgencyReason(); u.GetCode() != "" {
		s.field("urgent because", strings.TrimSuffix(s.w.coded("urgency_reason", u.GetCode())+": "+clean(u.GetText()), ": "))
	}
	s.field("distribution", s.w.coded("distribution", sum.GetDistribution()))
	s.field("version", number(sum.GetVersion()))
	s.field("issued", when(sum.GetCreated()))
	s.field("last change", when(sum.GetChanged()))
	s.field("holds from", when(n.GetValidFrom()))
	s.field("holds until", when(sum.GetExpires()))
	s.field("review at", when(n.GetReviewAt()))
	if sum.GetMark() != "" {
		s.field("marked here", s.w.receiverMark(sum.GetMark()))
	}
}

func (s sheet) notice(n *formatv1.AlertNotice) {
	if n.GetActionRequested() != "" {
		s.field("ACTION REQUESTED", s.w.coded("alert-actions", n.GetActionRequested())+", "+lawOfReceiver(s.w.a.lang))
	}
	s.field("severity", s.w.coded("severity", n.GetSeverity()))
	s.field("certainty", s.w.coded("certainty", n.GetCertainty()))
	s.field("evaluation", s.evaluation(n.GetEvaluation()))
	for _, l := range n.GetLegalBasis() {
		s.field("legal basis", s.w.coded("legal-instruments", l))
	}
	for _, x := range n.GetAttestations() {
		s.field("attested", s.w.coded("attestation", x))
	}
	s.field("other channels", clean(strings.Join(n.GetReferences(), ", ")))
	s.field("tags", clean(strings.Join(n.GetTags(), ", ")))
	s.field("desk", clean(n.GetDesk()))
	if cb := n.GetCallBack(); cb != nil {
		s.field("call back", strings.Trim(clean(cb.GetPhone()+"  "+cb.GetHours()+" "+cb.GetTimeZone()), " "))
		s.field("at any hour", clean(cb.GetLine_24_7()))
	}
	s.long("summary ("+clean(n.GetLanguage())+")", n.GetSummary())
	for _, t := range n.GetTexts() {
		translation := map[bool]string{true: ", translated by a machine"}[t.GetTranslation() == "machine"]
		s.long("in "+clean(t.GetLanguage())+translation, t.GetTitle()+"\n"+t.GetSummary())
	}
	s.long("details", n.GetDetails())
	if n.GetFrom() != 0 || n.GetTo() != 0 {
		s.field("when", when(n.GetFrom())+" to "+when(n.GetTo()))
	}
	for _, p := range n.GetPlaces() {
		s.field("where", s.place(p))
	}
}

func (s sheet) place(p *formatv1.Place) string {
	var parts []string
	for _, x := range []string{p.GetName(), p.GetRegion(), or(s.w.state(p.GetState()), strings.ToUpper(p.GetState())), p.GetKind()} {
		if x != "" {
			parts = append(parts, clean(x))
		}
	}
	if p.GetPrecisionM() > 0 {
		parts = append(parts, fmt.Sprintf("%s,%s within %d m", degrees(p.GetLatitudeE6()), degrees(p.GetLongitudeE6()), p.GetPrecisionM()))
	}
	return strings.Join(parts, ", ")
}

func degrees(e6 int64) string { return strconv.FormatFloat(float64(e6)/1e6, 'f', -1, 64) }

// alertFiles lists the files by what "alert get" calls them: small ones inside the alert i0, i1, ..., the others by number.
func (s sheet) alertFiles(r *operatorv1.GetAlertResponse) {
	if len(r.GetFiles())+len(r.GetAttachments()) == 0 {
		return
	}
	s.line("\nfiles: enlace alert get %s INDEX", r.GetSummary().GetId())
	t := newTable(s.out)
	t.row("INDEX", "NAME", "TYPE", "SIZE", "SHA-256", "LIMIT")
	for i, f := range r.GetFiles() {
		sum := sha256.Sum256(f.GetData())
		limit := ""
		if f.GetLimits() != nil {
			limit = s.w.label("tlp", f.GetLimits().GetTlp())
		}
		t.row(insideIndex(i), cut(f.GetName(), 60), cut(f.GetMediaType(), 40), strconv.Itoa(len(f.GetData())), hex.EncodeToString(sum[:]), limit)
	}
	for _, x := range r.GetAttachments() {
		t.row(number(x.GetIndex()), cut(x.GetName(), 60), cut(x.GetMediaType(), 40), strconv.FormatUint(x.GetSize(), 10), x.GetDigest(), "")
	}
	t.end()
}

func (s sheet) alertStep(x *operatorv1.AlertStep) {
	what := map[string]string{
		"ALERT": "alert", "ALERT_UPDATE": "update", "ALERT_CANCEL": "cancellation", "ALERT_FEEDBACK": "feedback",
	}[x.GetKind()]
	s.line("\n%s from %s at %s", or(what, clean(x.GetKind())), x.GetSender(), when(x.GetCreated()))
	s.field("message", x.GetMessageId())
	if x.GetVersion() > 0 {
		s.field("version", number(x.GetVersion()))
	}
	s.field("released", clean(x.GetApproval()))
	if c := x.GetCancellation(); c != nil {
		s.line("  CANCELLED: %s", s.w.coded("cancel_reason", c.GetReason()))
		s.long("in words", c.GetText())
	}
	if f := x.GetFeedback(); f != nil {
		s.field("found", s.w.coded("feedback", f.GetMark()))
		s.long("in words", f.GetText())
		if id, err := message.IDFromBytes(f.GetRequest()); err == nil {
			s.field("led to request", id.String())
		}
	}
}

// approving says how the draft went on: come back, or to be released as it was read.
func (s sheet) approving(r *operatorv1.GetAlertResponse) {
	if r.GetReturned() != "" {
		s.line("")
		s.long("came back from approval", r.GetReturned())
	}
	if r.GetDigest() != "" {
		s.line("\nto approve exactly this: enlace alert approve %s --digest %s", r.GetSummary().GetId(), r.GetDigest())
	}
}
