package operator

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator/streams"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

const (
	watchPage = 100
	// alertPage is fewer: a reader who is slow holds one page, and an alert may have 1 MiB.
	alertPage = 16
)

// WatchRequests sends what changed since a cursor, then waits for more.
func (d *Door) WatchRequests(in *operatorv1.WatchRequestsRequest, stream grpc.ServerStreamingServer[operatorv1.WatchRequestsResponse]) error {
	return d.follow(stream, in.GetCursor(), feed{
		newest: d.c.Requests.Newest, changed: d.c.Requests.Changed,
		pass: func(ctx context.Context, who people.Principal, cursor int64) (int64, error) {
			page, err := d.c.Requests.Since(ctx, who, cursor, watchPage)
			if err != nil {
				return cursor, err
			}
			for _, c := range page {
				if err := stream.Send(&operatorv1.WatchRequestsResponse{Cursor: cursorText(c.Cursor), Summary: c.Summary}); err != nil {
					return cursor, err
				}
				cursor = c.Cursor
			}
			return cursor, nil
		},
	})
}

// WatchAlerts does the same for alerts, each with its content.
func (d *Door) WatchAlerts(in *operatorv1.WatchAlertsRequest, stream grpc.ServerStreamingServer[operatorv1.WatchAlertsResponse]) error {
	return d.follow(stream, in.GetCursor(), feed{
		newest: d.c.Alerts.Newest, changed: d.c.Alerts.Changed,
		pass: func(ctx context.Context, who people.Principal, cursor int64) (int64, error) {
			page, upTo, err := d.c.Alerts.Since(ctx, who, cursor, in.GetReceived(), alertPage)
			if err != nil {
				return cursor, err
			}
			for _, n := range page {
				if err := stream.Send(&operatorv1.WatchAlertsResponse{Cursor: cursorText(n.Cursor), Alert: n.Alert}); err != nil {
					return cursor, err
				}
			}
			return upTo, nil
		},
	})
}

// feed is one kind of change that can be watched.
type feed struct {
	newest  func(context.Context) (int64, error)
	changed func() <-chan struct{}
	// pass sends what changed after a cursor, some of it, and says where it ended: at the cursor if nothing changed.
	pass func(ctx context.Context, who people.Principal, cursor int64) (int64, error)
}

// follow sends what changed, then waits for more. The reader's pace is its own: nothing is kept for it, and what it has
// not taken is asked for again later, as it stands then.
func (d *Door) follow(stream grpc.ServerStream, from string, f feed) error {
	ctx, release := d.whileValid(stream.Context())
	defer release()
	cursor, err := startAt(ctx, f, from)
	if err != nil {
		return err
	}
	if err := stream.SendHeader(metadata.Pairs(streams.CursorHeader, cursorText(cursor))); err != nil {
		return err
	}
	for {
		// Both channels are taken before the look: what happens after it wakes us.
		changed, ended := f.changed(), d.ends.next()
		before := cursor
		if cursor, err = d.pass(ctx, f, cursor); err != nil {
			return err
		}
		if cursor > before {
			continue
		}
		select {
		case <-changed:
		case <-ended:
		case <-d.stopping:
			return fault.New(fault.Retry, "stopping", "watch changes", "the node is stopping")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pass looks as the caller is now: roles may have changed since the stream began.
func (d *Door) pass(ctx context.Context, f feed, cursor int64) (int64, error) {
	if ctx.Err() != nil {
		return cursor, context.Cause(ctx)
	}
	who, err := d.again(ctx)
	if err != nil {
		return cursor, err
	}
	return f.pass(ctx, who, cursor)
}

func (d *Door) again(ctx context.Context) (people.Principal, error) {
	return d.people.Authenticate(ctx, callerFrom(ctx).secret)
}

// startAt is the cursor to begin from. One that lies ahead of the node comes from another life of its ledger, and
// waiting for it would miss what happens meanwhile.
func startAt(ctx context.Context, f feed, text string) (int64, error) {
	newest, err := f.newest(ctx)
	if err != nil || text == "" {
		return newest, err
	}
	cursor, err := readCursor(text)
	if err != nil {
		return 0, err
	}
	if cursor > newest {
		return 0, fault.New(fault.Conflict, "cursor-ahead", "watch changes", "the cursor is ahead of this node, which may have been restored").
			WithHint("begin again from cursor 0")
	}
	return cursor, nil
}

func cursorText(cursor int64) string { return strconv.FormatInt(cursor, 10) }

// whileValid is a stream's context until the caller's session or token expires. Locking and revoking cut the stream
// by themselves: the server asks authorise again when d.ends tells.
func (d *Door) whileValid(ctx context.Context) (context.Context, context.CancelFunc) {
	left := callerFrom(ctx).Expires.Sub(d.c.Now())
	return context.WithDeadlineCause(ctx, time.Now().Add(left),
		fault.New(fault.Unauthenticated, "no-session", "hold stream", "the session has ended").WithHint("log in again"))
}
