// Package rest is the HTTP face of the operator door: JSON for every unary call, files as bodies, changes as server-sent
// events. It decides nothing. Every request becomes a call of the gRPC server of the same process, with the caller's token
// and nothing else of theirs; who may call what is asked before a byte of a body is read.
//
// The paths stand in the proto's annotations and, for what streams, in [New]; the rules (one spelling for each path,
// unknown fields refused, limits of bytes and time) in the package comment of operator. Every error is
// {"kind", "code", "message", "hint"}.
//
// The room keeps nothing and logs no names, addresses or content.
package rest

import (
	"context"
	"crypto/tls"
	stdlog "log"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// Limits of the REST face; attachments stream and have limits of their own.
const (
	maxBody = 2 << 20 // bytes of a JSON body: a request's body limit of 1 MiB, and room for its spelling in JSON
	// maxOpenBody is for methods that anybody may call, and holds a name and a password of maxPassword twice over.
	maxOpenBody = 8 << 10
	// MaxBodies is the most bytes of all bodies of known callers together, maxOpenBodies of others.
	MaxBodies, maxOpenBodies = 32 << 20, 8 << 20
	maxTarget                = 4 << 10 // bytes of path and query
	maxHeaders               = 16 << 10
	headerTime               = 10 * time.Second
	keepOpen                 = 2 * time.Minute
	// Of HTTP/2, per connection. What has come and is not read yet lies in memory.
	webStreams, webStreamBytes, webBytes = 16, 256 << 10, 512 << 10
	// readTime is for a whole request but an upload, writeTime for the handling and the answer of one that does not
	// stream. The streams set deadlines of their own.
	readTime, writeTime = 2 * time.Minute, 3 * time.Minute
	answerTime          = 30 * time.Second
	// openReadTime is for the body of a method that anybody may call.
	openReadTime = 30 * time.Second
)

// Options are what a face is made from. All are required but Origins.
type Options struct {
	// Conn leads to the gRPC server, so that both faces have one authentication, one table of scopes and one set of limits.
	Conn grpc.ClientConnInterface
	// Ask decides whether the caller in the outgoing context may call a method; it is asked before a body is read.
	Ask func(ctx context.Context, method string) error
	// Open reports whether anybody may call a method: its bodies are small.
	Open func(method string) bool
	// Document is what /openapi.json answers.
	Document []byte
	// Origins are those that browsers may call from, such as https://desk.example.
	Origins []string
	// Idle is the longest silence within an upload or a download, Beat how often a silent event stream says that it lives.
	Idle, Beat time.Duration
	// Freshness is that of the directory now: "fresh", "degraded" or "stale".
	Freshness func() string
}

// rest keeps nothing of what it answers.
type rest struct {
	Options
	requests    operatorv1.RequestServiceClient
	attachments operatorv1.AttachmentServiceClient
	alerts      operatorv1.AlertServiceClient
	gateway     http.Handler
}

// New builds the HTTP face.
func New(o Options) (http.Handler, error) {
	gateway, err := newGateway(o)
	if err != nil {
		return nil, err
	}
	r := &rest{
		Options: o, gateway: gateway, requests: operatorv1.NewRequestServiceClient(o.Conn),
		attachments: operatorv1.NewAttachmentServiceClient(o.Conn), alerts: operatorv1.NewAlertServiceClient(o.Conn),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/requests/{id}/attachments", r.uploadAttachment)
	mux.HandleFunc("PUT /v1/requests/{id}/attachments", r.uploadAttachment)
	mux.HandleFunc("GET /v1/requests/{id}/attachments/{message}/{index}", r.downloadAttachment)
	mux.HandleFunc("POST /v1/alerts/{id}/files", r.uploadAlertFile)
	mux.HandleFunc("PUT /v1/alerts/{id}/files", r.uploadAlertFile)
	mux.HandleFunc("GET /v1/alerts/{id}/files/{index}", r.downloadAlertFile)
	mux.HandleFunc("GET /v1/watch", r.watchRequests)
	mux.HandleFunc("GET /v1/watch/alerts", r.watchAlerts)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { healthz(w, o.Freshness()) })
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, o.Document) })
	mux.HandleFunc("/", r.unary)
	return r.guard(mux), nil
}

// Server is an HTTP server for a face, with its limits of time and bytes; the caller bounds its listener with room wire.
func Server(handler http.Handler, config *tls.Config, log *zap.Logger) *http.Server {
	return &http.Server{
		Handler: handler, TLSConfig: config.Clone(), ErrorLog: stdlog.New(newQuiet(log), "", 0), ConnContext: withConnection,
		ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: keepOpen,
		MaxHeaderBytes: maxHeaders,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: webStreams, MaxReceiveBufferPerStream: webStreamBytes, MaxReceiveBufferPerConnection: webBytes,
		},
	}
}

// healthz says that the process answers, and how far its directory may be trusted: monitors have no account.
func healthz(w http.ResponseWriter, freshness string) {
	writeJSON(w, http.StatusOK, []byte(`{"status":"ok","directory":"`+freshness+`"}`))
}

// newGateway is the generated part: unary methods only, JSON only. Headers of a caller never become gRPC metadata,
// but for its token; a method is what the request line says, whatever a header or form claims.
func newGateway(o Options) (http.Handler, error) {
	nothing := func(string) (string, bool) { return "", false }
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, codec{}),
		runtime.WithIncomingHeaderMatcher(nothing),
		runtime.WithOutgoingHeaderMatcher(nothing),
		runtime.WithOutgoingTrailerMatcher(nothing),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			refuse(w, fromGateway(err))
		}),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, code int) {
			misroute(w, code)
		}),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithStrictDeepWildcardMatching(), // or /v1/directory would be an entry without a name
		runtime.WithMiddlewares(newEntrance(o.Ask, o.Open).check, knownQueries().check),
	)
	ctx := context.Background() // the registrations keep it for nothing but logging
	for _, err := range []error{
		operatorv1.RegisterSessionServiceHandlerClient(ctx, mux, operatorv1.NewSessionServiceClient(o.Conn)),
		operatorv1.RegisterUserServiceHandlerClient(ctx, mux, operatorv1.NewUserServiceClient(o.Conn)),
		operatorv1.RegisterRequestServiceHandlerClient(ctx, mux, operatorv1.NewRequestServiceClient(o.Conn)),
		operatorv1.RegisterAlertServiceHandlerClient(ctx, mux, operatorv1.NewAlertServiceClient(o.Conn)),
		operatorv1.RegisterSubscriptionServiceHandlerClient(ctx, mux, operatorv1.NewSubscriptionServiceClient(o.Conn)),
		operatorv1.RegisterDirectoryQueryServiceHandlerClient(ctx, mux, operatorv1.NewDirectoryQueryServiceClient(o.Conn)),
		operatorv1.RegisterNodeServiceHandlerClient(ctx, mux, operatorv1.NewNodeServiceClient(o.Conn)),
	} {
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "", "open REST door", "the routes could not be registered")
		}
	}
	return mux, nil
}

// guard stands before every route: headers that browsers obey, cross-origin rules, and one spelling for each path.
func (r *rest) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		secure(w.Header())
		if len(req.URL.EscapedPath())+len(req.URL.RawQuery) > maxTarget {
			refuse(w, fault.New(fault.TooLarge, "too-large", "route request", "the address is too long"))
			return
		}
		if !plainPath(req) {
			refuse(w, fault.New(fault.Invalid, "malformed-path", "route request", "the path is not in its plain form").
				WithHint("no dot segments, double slashes or encoded slashes"))
			return
		}
		if r.crossOrigin(w, req) {
			return
		}
		next.ServeHTTP(w, req)
	})
}

func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Frame-Options", "DENY")
}

// plainPath refuses every second spelling of a path, so that no proxy before us and no rule can read it otherwise
// than we do. An encoded slash is taken only where the rest of the path is a name that has slashes.
func plainPath(req *http.Request) bool {
	p, raw := req.URL.Path, strings.ToLower(req.URL.EscapedPath())
	if !strings.HasPrefix(p, "/") || (p != "/" && path.Clean(p) != p) || strings.ContainsAny(p, "\\;") {
		return false
	}
	if strings.ContainsFunc(p, func(c rune) bool { return c < 0x20 || c == 0x7f || c == '\uFFFD' }) {
		return false
	}
	return !strings.Contains(raw, "%2f") || (strings.HasPrefix(raw, "/v1/directory/") && strings.HasPrefix(p, "/v1/directory/"))
}

// crossOrigin answers preflights and marks what a listed origin may read. It reports whether it has answered.
func (r *rest) crossOrigin(w http.ResponseWriter, req *http.Request) bool {
	h, origin := w.Header(), req.Header.Get("Origin")
	preflight := req.Method == http.MethodOptions && req.Header.Get("Access-Control-Request-Method") != ""
	if origin != "" {
		h.Set("Vary", "Origin")
	}
	if origin == "" || !slices.Contains(r.Origins, origin) {
		if preflight {
			refuse(w, fault.New(fault.Denied, "cross-origin", "route request", "pages of other origins may not call this node"))
		}
		return preflight
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if preflight {
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	}
	return preflight
}

// unary hands the request to the generated gateway, which reads no body before the entrance has.
func (r *rest) unary(w http.ResponseWriter, req *http.Request) {
	req.Header.Del("Grpc-Timeout")
	req.Header.Set("Accept", jsonType)
	r.gateway.ServeHTTP(w, req)
}

// hold takes the reading deadline away once a request has been read. The server goes on reading, to learn when the
// caller goes, and would take the deadline for that.
func hold(w http.ResponseWriter) {
	// Where a connection has no deadlines there is none to take away.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}
