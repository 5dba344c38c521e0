package testnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/format"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const (
	demoFile     = 1 << 20 // bytes of the demo's attachment
	sdnRequests  = 200
	sdnInFlight  = 16
	settleWithin = 2 * time.Minute
)

// DemoResult is what `enlace demo --json` prints. DESIGN 11.
type DemoResult struct {
	OK               bool    `json:"ok"`
	States           int     `json:"states"`
	AlertsPublished  int     `json:"alerts_published"`
	AlertsDelivered  int     `json:"alerts_delivered"`
	RequestsAnswered int     `json:"requests_answered"`
	AttachmentsBytes int64   `json:"attachments_bytes"`
	ReceiptsVerified int     `json:"receipts_verified"`
	Elapsed          float64 `json:"elapsed_s"`
}

// Progress is told what happens, one line each, for people.
type Progress func(line string)

// Demo plays one request with an attachment from the first member to the second, one that the first refuses to the
// third, and an alert of the first to the others, who subscribe; with sdn set also 200 requests and an alert for every
// entry for organised crime made from the OFAC list in that folder. It returns an error at the first thing that is not
// as it must be.
func (n *Network) Demo(ctx context.Context, sdn string, tell Progress) (DemoResult, error) {
	start := time.Now()
	d := &demo{tell: tell, r: DemoResult{States: len(n.Members)}}
	first, second, third := n.Members[0], n.Members[1], n.Members[2]
	if err := d.answered(ctx, first, second); err != nil {
		return d.r, err
	}
	if err := d.refused(ctx, third, first); err != nil {
		return d.r, err
	}
	if err := d.alerts(ctx, first, n.Members[1:]); err != nil {
		return d.r, err
	}
	if sdn != "" {
		if err := d.list(ctx, sdn, []*Member{first, second, third}); err != nil {
			return d.r, err
		}
		if err := d.listAlerts(ctx, sdn, first, n.Members[1:]); err != nil {
			return d.r, err
		}
	}
	d.r.OK = true
	d.r.Elapsed = time.Since(start).Seconds()
	return d.r, nil
}

type demo struct {
	tell Progress
	r    DemoResult
}

// answered is a whole case: draft, attachment, approval, delivery, acknowledgement, answer, reading back, close.
func (d *demo) answered(ctx context.Context, from, to *Member) error {
	file := make([]byte, demoFile)
	rand.NewChaCha8(sha256.Sum256([]byte("demo"))).Read(file)
	draft := Exercise(from, to, "identify-person", "Who is the master of this vessel?")
	draft.Subjects = []*formatv1.Subject{{Type: "vessel", Role: "unknown", Reason: "seen loading at night", Attributes: []*formatv1.Attribute{
		{Name: "name", Value: "Nuestra Señora de la Peña", Kind: "primary"}, {Name: "imo", Value: "9074729"}}}}
	id, err := from.Submit(ctx, draft, File{"photo.bin", bytes.NewReader(file)})
	if err != nil {
		return err
	}
	d.tell(fmt.Sprintf("%s sent a request with a file of %d bytes to %s", from.Authority, len(file), to.Authority))
	got, err := to.Await(ctx, to.Duty, id, func(r *operatorv1.GetRequestResponse) bool {
		return len(r.GetAttachments()) == 1 && r.GetAttachments()[0].GetComplete()
	})
	if err != nil {
		return err
	}
	if err := d.compare(ctx, to, got, file); err != nil {
		return err
	}
	d.tell(to.Authority.String() + " received it; the file is the same byte for byte")
	if err := d.answer(ctx, to, id, got); err != nil {
		return err
	}
	back, err := from.Await(ctx, from.Officer, id, InState("ANSWERED"))
	if err != nil {
		return err
	}
	if _, err := from.Officer.Requests.CloseRequest(ctx, &operatorv1.CloseRequestRequest{Id: id, Closing: &formatv1.Closing{Feedback: "hit", Useful: true}}); err != nil {
		return err
	}
	if _, err := to.Await(ctx, to.Duty, id, InState("CLOSED")); err != nil {
		return err
	}
	d.tell(fmt.Sprintf("%s answered; %s read the answer and closed the case %s", to.Authority, from.Authority, back.GetSummary().GetReference()))
	return d.receipts(ctx, from, to, id)
}

// compare downloads the attachment at the receiving side.
func (d *demo) compare(ctx context.Context, at *Member, r *operatorv1.GetRequestResponse, want []byte) error {
	a := r.GetAttachments()[0]
	var got bytes.Buffer
	_, err := at.Duty.Download(ctx, &operatorv1.GetAttachmentRequest{RequestId: r.GetSummary().GetId(), MessageId: a.GetMessageId(), Index: a.GetIndex()}, &got)
	if err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), want) {
		return wrong("the attachment is not the same at the other end")
	}
	d.r.AttachmentsBytes += int64(got.Len())
	return nil
}

// answer takes the request on and answers every question.
func (d *demo) answer(ctx context.Context, at *Member, id string, r *operatorv1.GetRequestResponse) error {
	_, err := at.Duty.Requests.AcknowledgeRequest(ctx, &operatorv1.AcknowledgeRequestRequest{Id: id, Acknowledgement: &formatv1.Acknowledgement{
		LocalReference: "local-1", ExpectedAt: time.Now().Add(24 * time.Hour).UnixMilli(), TakenBy: "duty desk",
	}})
	if err != nil {
		return err
	}
	var answers []*formatv1.Answer
	for _, q := range r.GetAsks() {
		answers = append(answers, &formatv1.Answer{Ask: q.GetNumber(), Result: "FOUND", Text: answerText(q), Evaluation: "eu4x4:B2", Origin: "own",
			Language: "en", Limits: usualLimits()})
	}
	if _, err = at.Officer.Requests.AnswerRequest(ctx, &operatorv1.AnswerRequestRequest{Id: id, Answers: answers}); err == nil {
		d.r.RequestsAnswered++
	}
	return err
}

func answerText(q *formatv1.Ask) string {
	sum := sha256.Sum256([]byte(q.GetQuestion()))
	return "Known here; file " + hex.EncodeToString(sum[:4]) + ". Señas y antecedentes a disposición."
}

// refused is the short way: sent, refused with a reason, closed.
func (d *demo) refused(ctx context.Context, from, to *Member) error {
	id, err := from.Submit(ctx, Exercise(from, to, "asset-trace", "Which accounts does the company hold?"))
	if err != nil {
		return err
	}
	if _, err := to.Await(ctx, to.Duty, id, InState("DELIVERED")); err != nil {
		return err
	}
	_, err = to.Duty.Requests.AcknowledgeRequest(ctx, &operatorv1.AcknowledgeRequestRequest{Id: id, Acknowledgement: &formatv1.Acknowledgement{ExpectedAt: time.Now().Add(time.Hour).UnixMilli()}})
	if err != nil {
		return err
	}
	_, err = to.Approver.Requests.RefuseRequest(ctx, &operatorv1.RefuseRequestRequest{Id: id, Refusal: &formatv1.Refusal{
		Reason: "WRONG_LANE_USE_MLA", Text: "Bank secrecy can be lifted by a court only.", Cure: "a request for mutual legal assistance",
	}})
	if err != nil {
		return err
	}
	if _, err := from.Await(ctx, from.Officer, id, InState("REFUSED")); err != nil {
		return err
	}
	d.tell(fmt.Sprintf("%s refused a request of %s and said what would cure it", to.Authority, from.Authority))
	return d.receipts(ctx, from, to, id)
}

// receipts waits until every message of both sides is receipted and counts those whose signature verifies.
func (d *demo) receipts(ctx context.Context, a, b *Member, id string) error {
	for _, m := range []*Member{a, b} {
		r, err := m.Await(ctx, m.Officer, id, Receipted)
		if err != nil {
			return err
		}
		for _, s := range r.GetSteps() {
			for _, rec := range s.GetReceipts() {
				if !rec.GetVerified() || rec.GetStage() == "REJECTED" {
					return wrong("a receipt does not verify")
				}
				d.r.ReceiptsVerified++
			}
		}
	}
	return nil
}

// Receipted is for Await: every message of the case has its final receipt.
func Receipted(r *operatorv1.GetRequestResponse) bool {
	for _, s := range r.GetSteps() {
		if len(s.GetReceipts()) == 0 || (s.GetDelivery() != "" && s.GetDelivery() != "COMPLETE") {
			return false
		}
	}
	return len(r.GetSteps()) > 0
}

// list sends requests made of the OFAC list, each answered and read back; the list itself goes with the first.
func (d *demo) list(ctx context.Context, dir string, members []*Member) error {
	entries, err := readEntries(dir)
	if err != nil {
		return err
	}
	whole, err := os.ReadFile(filepath.Join(dir, "sdn.csv"))
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "", "read the list", "there is no sdn.csv in "+dir)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sdnInFlight)
	done := make(chan DemoResult, len(entries))
	for i, entry := range entries {
		g.Go(func() error {
			one := &demo{tell: func(string) {}}
			from, to := members[i%len(members)], members[(i+1)%len(members)]
			var file []byte
			if i == 0 {
				file = whole
			}
			err := one.entry(ctx, from, to, entry, file)
			done <- one.r
			return err
		})
	}
	go func() { _ = g.Wait(); close(done) }()
	for r := range done {
		d.r.RequestsAnswered += r.RequestsAnswered
		d.r.ReceiptsVerified += r.ReceiptsVerified
		d.r.AttachmentsBytes += r.AttachmentsBytes
		if d.r.RequestsAnswered%25 == 0 {
			d.tell(fmt.Sprintf("%d requests answered", d.r.RequestsAnswered))
		}
	}
	return g.Wait()
}

func readEntries(dir string) ([]format.Entry, error) {
	var out []format.Entry
	for e, err := range format.OFAC(os.DirFS(dir), func(format.Problem) {}) {
		if err != nil {
			return nil, err
		}
		if e.Organised() && e.Type == format.Individual {
			out = append(out, e)
		}
		if len(out) == sdnRequests {
			break
		}
	}
	if len(out) < sdnRequests {
		return nil, fault.New(fault.Invalid, "", "read the list", fmt.Sprintf("the list has only %d entries that fit", len(out)))
	}
	return out, nil
}

// entry is one request about one entry: what arrives must be what was written, to the byte, and so must the answer.
func (d *demo) entry(ctx context.Context, from, to *Member, e format.Entry, file []byte) error {
	draft := Exercise(from, to, "identify-person", fmt.Sprintf("Is entry %d of the list known to you, and under which names?", e.Number))
	draft.Subjects = e.Subjects()
	if c := e.Categories(); len(c) > 0 {
		draft.Category = c[0].String()
	}
	var files []File
	if file != nil {
		files = append(files, File{"sdn.csv", bytes.NewReader(file)})
	}
	id, err := from.Submit(ctx, draft, files...)
	if err != nil {
		return err
	}
	got, err := to.Await(ctx, to.Duty, id, func(r *operatorv1.GetRequestResponse) bool {
		return len(r.GetAttachments()) == len(files) && (len(files) == 0 || r.GetAttachments()[0].GetComplete())
	})
	if err != nil {
		return err
	}
	if !sameSubjects(got.GetSubjects(), draft.GetSubjects()) {
		return wrong("the subjects are not the same at the other end")
	}
	if file != nil {
		if err := d.compare(ctx, to, got, file); err != nil {
			return err
		}
	}
	if err := d.answer(ctx, to, id, got); err != nil {
		return err
	}
	back, err := from.Await(ctx, from.Officer, id, InState("ANSWERED"))
	if err != nil {
		return err
	}
	if err := sameAnswers(back, draft); err != nil {
		return err
	}
	return d.receipts(ctx, from, to, id)
}

func sameAnswers(r *operatorv1.GetRequestResponse, draft *operatorv1.Draft) error {
	for _, s := range r.GetSteps() {
		if s.GetKind() != "REPLY_FINAL" {
			continue
		}
		for i, a := range s.GetAnswers() {
			if a.GetText() != answerText(draft.GetAsks()[i]) {
				return wrong("the answer is not the same at the other end")
			}
		}
		return nil
	}
	return wrong("the answer is missing")
}

func wrong(say string) error { return fault.New(fault.Internal, "demo", "check the demo", say) }

// File is a file to attach.
type File struct {
	Name string
	Data io.Reader
}

func usualLimits() *formatv1.Limits {
	return &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER+STRICT"}
}

// Exercise is a complete request of one member to another with two questions, marked as an exercise. Kind is one of the
// list request-kinds.
func Exercise(from, to *Member, kind, question string) *operatorv1.Draft {
	return &operatorv1.Draft{
		Authority: from.Authority.String(), To: to.Authority.String(), Category: "drugs.trafficking", Urgency: "ROUTINE", Status: "EXERCISE",
		Request: &formatv1.Request{
			Kind: kind, Title: "Exercise: " + kind, Language: "en", Stage: "investigation", LegalBasis: []string{"untoc"},
			Purpose: "Exercise of the network", Necessity: "No other source can tell", IntendedUse: "operational-lead",
			Facts: "Made-up facts for an exercise; nothing of this happened.", Link: "The vessel was last seen off your coast",
			Limits: usualLimits(), CallBack: &formatv1.CallBack{Phone: "+1 555 0100"},
		},
		Asks: []*formatv1.Ask{{Number: 1, Kind: kind, Question: question}, {Number: 2, Kind: "known-to-you", Question: "Is anything of this known to you?"}},
	}
}

// InState is for Await: a request has come to a state, such as "ANSWERED".
func InState(state string) func(*operatorv1.GetRequestResponse) bool {
	return func(r *operatorv1.GetRequestResponse) bool { return r.GetSummary().GetStatus() == state }
}
