package operator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
)

// shelf is a small true implementation of Requests and Attachments: drafts kept and moved under the real rules, files
// on disk. It sends nothing to anybody.
type shelf struct {
	dir   string
	rules *policy.Set

	mu      sync.Mutex
	cases   map[message.ID]*kept
	cursor  int64
	changed chan struct{}
	running int // uploads under way
	cut     int // if set, files break off after so many bytes
}

type kept struct {
	cursor int64
	author string
	who    people.Principal
	draft  *operatorv1.Draft
	state  message.State
	files  []*operatorv1.AttachmentInfo
}

func newShelf(dir string, rules *policy.Set) *shelf {
	return &shelf{dir: dir, rules: rules, cases: map[message.ID]*kept{}, changed: make(chan struct{})}
}

func (s *shelf) allow(who people.Principal, a policy.Action, k *kept) error {
	q := policy.Question{
		Caller: policy.Caller{Name: who.Actor(), Authority: who.Authority, Roles: texts(who.Roles), Scopes: texts(who.Scopes), IsToken: who.IsToken()},
		Action: a, Now: time.Now(), Resource: policy.Resource{Owner: who.Authority, FourEyes: true},
	}
	if k != nil {
		q.Resource = policy.Resource{Owner: k.who.Authority, Author: k.author, Status: string(k.state), FourEyes: true}
	}
	return s.rules.Decide(q).Refusal(a, english())
}

// change must be called with mu held.
func (s *shelf) change(k *kept) {
	s.cursor++
	k.cursor = s.cursor
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shelf) find(who people.Principal, a policy.Action, id message.ID) (*kept, error) {
	k, ok := s.cases[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "unknown-request", "open request", "there is no such request")
	}
	return k, s.allow(who, a, k)
}

func (s *shelf) Create(_ context.Context, who people.Principal, d *operatorv1.Draft) (message.ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.allow(who, policy.RequestCreate, nil); err != nil {
		return message.ID{}, err
	}
	id, err := message.NewID(time.Now(), rand.Reader)
	if err != nil {
		return message.ID{}, err
	}
	k := &kept{author: who.Actor(), who: who, draft: d, state: message.Draft}
	s.cases[id] = k
	s.change(k)
	return id, nil
}

func (s *shelf) Check(_ context.Context, who people.Principal, id message.ID) ([]message.Finding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.find(who, policy.RequestCheck, id)
	if err != nil || k.draft.GetRequest() != nil {
		return nil, err
	}
	return []message.Finding{{Field: "request", Level: message.LevelError, Text: "the request is empty"}}, nil
}

func (s *shelf) move(who people.Principal, a policy.Action, id message.ID, to message.State) (Sent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.find(who, a, id)
	if err != nil {
		return Sent{}, err
	}
	k.state = to
	s.change(k)
	return Sent{State: to, Message: id, Freshness: "fresh"}, nil
}

func (s *shelf) Send(_ context.Context, who people.Principal, id message.ID) (Sent, error) {
	sent, err := s.move(who, policy.RequestSend, id, message.PendingApproval)
	sent.Message = message.ID{}
	return sent, err
}

func (s *shelf) Approve(_ context.Context, who people.Principal, id message.ID, _ message.Digest) (Sent, error) {
	return s.move(who, policy.RequestApprove, id, message.Queued)
}

func (s *shelf) Return(_ context.Context, who people.Principal, id message.ID, _ string) error {
	_, err := s.move(who, policy.RequestReturn, id, message.Draft)
	return err
}

func (s *shelf) Acknowledge(_ context.Context, who people.Principal, id message.ID, _ *formatv1.Acknowledgement) (message.ID, error) {
	sent, err := s.move(who, policy.RequestAcknowledge, id, message.Acknowledged)
	return sent.Message, err
}

func (s *shelf) Answer(_ context.Context, who people.Principal, id message.ID, _ []*formatv1.Answer, _ []*formatv1.Subject) (message.ID, error) {
	sent, err := s.move(who, policy.RequestAnswer, id, message.Answered)
	return sent.Message, err
}

func (s *shelf) Refuse(_ context.Context, who people.Principal, id message.ID, _ *formatv1.Refusal) (message.ID, error) {
	sent, err := s.move(who, policy.RequestRefuse, id, message.Refused)
	return sent.Message, err
}

func (s *shelf) Close(_ context.Context, who people.Principal, id message.ID, _ *formatv1.Closing) (message.ID, error) {
	sent, err := s.move(who, policy.RequestClose, id, message.Closed)
	return sent.Message, err
}

// changes lists who may see what, oldest first.
func (s *shelf) changes(who people.Principal) ([]Change, error) {
	if err := s.allow(who, policy.RequestList, nil); err != nil {
		return nil, err
	}
	var out []Change
	for id, k := range s.cases {
		if k.who.Authority == who.Authority {
			out = append(out, Change{k.cursor, k.summary(id)})
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return int(a.Cursor - b.Cursor) })
	return out, nil
}

func (k *kept) summary(id message.ID) *operatorv1.RequestSummary {
	return &operatorv1.RequestSummary{
		Id: id.String(), Direction: "sent", From: k.who.Authority.String(), To: k.draft.GetTo(), Status: string(k.state),
		Title: k.draft.GetRequest().GetTitle(), Attachments: uint32(len(k.files)),
	}
}

func (s *shelf) List(_ context.Context, who people.Principal, f Filter) ([]Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.changes(who)
	slices.Reverse(all)
	all = slices.DeleteFunc(all, func(c Change) bool {
		return (f.Before > 0 && c.Cursor >= f.Before) || (f.State != "" && c.Summary.GetStatus() != string(f.State))
	})
	return all[:min(len(all), f.Limit)], err
}

func (s *shelf) Since(_ context.Context, who people.Principal, cursor int64, limit int) ([]Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.changes(who)
	all = slices.DeleteFunc(all, func(c Change) bool { return c.Cursor <= cursor })
	return all[:min(len(all), limit)], err
}

func (s *shelf) Newest(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor, nil
}

func (s *shelf) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *shelf) Show(_ context.Context, who people.Principal, id message.ID) (*operatorv1.GetRequestResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.find(who, policy.RequestShow, id)
	if err != nil {
		return nil, err
	}
	return &operatorv1.GetRequestResponse{Summary: k.summary(id), Request: k.draft.GetRequest(), Asks: k.draft.GetAsks(), Attachments: k.files}, nil
}

func (s *shelf) path(id message.ID, index uint32) string {
	return filepath.Join(s.dir, id.String()+"-"+strconv.Itoa(int(index)))
}

func (s *shelf) Add(_ context.Context, who people.Principal, id message.ID, note *formatv1.AttachmentNote, src io.Reader) (*operatorv1.AttachmentInfo, error) {
	s.mu.Lock()
	k, err := s.find(who, policy.AttachmentAdd, id)
	s.running++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	}()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.dir, "part-")
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), src)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	info := &operatorv1.AttachmentInfo{
		Index: uint32(len(k.files)), Name: note.GetName(), MediaType: note.GetMediaType(), Size: uint64(n),
		Digest: hex.EncodeToString(sum.Sum(nil)), Complete: true,
	}
	if err := os.Rename(f.Name(), s.path(id, info.GetIndex())); err != nil {
		return nil, err
	}
	k.files = append(k.files, info)
	s.change(k)
	return info, nil
}

// left counts what is on disk, and the uploads still under way.
func (s *shelf) left() (files, running int) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(entries), s.running
}

func (s *shelf) Open(_ context.Context, who people.Principal, ref AttachmentRef) (io.ReadCloser, *operatorv1.AttachmentInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.find(who, policy.AttachmentGet, ref.Request)
	if err != nil {
		return nil, nil, err
	}
	if int(ref.Index) >= len(k.files) {
		return nil, nil, fault.New(fault.NotFound, "unknown-attachment", "open attachment", "there is no such attachment")
	}
	f, err := os.Open(s.path(ref.Request, ref.Index))
	if s.cut > 0 {
		return broken{io.MultiReader(io.LimitReader(f, int64(s.cut)), failing{io.ErrUnexpectedEOF}), f}, k.files[ref.Index], err
	}
	return f, k.files[ref.Index], err
}

type broken struct {
	io.Reader
	io.Closer
}
