package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// budget is a number of bytes that all bodies under way have together.
type budget struct {
	held atomic.Int64
	most int64
}

// take counts n bytes, or refuses them.
func (b *budget) take(n int) error {
	if b.held.Add(int64(n)) <= b.most {
		return nil
	}
	b.held.Add(int64(-n))
	return fault.New(fault.Retry, "busy", "read request", "too much is being sent to this node at once").WithHint("try again in a moment")
}

func (b *budget) give(n int) { b.held.Add(int64(-n)) }

// entrance stands between the router and each generated handler: who calls is known before a byte of the body is read,
// and a path that leads nowhere does not come here at all.
type entrance struct {
	methods map[string]string // full gRPC names, by "POST /v1/requests"
	ask     func(ctx context.Context, method string) error
	open    func(method string) bool
	known   *budget // of bodies by callers who are known
	unknown *budget // of bodies by those who need not be: they must not be able to fill the other
}

func newEntrance(ask func(context.Context, string) error, open func(string) bool) *entrance {
	return &entrance{methods: routes(), ask: ask, open: open, known: &budget{most: MaxBodies}, unknown: &budget{most: maxOpenBodies}}
}

// routes reads from the proto's own annotations which method each route calls.
func routes() map[string]string {
	found := map[string]string{}
	services := operatorv1.File_enlace_operator_v1_operator_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			full := "/" + string(services.Get(i).FullName()) + "/" + string(m.Name())
			rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
			for verb, template := range map[string]string{
				http.MethodGet: rule.GetGet(), http.MethodPost: rule.GetPost(), http.MethodDelete: rule.GetDelete(),
			} {
				if template != "" {
					found[verb+" "+spelled(template)] = full
				}
			}
		}
	}
	return found
}

// check is a middleware of the gateway.
func (e *entrance) check(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request, inPath map[string]string) {
		pattern, _ := runtime.HTTPPattern(req.Context())
		method := e.methods[req.Method+" "+pattern.String()]
		if err := e.ask(outgoing(req), method); err != nil {
			refuse(w, err)
			return
		}
		most, of := maxBody, e.known
		if e.open(method) {
			most, of = maxOpenBody, e.unknown
			// Where a connection has no deadlines its limits are somebody else's.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(openReadTime))
		} else {
			prove(req)
		}
		body := &counted{body: http.MaxBytesReader(w, req.Body, int64(most)), of: of}
		defer body.release() // the handler is done with the body, and with what it made of it
		data, err := readBody(req, body)
		if err != nil {
			refuse(w, err)
			return
		}
		hold(w)
		req.Body = io.NopCloser(bytes.NewReader(data))
		req.ContentLength = int64(len(data))
		next(w, req, inPath)
	}
}

// counted is a body whose bytes are taken from a budget as they come.
type counted struct {
	body io.Reader
	of   *budget
	held int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if busy := c.of.take(n); busy != nil {
		return 0, busy
	}
	c.held += n
	return n, err
}

func (c *counted) release() {
	c.of.give(c.held)
	c.held = 0
}

// readBody reads the whole body of a request, which is JSON or nothing. What cannot be right is refused unread.
func readBody(req *http.Request, body io.Reader) ([]byte, error) {
	if req.Method != http.MethodPost {
		if n, _ := io.ReadFull(body, make([]byte, 1)); n > 0 || req.ContentLength > 0 {
			return nil, fault.New(fault.Invalid, "unexpected-body", "read request", "this method takes no body")
		}
		return nil, nil
	}
	data, err := io.ReadAll(body)
	var f *fault.Error
	if errors.As(err, &f) {
		return nil, err
	}
	if err != nil {
		return nil, bodyFault(err, "the body is larger than this method takes")
	}
	if len(data) == 0 {
		return nil, nil
	}
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != jsonType {
		return nil, fault.New(fault.Invalid, "media-type", "read request", "the body must be JSON").
			WithHint("send the header Content-Type: application/json")
	}
	if req.URL.RawQuery != "" {
		return nil, fault.New(fault.Invalid, "unexpected-query", "read request", "this method takes its fields in the body alone")
	}
	return data, nil
}

type connectionKey struct{}

// withConnection lets a request find the connection that it came on.
func withConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn)
}

// prove tells the listener that a known caller was heard on the request's connection.
func prove(req *http.Request) {
	if conn, ok := req.Context().Value(connectionKey{}).(net.Conn); ok {
		wire.Prove(conn)
	}
}
