package operator

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
)

// board is a small true implementation of Alerts: alerts kept and moved under the real rules. Nothing leaves it.
type board struct {
	rules *policy.Set

	mu      sync.Mutex
	alerts  map[message.ID]*pinned
	cursor  int64
	changed chan struct{}
	asked   []int64 // the cursors that Since was asked with
}

// pinned is one alert; a received one has no author.
type pinned struct {
	cursor int64
	own    authority.Name
	author string
	draft  *operatorv1.AlertDraft
	state  message.AlertState
	files  [][]byte
	about  []*operatorv1.AttachmentInfo
}

func newBoard(rules *policy.Set) *board {
	return &board{rules: rules, alerts: map[message.ID]*pinned{}, changed: make(chan struct{})}
}

// alarm is a draft with a title.
func alarm(title string) *operatorv1.AlertDraft {
	return &operatorv1.AlertDraft{Category: "drugs.trafficking", Notice: &formatv1.AlertNotice{Title: title}}
}

// arrive is an alert that came from another state for mx/fgr.
func (b *board) arrive(title string) message.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.put(&pinned{own: name("mx/fgr"), draft: alarm(title), state: message.AlertIssued})
}

// write is a draft of ana's.
func (b *board) write(title string) message.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.put(&pinned{own: name("mx/fgr"), author: "ana", draft: alarm(title), state: message.AlertDraft})
}

// put must be called with mu held.
func (b *board) put(p *pinned) message.ID {
	id, err := message.NewID(time.Now(), rand.Reader)
	if err != nil {
		panic(err)
	}
	b.alerts[id] = p
	b.change(p)
	return id
}

// change must be called with mu held.
func (b *board) change(p *pinned) {
	b.cursor++
	p.cursor = b.cursor
	close(b.changed)
	b.changed = make(chan struct{})
}

func decide(rules *policy.Set, who people.Principal, a policy.Action, r policy.Resource) error {
	r.FourEyes = true
	return rules.Decide(policy.Question{
		Caller: policy.Caller{Name: who.Actor(), Authority: who.Authority, Roles: texts(who.Roles), Scopes: texts(who.Scopes), IsToken: who.IsToken()},
		Action: a, Now: time.Now(), Resource: r,
	}).Refusal(a, english())
}

// find must be called with mu held.
func (b *board) find(who people.Principal, a policy.Action, id message.ID) (*pinned, error) {
	p, ok := b.alerts[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "unknown-alert", "open alert", "there is no such alert")
	}
	return p, decide(b.rules, who, a, policy.Resource{Owner: p.own, Author: p.author, Status: string(p.state)})
}

func (b *board) Create(_ context.Context, who people.Principal, d *operatorv1.AlertDraft) (message.ID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := decide(b.rules, who, policy.AlertCreate, policy.Resource{Owner: who.Authority}); err != nil {
		return message.ID{}, err
	}
	return b.put(&pinned{own: who.Authority, author: who.Author(), draft: d, state: message.AlertDraft}), nil
}

func (b *board) Check(_ context.Context, who people.Principal, id message.ID) ([]message.Finding, []authority.Name, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(who, policy.AlertCheck, id)
	if err != nil || p.draft.GetNotice().GetTitle() != "" {
		return nil, []authority.Name{name("jm/dpp")}, err
	}
	return []message.Finding{{Field: "notice.title", Level: message.LevelError, Text: "the title is empty"}}, nil, nil
}

func (b *board) move(who people.Principal, a policy.Action, id message.ID, to message.AlertState) (Published, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(who, a, id)
	if err != nil {
		return Published{}, err
	}
	p.state = to
	b.change(p)
	return Published{State: to, Message: id, Freshness: "fresh", Audience: 3}, nil
}

func (b *board) Publish(_ context.Context, who people.Principal, id message.ID) (Published, error) {
	p, err := b.move(who, policy.AlertPublish, id, message.AlertPending)
	p.Message = message.ID{}
	return p, err
}

func (b *board) Approve(_ context.Context, who people.Principal, id message.ID, _ message.Digest) (Published, error) {
	return b.move(who, policy.AlertApprove, id, message.AlertIssued)
}

func (b *board) Return(_ context.Context, who people.Principal, id message.ID, _ string) (message.AlertState, error) {
	p, err := b.move(who, policy.AlertReturn, id, message.AlertDraft)
	return p.State, err
}

func (b *board) Update(_ context.Context, who people.Principal, id message.ID, _ *operatorv1.AlertDraft) (message.AlertState, error) {
	p, err := b.move(who, policy.AlertUpdate, id, message.AlertIssued)
	return p.State, err
}

func (b *board) Cancel(_ context.Context, who people.Principal, id message.ID, _, _ string) (Published, error) {
	return b.move(who, policy.AlertCancel, id, message.AlertCancelled)
}

func (b *board) Feedback(_ context.Context, who people.Principal, id message.ID, _ *formatv1.Feedback) (message.ID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.find(who, policy.AlertFeedback, id)
	return id, err
}

func (b *board) Holders(_ context.Context, who people.Principal, id message.ID) ([]*operatorv1.Holder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.find(who, policy.AlertHolders, id)
	return []*operatorv1.Holder{
		{Node: "jm/node/primary", Alert: "RECEIVED"}, {Node: "br/node/primary", Alert: "RECEIVED", Latest: "PENDING"},
		{Node: "gt/node/primary", Alert: "PENDING", Latest: "RECEIVED"}, {Node: "pa/node/primary", Alert: "OVERDUE"},
		{Node: "co/node/primary", Alert: "PASSED_OVER"}, {Node: "pe/node/primary", Alert: "REFUSED", Code: "items"},
		{Node: "cl/node/primary", Alert: "REMOVED"},
	}, err
}

func (p *pinned) view(id message.ID) *operatorv1.GetAlertResponse {
	direction := "issued"
	if p.author == "" {
		direction = "received"
	}
	return &operatorv1.GetAlertResponse{
		Summary: &operatorv1.AlertSummary{
			Id: id.String(), Own: p.own.String(), Direction: direction, Status: string(p.state), Title: p.draft.GetNotice().GetTitle(),
			Category: p.draft.GetCategory(),
		},
		Notice: p.draft.GetNotice(), Subjects: p.draft.GetSubjects(), Files: p.draft.GetFiles(), Attachments: p.about,
	}
}

// changes lists who may see what, oldest first.
func (b *board) changes(who people.Principal) ([]AlertChange, error) {
	if err := decide(b.rules, who, policy.AlertList, policy.Resource{Owner: who.Authority}); err != nil {
		return nil, err
	}
	var out []AlertChange
	for id, p := range b.alerts {
		if p.own == who.Authority {
			out = append(out, AlertChange{p.cursor, p.view(id).GetSummary()})
		}
	}
	slices.SortFunc(out, func(a, b AlertChange) int { return int(a.Cursor - b.Cursor) })
	return out, nil
}

func (b *board) List(_ context.Context, who people.Principal, f AlertFilter) ([]AlertChange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, err := b.changes(who)
	slices.Reverse(all)
	all = slices.DeleteFunc(all, func(c AlertChange) bool {
		return (f.Before > 0 && c.Cursor >= f.Before) || (f.State != "" && c.Summary.GetStatus() != string(f.State)) ||
			(f.Direction == Received && c.Summary.GetDirection() != "received") || (f.Category != "" && c.Summary.GetCategory() != f.Category)
	})
	return all[:min(len(all), f.Limit)], err
}

func (b *board) Since(_ context.Context, who people.Principal, cursor int64, received bool, limit int) ([]AlertNews, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, cursor)
	all, err := b.changes(who)
	if err != nil {
		return nil, cursor, err
	}
	all = slices.DeleteFunc(all, func(c AlertChange) bool { return c.Cursor <= cursor })
	var out []AlertNews
	for _, c := range all[:min(len(all), limit)] {
		cursor = c.Cursor
		if received && c.Summary.GetDirection() != "received" {
			continue
		}
		id, err := message.ParseID(c.Summary.GetId())
		if err != nil {
			return nil, cursor, err
		}
		out = append(out, AlertNews{c.Cursor, b.alerts[id].view(id)})
	}
	return out, cursor, nil
}

func (b *board) Show(_ context.Context, who people.Principal, id message.ID) (*operatorv1.GetAlertResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(who, policy.AlertShow, id)
	if err != nil {
		return nil, err
	}
	return p.view(id), nil
}

func (b *board) Newest(context.Context) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cursor, nil
}

func (b *board) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *board) AddFile(_ context.Context, who people.Principal, id message.ID, note *formatv1.AttachmentNote, src io.Reader) (*operatorv1.AttachmentInfo, error) {
	data, err := io.ReadAll(src)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(who, policy.AlertCreate, id)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	info := &operatorv1.AttachmentInfo{Index: uint32(len(p.files)), Name: note.GetName(), Size: uint64(len(data)), Digest: hex.EncodeToString(sum[:]), Complete: true}
	p.files, p.about = append(p.files, data), append(p.about, info)
	b.change(p)
	return info, nil
}

func (b *board) OpenFile(_ context.Context, who people.Principal, id message.ID, index uint32) (io.ReadCloser, *operatorv1.AttachmentInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(who, policy.AlertShow, id)
	if err != nil {
		return nil, nil, err
	}
	if int(index) >= len(p.files) {
		return nil, nil, fault.New(fault.NotFound, "unknown-attachment", "open file", "there is no such file")
	}
	return io.NopCloser(bytes.NewReader(p.files[index])), p.about[index], nil
}

// wishes is a small true implementation of Subscriptions.
type wishes struct {
	rules *policy.Set
	mu    sync.Mutex
	all   map[message.ID]*operatorv1.Subscription
}

func newWishes(rules *policy.Set) *wishes {
	return &wishes{rules: rules, all: map[message.ID]*operatorv1.Subscription{}}
}

func (w *wishes) Add(_ context.Context, who people.Principal, s *operatorv1.Subscription) (message.ID, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := decide(w.rules, who, policy.SubscriptionAdd, policy.Resource{Owner: who.Authority}); err != nil {
		return message.ID{}, "", err
	}
	id, err := message.NewID(time.Now(), rand.Reader)
	if err != nil {
		return message.ID{}, "", err
	}
	w.all[id] = &operatorv1.Subscription{
		Id: id.String(), Authority: who.Authority.String(), Categories: s.GetCategories(), Author: who.Author(), Status: "PENDING_APPROVAL",
	}
	return id, "PENDING_APPROVAL", nil
}

func (w *wishes) find(who people.Principal, a policy.Action, id message.ID) (*operatorv1.Subscription, error) {
	s, ok := w.all[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "unknown-subscription", "find subscription", "there is no such subscription")
	}
	return s, decide(w.rules, who, a, policy.Resource{Owner: name(s.GetAuthority()), Author: s.GetAuthor(), Status: s.GetStatus()})
}

func (w *wishes) Approve(_ context.Context, who people.Principal, id message.ID) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.find(who, policy.SubscriptionApprove, id)
	if err != nil {
		return "", err
	}
	s.Status = "ACTIVE"
	return s.GetStatus(), nil
}

func (w *wishes) List(_ context.Context, who people.Principal) ([]*operatorv1.Subscription, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*operatorv1.Subscription
	for _, s := range w.all {
		out = append(out, s)
	}
	return out, decide(w.rules, who, policy.SubscriptionList, policy.Resource{Owner: who.Authority})
}

func (w *wishes) Remove(_ context.Context, who people.Principal, id message.ID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.find(who, policy.SubscriptionRemove, id)
	if err == nil {
		delete(w.all, id)
	}
	return err
}

func place(cursor int64, title string) string { return strconv.FormatInt(cursor, 10) + ":" + title }
