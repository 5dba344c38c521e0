package registry

import (
	"context"
	"errors"
	"io"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
)

// giveBack returns to a hub that has lost them the entries that the network had confirmed; then it is followed again.
// PROTOCOL 11.11.
func (f *Follower) giveBack(ctx context.Context, client *Client, lost error) error {
	size, err := hubSize(ctx, client)
	if err != nil && fault.CodeOf(err) != codeRecovering {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.head
	if fault.CodeOf(lost) == codeRecovering && h.IsZero() {
		return lost // nothing here was confirmed; another node has more
	}
	if h.Position() <= size {
		// What the hub lost nobody had confirmed. It is for people to say which log goes on.
		return f.doubt(lost)
	}
	f.mu.Unlock()
	err = f.giveEntries(ctx, client, size, h)
	f.mu.Lock()
	if err != nil {
		f.o.Log.Warn("the hub did not take what it had lost", zap.Error(err))
		if fault.Is(err, fault.Retry) {
			return err // others give it back just now
		}
		return f.doubt(lost)
	}
	f.o.Log.Warn("entries that the hub had lost were given back", zap.Uint64("after", size), zap.Uint64("to", h.Position()))
	return fault.New(fault.Retry, "gave-back", opFollow, "the hub had lost entries and has them again")
}

// hubSize is how long the hub says that its log is: a follower hears it at once. A hub that does not know this node says
// nothing of it (Retry "recovering"), and is given all.
func hubSize(ctx context.Context, client *Client) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	stream, err := client.api.Follow(ctx, &directoryv1.FollowRequest{From: 1})
	if err != nil {
		return 0, err
	}
	r, err := stream.Recv()
	return r.GetSize(), err
}

// giveEntries streams what follows a position, and the head that covers it.
func (f *Follower) giveEntries(ctx context.Context, client *Client, after uint64, h directory.Head) error {
	ctx, cancel := context.WithTimeout(ctx, longestReturn) // a hub that takes nothing must not hold this node for ever
	defer cancel()
	stream, err := client.api.Return(ctx)
	if err != nil {
		return err
	}
	for p := after + 1; p <= h.Position(); p++ {
		entry, err := f.log.Read(p)
		if err != nil {
			return err
		}
		if err := stream.Send(&directoryv1.ReturnRequest{Position: p, Statement: entry}); err != nil {
			return refusal(stream.CloseAndRecv, err)
		}
	}
	if err := stream.Send(&directoryv1.ReturnRequest{Head: h.Note()}); err != nil {
		return refusal(stream.CloseAndRecv, err)
	}
	_, err = stream.CloseAndRecv()
	return err
}

// refusal is why the server ended a stream that can be sent on no more.
func refusal(end func() (*directoryv1.ReturnResponse, error), sent error) error {
	if !errors.Is(sent, io.EOF) {
		return sent
	}
	_, err := end()
	return err
}
