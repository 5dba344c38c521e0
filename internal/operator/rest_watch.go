package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// watch serves changes as server-sent events. The first lines carry the cursor to begin from, so that a reader who is
// cut off before the first event resumes where it stood.
func (r *rest) watch(w http.ResponseWriter, req *http.Request) {
	cursor, err := cursorOf(req)
	if err != nil {
		refuse(w, err)
		return
	}
	hold(w)
	ctx, cancel := context.WithCancel(outgoing(req))
	defer cancel()
	stream, err := r.requests.WatchRequests(ctx, &operatorv1.WatchRequestsRequest{Cursor: cursor})
	if err != nil {
		refuse(w, wire.FromStatus(err))
		return
	}
	start, err := startOf(stream)
	if err != nil {
		refuse(w, err)
		return
	}
	prove(req)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or a proxy keeps the events to itself
	w.WriteHeader(http.StatusOK)
	e := &events{w: w, control: http.NewResponseController(w), idle: r.patience.idle}
	if e.write(fmt.Sprintf("retry: 3000\nid: %s\n\n", start)) != nil {
		return
	}
	e.follow(ctx, stream, r.patience.beat)
}

// cursorOf prefers the header that browsers send by themselves when they resume.
func cursorOf(req *http.Request) (string, error) {
	q := req.URL.Query()
	for name, values := range q {
		if name != "cursor" || len(values) != 1 {
			return "", fault.New(fault.Invalid, "unknown-field", "watch requests", "there is no such query parameter here").
				WithHint("only cursor is")
		}
	}
	if last := req.Header.Get("Last-Event-ID"); last != "" {
		return last, nil
	}
	return q.Get("cursor"), nil
}

// events writes one stream; a reader who takes nothing for too long is cut off and resumes by its cursor.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
}

type change struct {
	*operatorv1.WatchRequestsResponse
	err error
}

// follow writes changes as they come and a comment where none come, until either side ends. It waits on the request's
// context: the stream's own is over before the reason of its end has been read.
func (e *events) follow(ctx context.Context, stream grpc.ServerStreamingClient[operatorv1.WatchRequestsResponse], beat time.Duration) {
	changes := make(chan change)
	go func() {
		for {
			m, err := stream.Recv()
			select {
			case changes <- change{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if e.write(": here\n\n") != nil {
				return
			}
		case c := <-changes:
			if e.tell(c) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// tell writes one change, or the end; an error means that nothing follows.
func (e *events) tell(c change) error {
	if c.err != nil {
		p, _ := problemOf(wire.FromStatus(c.err))
		data, err := json.Marshal(p)
		if err == nil {
			_ = e.write(fmt.Sprintf("event: end\ndata: %s\n\n", data)) // the reader may have gone first
		}
		return c.err
	}
	data, err := codec{}.Marshal(c.GetSummary())
	if err != nil {
		return err
	}
	return e.write(fmt.Sprintf("id: %s\nevent: request\ndata: %s\n\n", c.GetCursor(), data))
}

func (e *events) write(s string) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(e.idle)); err != nil {
		return err
	}
	if _, err := e.w.Write([]byte(s)); err != nil {
		return err
	}
	return e.control.Flush()
}
