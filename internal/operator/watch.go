package operator

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	watchPage    = 100
	cursorHeader = "enlace-cursor"
)

// WatchRequests sends what changed since a cursor, then waits for more. The reader's pace is its own: nothing is kept
// for it, and what it has not taken is asked for again later, as it stands then.
func (d *Door) WatchRequests(in *operatorv1.WatchRequestsRequest, stream grpc.ServerStreamingServer[operatorv1.WatchRequestsResponse]) error {
	ctx, release := d.whileValid(stream.Context())
	defer release()
	cursor, err := d.startAt(ctx, in.GetCursor())
	if err != nil {
		return err
	}
	if err := stream.SendHeader(metadata.Pairs(cursorHeader, strconv.FormatInt(cursor, 10))); err != nil {
		return err
	}
	for {
		// Both channels are taken before the look: what happens after it wakes us.
		changed, ended := d.c.Requests.Changed(), d.ends.next()
		page, err := d.since(ctx, cursor)
		if err != nil {
			return err
		}
		for _, c := range page {
			if err := stream.Send(&operatorv1.WatchRequestsResponse{Cursor: strconv.FormatInt(c.Cursor, 10), Summary: c.Summary}); err != nil {
				return err
			}
			cursor = c.Cursor
		}
		if len(page) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ended:
		case <-d.stopping:
			return fault.New(fault.Retry, "stopping", "watch requests", "the node is stopping")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// since looks as the caller is now: roles may have changed since the stream began.
func (d *Door) since(ctx context.Context, cursor int64) ([]Change, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	who, err := d.again(ctx)
	if err != nil {
		return nil, err
	}
	return d.c.Requests.Since(ctx, who, cursor, watchPage)
}

func (d *Door) again(ctx context.Context) (people.Principal, error) {
	return d.people.Authenticate(ctx, callerFrom(ctx).secret)
}

// startAt is the cursor to begin from. One that lies ahead of the node comes from another life of its ledger, and
// waiting for it would miss what happens meanwhile.
func (d *Door) startAt(ctx context.Context, text string) (int64, error) {
	newest, err := d.c.Requests.Newest(ctx)
	if err != nil || text == "" {
		return newest, err
	}
	cursor, err := readCursor(text)
	if err != nil {
		return 0, err
	}
	if cursor > newest {
		return 0, fault.New(fault.Conflict, "cursor-ahead", "watch requests", "the cursor is ahead of this node, which may have been restored").
			WithHint("begin again from cursor 0")
	}
	return cursor, nil
}

// whileValid is a stream's context until the caller's session or token expires. Locking and revoking cut the stream
// by themselves: the server asks authorise again when d.ends tells.
func (d *Door) whileValid(ctx context.Context) (context.Context, context.CancelFunc) {
	left := callerFrom(ctx).Expires.Sub(d.c.Now())
	return context.WithDeadlineCause(ctx, time.Now().Add(left),
		fault.New(fault.Unauthenticated, "no-session", "hold stream", "the session has ended").WithHint("log in again"))
}

// startOf is where a watch began, from its header.
func startOf(stream grpc.ServerStreamingClient[operatorv1.WatchRequestsResponse]) (string, error) {
	md, err := stream.Header()
	if err != nil {
		return "", wire.FromStatus(err)
	}
	if v := md.Get(cursorHeader); len(v) == 1 {
		return v[0], nil
	}
	return "", refusalOf(stream)
}

// refusalOf reads why a stream ended that should have begun with a header of ours.
func refusalOf(stream grpc.ClientStream) error {
	var none operatorv1.WatchRequestsResponse
	if err := stream.RecvMsg(&none); err != nil {
		return wire.FromStatus(err)
	}
	return fault.New(fault.Internal, "", "open stream", "the node began a stream without its header")
}
