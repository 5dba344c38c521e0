package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator/streams"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// watchRequests serves changes of requests.
func (r *rest) watchRequests(w http.ResponseWriter, req *http.Request) {
	cursor, _, err := startIn(req, "cursor")
	if err != nil {
		refuse(w, err)
		return
	}
	serveEvents(r, w, req, "request", r.requests.WatchRequests, &operatorv1.WatchRequestsRequest{Cursor: cursor},
		func(m *operatorv1.WatchRequestsResponse) proto.Message { return m.GetSummary() })
}

// watchAlerts serves alerts with their content.
func (r *rest) watchAlerts(w http.ResponseWriter, req *http.Request) {
	cursor, received, err := startIn(req, "cursor", "received")
	if err != nil {
		refuse(w, err)
		return
	}
	serveEvents(r, w, req, "alert", r.alerts.WatchAlerts, &operatorv1.WatchAlertsRequest{Cursor: cursor, Received: received},
		func(m *operatorv1.WatchAlertsResponse) proto.Message { return m.GetAlert() })
}

// serveEvents serves a watch as server-sent events of one name. The first lines carry the cursor to begin from, so that
// a reader who is cut off before the first event resumes where it stood.
func serveEvents[Req, M any, P streams.Change[M]](r *rest, w http.ResponseWriter, req *http.Request, name string, open streams.Opening[Req, M], after *Req, content func(P) proto.Message) {
	hold(w)
	ctx, cancel := context.WithCancel(outgoing(req))
	defer cancel()
	call, err := open(ctx, after)
	if err != nil {
		refuse(w, wire.FromStatus(err))
		return
	}
	start, err := streams.Start(call)
	if err != nil {
		refuse(w, err)
		return
	}
	prove(req)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or a proxy keeps the events to itself
	w.WriteHeader(http.StatusOK)
	e := &events{w: w, control: http.NewResponseController(w), idle: r.Idle, name: name}
	if e.write(fmt.Sprintf("retry: 3000\nid: %s\n\n", start)) != nil {
		return
	}
	e.follow(ctx, r.Beat, func() change {
		m, err := call.Recv()
		return change{P(m).GetCursor(), content(m), err}
	})
}

// startIn reads where to begin and what to leave out. For the cursor it prefers the header that browsers send by
// themselves when they resume.
func startIn(req *http.Request, known ...string) (cursor string, received bool, err error) {
	q := req.URL.Query()
	for name, values := range q {
		if !slices.Contains(known, name) || len(values) != 1 {
			return "", false, fault.New(fault.Invalid, "unknown-field", "watch changes", "there is no such query parameter here").
				WithHint("there are: " + strings.Join(known, ", "))
		}
	}
	switch q.Get("received") {
	case "", "false":
	case "true":
		received = true
	default:
		return "", false, fault.New(fault.Invalid, "malformed-query", "watch changes", "received is true or false")
	}
	if last := req.Header.Get("Last-Event-ID"); last != "" {
		return last, received, nil
	}
	return q.Get("cursor"), received, nil
}

// events writes one stream; a reader who takes nothing for too long is cut off and resumes by its cursor.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
	name    string
}

// change is one event to be, or the end.
type change struct {
	cursor  string
	content proto.Message
	err     error
}

// follow writes changes as they come and a comment where none come, until either side ends. It waits on the request's
// context: the stream's own is over before the reason of its end has been read.
func (e *events) follow(ctx context.Context, beat time.Duration, next func() change) {
	changes := make(chan change)
	go func() {
		for {
			c := next()
			select {
			case changes <- c:
			case <-ctx.Done():
				return
			}
			if c.err != nil {
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
	data, err := codec{}.Marshal(c.content)
	if err != nil {
		return err
	}
	return e.write(fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", c.cursor, e.name, data))
}

// write hands over small pieces, so that the deadline is one for silence and not for slowness.
func (e *events) write(s string) error {
	for piece := range slices.Chunk([]byte(s), 32<<10) {
		if err := e.control.SetWriteDeadline(time.Now().Add(e.idle)); err != nil {
			return err
		}
		if _, err := e.w.Write(piece); err != nil {
			return err
		}
	}
	return e.control.Flush()
}
