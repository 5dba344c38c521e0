package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/message"
)

// append adds events, each in a transaction of its own.
func (s *suite) append(kinds ...string) {
	s.Helper()
	for _, kind := range kinds {
		s.update(func(t ledger.Tx) error {
			_, err := t.Append(s.event(kind))
			return err
		})
	}
}

// verified verifies the evidence and returns what was found.
func (s *suite) verified() ledger.Evidence {
	s.Helper()
	found, err := s.l.VerifyEvidence(context.Background())
	return must(s, found, err)
}

func (s *suite) count() uint64 {
	s.Helper()
	var n uint64
	s.view(func(r ledger.Reader) error {
		var err error
		n, err = r.EventCount()
		return err
	})
	return n
}

func (s *suite) events() {
	before := s.count()
	about := s.event("sent")
	about.Message, about.Digest = s.message().Key, message.Digest{7}
	bare := s.event("read")
	bare.Detail, bare.Actor = nil, ""
	s.update(func(t ledger.Tx) error {
		first, err := t.Append(about)
		second, err2 := t.Append(bare)
		same(s, "numbers", []uint64{first, second}, errors.Join(err, err2), []uint64{before, before + 1})
		n, err := t.EventCount()
		same(s, "count inside", n, err, before+2)
		return nil
	})
	s.append("closed")
	s.again()
	s.view(func(r ledger.Reader) error {
		events, err := r.Events(before, 2)
		s.must(err)
		same(s, "number of events", len(events), nil, 2)
		for i, want := range []ledger.Event{about, bare} {
			same(s, "event", events[i].Event, nil, want)
			leaf, err := ledger.ParseLeaf(events[i].Leaf)
			want.Detail = nil
			same(s, "leaf", leaf.Event, err, want)
			if bytes.Contains(events[i].Leaf, []byte("detail of")) {
				s.Errorf("the leaf shows the detail: %q", events[i].Leaf)
			}
		}
		return nil
	})
	found := s.verified()
	same(s, "verified events", found.Events, nil, before+3)
}

func (s *suite) badEvents() {
	before := s.count()
	for what, spoil := range map[string]func(*ledger.Event){
		"no kind":       func(e *ledger.Event) { e.Kind = "" },
		"no time":       func(e *ledger.Event) { e.Time = time.Time{} },
		"long actor":    func(e *ledger.Event) { e.Actor = string(make([]byte, 129)) },
		"broken actor":  func(e *ledger.Event) { e.Actor = "\xff" },
		"broken kind":   func(e *ledger.Event) { e.Kind = "\xff" },
		"a long detail": func(e *ledger.Event) { e.Detail = make([]byte, 64<<10+1) },
	} {
		e := s.event("x")
		spoil(&e)
		err := s.l.Update(context.Background(), func(t ledger.Tx) error { _, err := t.Append(e); return err })
		s.is(what, err, fault.Invalid, "malformed")
	}
	same(s, "count", s.count(), nil, before)
}

// cite returns the checkpoint a receipt of now would carry.
func (s *suite) cite() message.Digest {
	s.Helper()
	var salted message.Digest
	s.update(func(t ledger.Tx) error {
		var err error
		salted, err = t.Checkpoint()
		return err
	})
	return salted
}

func (s *suite) checkpoints() {
	first := s.cite()
	same(s, "cited again, nothing done", s.cite(), nil, first)
	s.append("one", "two")
	var inside, after message.Digest
	s.update(func(t ledger.Tx) error {
		_, err := t.Append(s.event("three"))
		inside, _ = t.Checkpoint()
		after, _ = t.Checkpoint()
		return err
	})
	if inside == first || inside != after {
		s.Errorf("cited %v, then %v and %v in one commit; want another, twice", first, inside, after)
	}
	size := int64(s.count())
	s.view(func(r ledger.Reader) error {
		all, err := r.Checkpoints(1, 10)
		s.must(err)
		newest, err := r.NewestCheckpoint()
		same(s, "newest", newest, err, all[len(all)-1])
		// Signed before the commit that cites it: "three" is not in it.
		same(s, "newest", []any{newest.Sequence, newest.Size, newest.Salted}, nil, []any{uint64(len(all)), size - 1, inside})
		s.proves(r, newest, size-2)
		return nil
	})
	s.again()
	found := s.verified()
	same(s, "signed at the end of the first run", found.Signed, nil, uint64(size))
}

// proves checks an inclusion proof from the stored hashes.
func (s *suite) proves(r ledger.Reader, c ledger.Checkpoint, index int64) {
	s.Helper()
	hashes := ledger.HashReader(func(sequence uint64) ([]byte, error) {
		events, err := r.Events(sequence, 1)
		return events[0].Hashes, err
	})
	proof, err := merkle.ProveInclusion(c.Size, index, hashes)
	s.must(err)
	events, err := r.Events(uint64(index), 1)
	s.must(err)
	s.must(merkle.CheckInclusion(proof, c.Checkpoint, index, tlog.RecordHash(events[0].Leaf)))
}

// uncited sends so much without a receipt that the ledger stores a checkpoint by itself.
func (s *suite) uncited() {
	for range 6 {
		s.update(func(t ledger.Tx) error {
			for range 100 {
				if _, err := t.Append(s.event("sent")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	found := s.verified()
	if found.Checkpoints == 0 || found.Events-found.Signed > 400 {
		s.Errorf("verified = %+v, want a checkpoint over most of it", found)
	}
}

func (s *suite) failure() {
	before, m, c := s.count(), s.message(), s.aCase("mx/fgr")
	spoiled := errors.New("second thoughts")
	err := s.l.Update(context.Background(), func(t ledger.Tx) error {
		_, err := t.PutMessage(m)
		_, err2 := t.PutCase(c)
		_, err3 := t.Append(s.event("sent"))
		_, err4 := t.NextReference(c.Own, 2026)
		_, err5 := t.Message(m.Key)
		return errors.Join(err, err2, err3, err4, err5, spoiled)
	})
	if !errors.Is(err, spoiled) || fault.KindOf(err) != fault.Internal {
		s.Errorf("update = %v, want its own error alone", err)
	}
	s.view(func(r ledger.Reader) error {
		_, err := r.Message(m.Key)
		s.is("message of a failed transaction", err, fault.NotFound, "")
		return nil
	})
	s.append("sent")
	s.put(&c)
	same(s, "event, case and count after it", []int64{int64(s.count()), c.Cursor}, nil, []int64{int64(before) + 1, 1})
	s.verified()
}

func (s *suite) panics() {
	before := s.count()
	err := s.l.Update(context.Background(), func(t ledger.Tx) error {
		_, err := t.Append(s.event("sent"))
		s.must(err)
		panic("defect")
	})
	s.is("panic", err, fault.Internal, "")
	s.append("sent")
	same(s, "count", s.count(), nil, before+1)
}

func (s *suite) cancelled() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	err := s.l.Update(ctx, func(ledger.Tx) error { ran = true; return nil })
	if !errors.Is(err, context.Canceled) || ran {
		s.Errorf("update under an ended context = %v, ran %v; want it not to run", err, ran)
	}
	if err := s.l.View(ctx, func(ledger.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		s.Errorf("view under an ended context = %v", err)
	}
	if _, err := s.l.VerifyEvidence(ctx); !errors.Is(err, context.Canceled) {
		s.Errorf("verification under an ended context = %v", err)
	}
}

// oneState holds a view open while the ledger changes: it must not see the change, the next one must.
func (s *suite) oneState() {
	m := s.message()
	s.view(func(r ledger.Reader) error {
		_, err := r.Message(m.Key)
		s.is("before", err, fault.NotFound, "")
		s.update(func(t ledger.Tx) error { _, err := t.PutMessage(m); return err })
		_, err = r.Message(m.Key)
		s.is("after, in the same view", err, fault.NotFound, "")
		return nil
	})
	s.view(func(r ledger.Reader) error {
		_, err := r.Message(m.Key)
		return err
	})
}

// together updates from many callers at once, some of which fail: numbers have no gaps, failures leave nothing.
func (s *suite) together() {
	const callers, each = 32, 20
	before := s.count()
	var wg sync.WaitGroup
	var mu sync.Mutex
	numbers := map[uint64]bool{}
	for caller := range callers {
		wg.Go(func() {
			for i := range each {
				var n uint64
				err := s.l.Update(context.Background(), func(t ledger.Tx) error {
					var err error
					if n, err = t.Append(s.event(fmt.Sprintf("sent-%d-%d", caller, i))); err == nil && i%4 == 3 {
						err = errors.New("no")
					}
					return err
				})
				mu.Lock()
				if err == nil {
					numbers[n] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	const kept = callers * each * 3 / 4
	same(s, "numbers given", len(numbers), nil, kept)
	for n := before; n < before+kept; n++ {
		if !numbers[n] {
			s.Errorf("event %d was given to nobody", n)
		}
	}
	same(s, "verified events", s.verified().Events, nil, before+kept)
}

func (s *suite) closed() {
	s.must(s.l.Close())
	s.is("update", s.l.Update(context.Background(), func(ledger.Tx) error { return nil }), fault.Retry, "closed")
	s.is("view", s.l.View(context.Background(), func(ledger.Reader) error { return nil }), fault.Retry, "closed")
	s.must(s.l.Close())
	s.l = s.open(s.T, s.dir)
}
