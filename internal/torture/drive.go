package torture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

const (
	// callLimit is how long an officer waits for an answer.
	callLimit = 6 * time.Second
	// betweenDeeds is the mean time between two deeds of one officer.
	betweenDeeds = 250 * time.Millisecond
	chunk        = 256 << 10
	category     = "drugs.trafficking"
)

// matter is a request or alert as its officers remember it.
type matter struct {
	id, from, to string
	summary      string
	// answered and closed: somebody has tried, with whatever outcome.
	answered, closed bool
	version          int
	cancelled        bool
}

// office is the work of all officers. They act at random, by the seed.
type office struct {
	net     *network
	history *History
	began   time.Time
	seed    uint64

	mu       sync.Mutex
	requests []*matter // guarded by mu; those whose sending was acknowledged
	alerts   []*matter // guarded by mu
	made     int       // guarded by mu; numbers what is written
}

func (o *office) since() time.Duration { return time.Since(o.began) }

// work has every state's officer act until ctx ends.
func (o *office) work(ctx context.Context, round int) {
	var all sync.WaitGroup
	for i, state := range states() {
		r := rand.New(rand.NewPCG(o.seed, uint64(100+10*round+i)))
		all.Go(func() {
			for ctx.Err() == nil {
				o.deed(ctx, state, r)
				pause(ctx, time.Duration(r.Int64N(int64(2*betweenDeeds))))
			}
		})
	}
	all.Wait()
}

// deed is one thing that an officer does.
func (o *office) deed(ctx context.Context, state string, r *rand.Rand) {
	switch n := r.IntN(100); {
	case n < 45:
		o.request(ctx, state, r)
	case n < 65:
		o.reply(ctx, state, r)
	case n < 77:
		o.close(ctx, state, r)
	case n < 88:
		o.publish(ctx, state, r)
	case n < 95:
		o.update(ctx, state, r)
	default:
		o.cancel(ctx, state, r)
	}
}

// number gives each text its own name.
func (o *office) number() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.made++
	return o.made
}

// pick takes one of the newest matters that fit, and marks it.
func (o *office) pick(r *rand.Rand, from []*matter, fits func(*matter) bool, mark func(*matter)) *matter {
	o.mu.Lock()
	defer o.mu.Unlock()
	const newest = 60
	from = from[max(0, len(from)-newest):]
	var open []*matter
	for _, m := range from {
		if fits(m) {
			open = append(open, m)
		}
	}
	if len(open) == 0 {
		return nil
	}
	m := open[r.IntN(len(open))]
	mark(m)
	return m
}

func (o *office) known(alerts bool) []*matter {
	o.mu.Lock()
	defer o.mu.Unlock()
	if alerts {
		return o.alerts
	}
	return o.requests
}

// refused reports whether an error says that nothing was done. Any other leaves the deed in doubt.
func refused(err error) bool {
	if err == nil {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Denied, fault.Unauthenticated, fault.NotFound, fault.Conflict, fault.TooLarge, fault.Usage:
		return true
	}
	return false
}

// note writes down what became of a call that hands a message in, the moment it is known.
func (o *office) note(s Said, err error) bool {
	if err != nil && refused(err) {
		return false
	}
	s.Acknowledged, s.At = err == nil, o.since()
	o.history.Say(s)
	return err == nil
}

// request writes one, attaches files, has it approved.
func (o *office) request(ctx context.Context, state string, r *rand.Rand) {
	p, to := o.net.people[state], o.another(state, r)
	n := o.number()
	draft := testnet.Exercise(p.member(), o.net.people[to].member(), "identify-person", fmt.Sprintf("Who is number %d?", n))
	draft.Request.Title = fmt.Sprintf("Number %d", n)
	draft.Request.Facts = fmt.Sprintf("Made-up facts of an exercise, number %d: %x", n, r.Uint64())
	if r.IntN(6) == 0 {
		draft.Urgency = "IMMEDIATE"
	}
	s := Said{Kind: "REQUEST", From: state, To: to, Content: requestContent(draft.Request, draft.Asks)}
	id, files, ok := o.drafted(ctx, p, draft, o.sizes(r), r)
	if !ok {
		return
	}
	s.Case, s.Files = id, files
	out, err := limited(ctx, func(ctx context.Context) (*operatorv1.ApproveRequestResponse, error) {
		return p.approver.Requests.ApproveRequest(ctx, &operatorv1.ApproveRequestRequest{Id: id})
	})
	s.ID = out.GetMessageId()
	if o.note(s, err) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.requests = append(o.requests, &matter{id: id, from: state, to: to})
	}
}

// drafted brings a request as far as the approver's desk.
func (o *office) drafted(ctx context.Context, p *people, draft *operatorv1.Draft, sizes []int, r *rand.Rand) (string, []File, bool) {
	made, err := limited(ctx, func(ctx context.Context) (*operatorv1.CreateRequestResponse, error) {
		return p.officer.Requests.CreateRequest(ctx, &operatorv1.CreateRequestRequest{Draft: draft})
	})
	if err != nil {
		return "", nil, false
	}
	var files []File
	o.net.machines[p.state].uploads.RLock()
	defer o.net.machines[p.state].uploads.RUnlock()
	for i, size := range sizes {
		name, b := fmt.Sprintf("file-%d.bin", i), content(size, r)
		note := &formatv1.AttachmentNote{Name: name, MediaType: "application/octet-stream", Limits: limits(), Evaluation: "eu4x4:B2"}
		_, err := limited(ctx, func(ctx context.Context) (*operatorv1.AddAttachmentResponse, error) {
			return p.officer.Upload(ctx, made.GetId(), note, bytes.NewReader(b))
		})
		if err != nil {
			return "", nil, false
		}
		sum := sha256.Sum256(b)
		files = append(files, File{Name: name, Size: uint64(size), Digest: hex.EncodeToString(sum[:])})
	}
	_, err = limited(ctx, func(ctx context.Context) (*operatorv1.SendRequestResponse, error) {
		return p.officer.Requests.SendRequest(ctx, &operatorv1.SendRequestRequest{Id: made.GetId()})
	})
	return made.GetId(), files, err == nil
}

// sizes of the files of a request: most have none, few a large one.
func (o *office) sizes(r *rand.Rand) []int {
	switch r.IntN(10) {
	case 0:
		return []int{0, 1}
	case 1:
		return []int{chunk - 1 + r.IntN(3)}
	case 2, 3:
		return []int{r.IntN(64 << 10), (1 + r.IntN(4)) << 20}
	}
	return nil
}

func content(size int, r *rand.Rand) []byte {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(r.Uint32())
	}
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

func limits() *formatv1.Limits {
	return &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER+STRICT"}
}

func (o *office) another(state string, r *rand.Rand) string {
	for {
		if s := states()[r.IntN(len(states()))]; s != state {
			return s
		}
	}
}

// reply takes a request on and answers it at once, or refuses it.
func (o *office) reply(ctx context.Context, state string, r *rand.Rand) {
	m := o.pick(r, o.known(false), func(m *matter) bool { return m.to == state && !m.answered }, func(m *matter) { m.answered = true })
	if m == nil {
		return
	}
	p, n := o.net.people[state], o.number()
	ack := &formatv1.Acknowledgement{LocalReference: fmt.Sprintf("L-%d", n), ExpectedAt: time.Now().Add(24 * time.Hour).UnixMilli(), TakenBy: "duty desk"}
	taken, err := limited(ctx, func(ctx context.Context) (*operatorv1.AcknowledgeRequestResponse, error) {
		return p.duty.Requests.AcknowledgeRequest(ctx, &operatorv1.AcknowledgeRequestRequest{Id: m.id, Acknowledgement: ack})
	})
	if fault.Is(err, fault.NotFound) {
		o.again(m)
		return
	}
	o.note(Said{ID: taken.GetMessageId(), Case: m.id, Kind: "ACKNOWLEDGE", From: state, To: m.from, Content: digest(ack.GetLocalReference())}, err)
	if err != nil {
		return
	}
	if r.IntN(6) == 0 {
		o.refuse(ctx, p, m, n)
		return
	}
	answers := []*formatv1.Answer{answer(1, n), answer(2, n)}
	out, err := limited(ctx, func(ctx context.Context) (*operatorv1.AnswerRequestResponse, error) {
		return p.officer.Requests.AnswerRequest(ctx, &operatorv1.AnswerRequestRequest{Id: m.id, Answers: answers})
	})
	o.note(Said{ID: out.GetMessageId(), Case: m.id, Kind: "REPLY_FINAL", From: state, To: m.from, Content: answersContent(answers)}, err)
}

func (o *office) again(m *matter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.answered = false
}

func answer(ask uint32, n int) *formatv1.Answer {
	return &formatv1.Answer{Ask: ask, Result: "FOUND", Text: fmt.Sprintf("Known here; number %d of question %d.", n, ask), Evaluation: "eu4x4:B2", Origin: "own",
		Language: "en", Limits: limits()}
}

func (o *office) refuse(ctx context.Context, p *people, m *matter, n int) {
	text := fmt.Sprintf("Bank secrecy can be lifted by a court only; number %d.", n)
	out, err := limited(ctx, func(ctx context.Context) (*operatorv1.RefuseRequestResponse, error) {
		return p.approver.Requests.RefuseRequest(ctx, &operatorv1.RefuseRequestRequest{Id: m.id, Refusal: &formatv1.Refusal{
			Reason: "WRONG_LANE_USE_MLA", Text: text, Cure: "a request for mutual legal assistance"}})
	})
	o.note(Said{ID: out.GetMessageId(), Case: m.id, Kind: "REFUSE", From: p.state, To: m.from, Content: digest(text)}, err)
}

// close ends a request of ours, where its answer has come.
func (o *office) close(ctx context.Context, state string, r *rand.Rand) {
	m := o.pick(r, o.known(false), func(m *matter) bool { return m.from == state && m.answered && !m.closed }, func(*matter) {})
	if m == nil {
		return
	}
	p, outcome := o.net.people[state], fmt.Sprintf("Number %d is closed.", o.number())
	out, err := limited(ctx, func(ctx context.Context) (*operatorv1.CloseRequestResponse, error) {
		return p.officer.Requests.CloseRequest(ctx, &operatorv1.CloseRequestRequest{Id: m.id, Closing: &formatv1.Closing{Feedback: "hit", Useful: true, Outcome: outcome}})
	})
	if refused(err) {
		return // not answered yet
	}
	o.mu.Lock()
	m.closed = true
	o.mu.Unlock()
	o.note(Said{ID: out.GetMessageId(), Case: m.id, Kind: "CLOSE", From: state, To: m.to, Content: digest(outcome)}, err)
}

// publish issues an alert to all others.
func (o *office) publish(ctx context.Context, state string, r *rand.Rand) {
	p, summary := o.net.people[state], fmt.Sprintf("Made-up alert of an exercise, number %d: %x", o.number(), r.Uint64())
	draft := testnet.ExerciseAlert(p.member(), category, "Exercise")
	draft.Notice.Summary = summary
	if r.IntN(5) == 0 {
		draft.Urgency = "IMMEDIATE"
	}
	made, err := limited(ctx, func(ctx context.Context) (*operatorv1.CreateAlertResponse, error) {
		return p.officer.Alerts.CreateAlert(ctx, &operatorv1.CreateAlertRequest{Draft: draft})
	})
	if err != nil {
		return
	}
	if o.released(ctx, p, Said{Case: made.GetId(), Kind: "ALERT", From: state, Content: digest(summary)}) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.alerts = append(o.alerts, &matter{id: made.GetId(), from: state, summary: summary, version: 1})
	}
}

// released has what was drafted approved by a second person.
func (o *office) released(ctx context.Context, p *people, s Said) bool {
	_, err := limited(ctx, func(ctx context.Context) (*operatorv1.PublishAlertResponse, error) {
		return p.officer.Alerts.PublishAlert(ctx, &operatorv1.PublishAlertRequest{Id: s.Case})
	})
	if err != nil {
		return false // it lies on the approver's desk, or not even there
	}
	out, err := limited(ctx, func(ctx context.Context) (*operatorv1.ApproveAlertResponse, error) {
		return p.approver.Alerts.ApproveAlert(ctx, &operatorv1.ApproveAlertRequest{Id: s.Case})
	})
	s.ID = out.GetMessageId()
	return o.note(s, err)
}

// update says an alert anew. It is tried once.
func (o *office) update(ctx context.Context, state string, r *rand.Rand) {
	m := o.pick(r, o.known(true), func(m *matter) bool { return m.from == state && m.version == 1 && !m.cancelled }, func(m *matter) { m.version++ })
	if m == nil {
		return
	}
	p, summary := o.net.people[state], fmt.Sprintf("Updated alert of an exercise, number %d: %x", o.number(), r.Uint64())
	draft := testnet.ExerciseAlert(p.member(), category, "Exercise, updated")
	draft.Notice.Summary = summary
	_, err := limited(ctx, func(ctx context.Context) (*operatorv1.UpdateAlertResponse, error) {
		return p.officer.Alerts.UpdateAlert(ctx, &operatorv1.UpdateAlertRequest{Id: m.id, Draft: draft})
	})
	if err == nil {
		o.released(ctx, p, Said{Case: m.id, Kind: "ALERT_UPDATE", From: state, Content: digest(summary)})
	}
}

// cancel takes an alert back. It is tried once.
func (o *office) cancel(ctx context.Context, state string, r *rand.Rand) {
	m := o.pick(r, o.known(true), func(m *matter) bool { return m.from == state && !m.cancelled }, func(m *matter) { m.cancelled = true })
	if m == nil {
		return
	}
	p, text := o.net.people[state], fmt.Sprintf("end of exercise %d", o.number())
	out, err := limited(ctx, func(ctx context.Context) (*operatorv1.CancelAlertResponse, error) {
		return p.approver.Alerts.CancelAlert(ctx, &operatorv1.CancelAlertRequest{Id: m.id, Reason: "RESOLVED", Text: text})
	})
	o.note(Said{ID: out.GetMessageId(), Case: m.id, Kind: "ALERT_CANCEL", From: state, Content: digest(text)}, err)
}

// limited makes one call with the patience of an officer. What the call returns is there even where it failed: empty.
func limited[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	// The end of the round does not end a call: its answer may be on the way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
	defer cancel()
	return call(ctx)
}

// member is the state as the helpers of package testnet know it.
func (p *people) member() *testnet.Member { return &testnet.Member{Authority: p.authority} }
