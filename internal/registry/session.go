package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
)

const (
	codeBeyond = "beyond-log"
	// codeRecovering is of a hub that has lost so much that it does not know this node. PROTOCOL 11.11.
	codeRecovering = "recovering"
)

// session follows one hub over one connection.
func (f *Follower) session(ctx context.Context, addr string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := NewClient(addr, f.current, f.o.Now, f.o.TLS)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	// First, because a hub that has suspended us takes our statements and lets us follow no more.
	f.bring(ctx, client)
	votes := make(chan directory.Head, 1)
	var helpers sync.WaitGroup
	helpers.Go(func() { f.bringing(ctx, client) })
	helpers.Go(func() { f.voting(ctx, client, votes) })
	defer helpers.Wait()
	defer cancel()
	err = f.follow(ctx, client, votes)
	if code := fault.CodeOf(err); code == codeBeyond || code == codeRecovering {
		return f.giveBack(ctx, client, err)
	}
	return err
}

// bring hands what was only seen, or kept, to the hub, which must log it. It waits for no hub for ever, which would then
// neither be followed nor left for the next one.
func (f *Follower) bring(ctx context.Context, client *Client) {
	ctx, cancel := context.WithTimeout(ctx, maxPause)
	defer cancel()
	for _, st := range f.sight.unlogged() {
		f.brought(ctx, client, st.Statement)
	}
	for _, w := range f.kept.waiting() {
		f.brought(ctx, client, w.Statement, w.cards...)
	}
}

func (f *Follower) brought(ctx context.Context, client *Client, st directory.Statement, cards ...[]byte) {
	if _, err := client.Propose(ctx, st.Signed(), cards...); err != nil && ctx.Err() == nil {
		f.o.Log.Warn("the hub did not take a statement", zap.Stringer("subject", st.Subject()), zap.String("kind", string(st.Kind())), zap.Error(err))
	}
}

func (f *Follower) bringing(ctx context.Context, client *Client) {
	for {
		select {
		case <-f.sight.news:
		case <-time.After(maxPause):
		case <-ctx.Done():
			return
		}
		f.bring(ctx, client)
	}
}

// voting cosigns the newest head that the hub asks for, and hands the cosignature in. PROTOCOL 11.8.
func (f *Follower) voting(ctx context.Context, client *Client, votes <-chan directory.Head) {
	for {
		select {
		case h := <-votes:
			if err := f.vote(ctx, client, h); err != nil && ctx.Err() == nil {
				f.o.Log.Warn("a head was not cosigned", zap.Int64("size", h.Size), zap.String("code", fault.CodeOf(err)), zap.Error(err))
			}
		case <-ctx.Done():
			return
		}
	}
}

func (f *Follower) vote(ctx context.Context, client *Client, h directory.Head) error {
	line, refused := f.cosign(h)
	r := &directoryv1.CosignRequest{Cosignature: line, Size: h.Position()}
	if refused != nil {
		f.mu.Lock()
		r.Contradiction = f.vouched.Note()
		f.mu.Unlock()
		if code := fault.CodeOf(refused); (code != "not-consistent" && code != "rollback") || len(r.Contradiction) == 0 {
			return refused
		}
	}
	_, err := client.api.Cosign(ctx, r)
	return errors.Join(refused, err)
}

// follow reads entries as they come and stores as many as have come with one sync.
func (f *Follower) follow(ctx context.Context, client *Client, votes chan directory.Head) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.mu.Lock()
	f.strays = false
	request := &directoryv1.FollowRequest{From: min(f.log.Size(), f.proofs.limit()) + 1, Head: f.head.Note()}
	f.mu.Unlock()
	stream, err := client.api.Follow(ctx, request)
	if err != nil {
		return err
	}
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	come := make(chan arrival, batch)
	failed := make(chan error, 1)
	go func() {
		defer close(come)
		failed <- receive(ctx, stream, come, func() { watchdog.Reset(silence) })
	}()
	for first := range come {
		if err := f.absorb(drain(first, come), votes); err != nil {
			return err
		}
	}
	err = <-failed
	if fault.CodeOf(err) == codeJunk {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.doubt(err)
	}
	return err
}

// arrival is what came from the hub: an entry, a head, or a heartbeat, which has neither.
type arrival struct {
	position  uint64
	statement []byte
	size      uint64
	head      []byte
}

// receive passes on what comes. It keeps nothing of a message but what is needed, and nothing larger than it may be:
// with the queue and the batch, 64 MiB at the most.
func receive(ctx context.Context, stream grpc.ServerStreamingClient[directoryv1.FollowResponse], come chan<- arrival, heard func()) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		heard()
		if len(r.GetStatement()) > directory.MaxStatement || len(r.GetHead()) > merkle.MaxNote {
			return junk(nil)
		}
		select {
		case come <- arrival{r.GetPosition(), r.GetStatement(), r.GetSize(), r.GetHead()}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain takes what has come besides the first, without waiting.
func drain(first arrival, come <-chan arrival) []arrival {
	all := []arrival{first}
	for len(all) < batch {
		select {
		case r, ok := <-come:
			if !ok {
				return all
			}
			all = append(all, r)
		default:
			return all
		}
	}
	return all
}

// absorb stores entries, then puts in force what a head confirms, then notes the contact.
func (f *Follower) absorb(come []arrival, votes chan directory.Head) error {
	f.mu.Lock()
	defer f.unlock()
	var entries []arrival
	for i, a := range come {
		if a.position > 0 {
			entries = append(entries, a)
		}
		if i < len(come)-1 && len(a.head) == 0 {
			continue
		}
		if err := f.stored(entries); err != nil {
			return err
		}
		entries = nil
		if err := f.heads(a, votes); err != nil {
			return err
		}
	}
	if last := come[len(come)-1]; last.position == 0 && last.size < f.head.Position() {
		return beyondLog()
	}
	return f.heardHub()
}

// beyondLog is of a hub whose log is shorter than what was confirmed.
func beyondLog() error {
	return fault.New(fault.Invalid, codeBeyond, opFollow, "the hub's log is shorter than what the network has confirmed").WithHint(hintHub)
}

// heardHub notes the contact, with mu held.
func (f *Follower) heardHub() error {
	f.tell()
	if isClosed(f.sight.failed()) {
		return fault.New(fault.Internal, "disk", opFollow, "the disk did not keep a restriction")
	}
	if f.sight.again() {
		f.sight.rebase(f.history, f.current, nil)
	}
	if f.doubted[f.hub] {
		return nil
	}
	if err := f.contact.heard(f.o.Now()); err != nil {
		f.o.Log.Warn("the time of the last contact was not kept", zap.Error(err))
	}
	return nil
}

// stored takes entries of the hub. Of those that may not be stored nothing is left but doubt. It is called with mu held.
func (f *Follower) stored(come []arrival) error {
	if come = f.known(come); len(come) == 0 {
		return nil
	}
	if f.rules == nil {
		before := f.valid
		rest, refused, err := f.store(come)
		if f.valid > before {
			delete(f.doubted, f.hub)
		}
		switch {
		case err != nil:
			return err
		case fault.CodeOf(refused) == codeRules:
			f.halt(refused)
			come = rest
		case refused != nil:
			return f.doubt(refused)
		default:
			return nil
		}
	}
	f.glean(come)
	return nil
}

// known leaves out what this node has. Where the hub was caught with two logs it is heard from the last size on which
// both agree, so that the restrictions of either take effect on sight. PROTOCOL 11.9.
func (f *Follower) known(come []arrival) []arrival {
	if !f.proofs.forked() {
		return come
	}
	for len(come) > 0 && come[0].position <= f.log.Size() {
		if directory.LeafHash(come[0].statement) != f.tree.leaf(come[0].position) {
			f.strays = true
			f.glean(come[:1])
		}
		come = come[1:]
	}
	if f.strays { // what follows another log is not stored behind this one, which may turn out to be the right one
		f.glean(come)
		return nil
	}
	return come
}

// glean takes from entries that are not of this node's log, or of rules that it does not know, what restricts. It is called
// with mu held, which unlock gives back.
func (f *Follower) glean(come []arrival) {
	for _, a := range come {
		st, err := directory.ParseStatement(a.statement)
		if err != nil || !st.Restricting() {
			continue
		}
		news, err := f.restrict(st)
		if err != nil {
			f.o.Log.Debug("a restriction of another log does not hold here", zap.Error(err))
		}
		if news {
			f.gleaned = append(f.gleaned, st.Signed())
		}
	}
}

// unlock gives mu back, and then says what was gleaned: whoever hears of it may ask this node anything.
func (f *Follower) unlock() {
	gleaned := f.gleaned
	f.gleaned = nil
	f.mu.Unlock()
	for _, signed := range gleaned {
		f.spread(signed)
	}
}

// store is look, decide, commit, tell for entries that follow the last one stored, whoever brings them. It returns those
// that may not be stored, and why. It is called with mu held. Errors are those of the disk.
func (f *Follower) store(come []arrival) (rest []arrival, refused, err error) {
	judged, refused := f.acceptable(come)
	entries := make([][]byte, len(judged))
	for i, v := range judged {
		entries[i] = v.entry
	}
	if err := f.log.Append(entries...); err != nil { // commit
		return come, nil, err
	}
	// If the machine stops here the entries are read from the log at the next start.
	var restrictions []placed
	for _, v := range judged {
		f.tree.add(v.entry)
		restrictions = f.take(v, restrictions)
	}
	if len(judged) > 0 {
		f.sight.logged(restrictions, f.log.Size(), f.current)
		if err := f.kept.sweep(f.beyond.tip); err != nil {
			f.o.Log.Error("a statement that waits no more was not deleted", zap.Error(err)) // the next sweep tries again
		}
	}
	return come[len(judged):], refused, nil
}

// heads takes a head of the hub, if there is one, with mu held. The newest is cosigned.
func (f *Follower) heads(a arrival, votes chan directory.Head) error {
	if len(a.head) == 0 {
		return nil
	}
	h, err := directory.ParseHead(a.head)
	if err != nil {
		return f.doubt(err)
	}
	err = f.consider(h, "hub "+f.hub)
	switch code := fault.CodeOf(err); {
	case code == "withheld":
		if err := f.prove(kindWithheld, h, "hub "+f.hub); err != nil {
			return err
		}
		return f.doubt(err)
	case code == "wrong-anchor":
		return nil // a person was told; the log comes nevertheless
	case err != nil && fault.Is(err, fault.Invalid):
		return f.doubt(err)
	case err != nil:
		return err
	}
	if f.o.Cosigner == nil || f.rules != nil {
		return nil
	}
	select { // the newest alone
	case <-votes:
	default:
	}
	votes <- h
	return nil
}
