package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/wire"
)

const jsonType = "application/json"

// codec is the JSON of the REST face: field names as in the proto, every field present in answers, and in requests
// nothing unknown, nothing twice, nothing behind the end.
type codec struct{}

var _ runtime.Marshaler = codec{}

// Marshal writes a message; anything else, which only errors of the gateway's own would be, goes by encoding/json.
func (codec) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	}
	return json.Marshal(v)
}

// Unmarshal reads a message. Its error is fit for the caller's eyes: it names a place and never a value.
func (codec) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return errors.New("the body is not what this method takes")
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: false}).Unmarshal(data, m); err != nil {
		return errors.New(explainJSON(err))
	}
	return nil
}

// NewDecoder reads the one message that a body is.
func (c codec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(io.LimitReader(r, maxBody))
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return io.EOF
		}
		return c.Unmarshal(data, v)
	})
}

// NewEncoder is for streams, of which the gateway serves none.
func (c codec) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		data, err := c.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}

// ContentType is JSON's.
func (codec) ContentType(any) string { return jsonType }

var (
	jsonPlace   = regexp.MustCompile(`\(line (\d+):(\d+)\)`)
	jsonUnknown = regexp.MustCompile(`unknown field "([A-Za-z0-9_.@]{1,64})"`)
	jsonTwice   = regexp.MustCompile(`duplicate field "([A-Za-z0-9_.@]{1,64})"`)
)

// explainJSON says where a body is wrong without repeating what stands there: it may be a password.
func explainJSON(err error) string {
	text, where := err.Error(), ""
	if m := jsonPlace.FindStringSubmatch(text); m != nil {
		where = fmt.Sprintf(" at line %s, column %s", m[1], m[2])
	}
	if m := jsonUnknown.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("there is no field %q here%s", m[1], where)
	}
	if m := jsonTwice.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("the field %q stands twice%s", m[1], where)
	}
	return "the JSON is not what this method takes" + where
}

// problem is the JSON of every error.
type problem struct {
	Kind    string `json:"kind"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func problemOf(err error) (problem, int) {
	e := fault.As(err)
	p := problem{Kind: e.Kind.String(), Code: e.Code, Message: e.Say, Hint: e.Hint}
	if e.Kind == fault.Internal {
		p.Message = "something failed inside the node"
	}
	return p, statusOf(e.Kind)
}

func statusOf(k fault.Kind) int {
	switch k {
	case fault.Invalid, fault.Usage:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Retry:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	p, code := problemOf(err)
	switch code {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="enlace"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	writeProblem(w, p, code)
}

func writeProblem(w http.ResponseWriter, p problem, code int) {
	data, err := json.Marshal(p)
	if err != nil {
		data = []byte(`{"kind":"internal"}`)
	}
	writeJSON(w, code, data)
}

func writeJSON(w http.ResponseWriter, code int, data []byte) {
	// After a long upload the server's own deadline has passed; where there are none, this one is not needed.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(code)
	_, _ = w.Write(append(data, '\n')) // a caller who has gone needs no answer
}

// misroute answers what no route takes.
func misroute(w http.ResponseWriter, code int) {
	switch code {
	case http.StatusMethodNotAllowed:
		writeProblem(w, problem{"invalid", "method", "this path does not take this method", "the list of paths: /openapi.json"}, code)
	case http.StatusNotFound:
		writeProblem(w, problem{"not-found", "no-such-path", "there is nothing at this path", "the list of paths: /openapi.json"}, code)
	default:
		writeProblem(w, problem{"invalid", "malformed-path", "the path cannot be read", ""}, http.StatusBadRequest)
	}
}

// fromGateway tells errors of the gateway itself, which are about the caller's spelling, from those of the node.
func fromGateway(err error) error {
	var routing *runtime.HTTPStatusError
	if errors.As(err, &routing) {
		return fault.New(fault.Invalid, "malformed-path", "route request", "the path cannot be read")
	}
	s, ok := status.FromError(err)
	if ok && s.Code() == codes.InvalidArgument && len(s.Details()) == 0 {
		return fault.New(fault.Invalid, "malformed-json", "read request", gatewayText(s.Message()))
	}
	return wire.FromStatus(err)
}

// gatewayText keeps the sentences that are ours and drops those that may repeat what the caller wrote.
func gatewayText(s string) string {
	for _, ours := range []string{"there is no ", "the field ", "the JSON "} {
		if strings.HasPrefix(s, ours) {
			return s
		}
	}
	return "a field of the request has a value that it cannot have"
}

// bodyFault says why a body could not be read.
func bodyFault(err error, tooLarge string) error {
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return fault.Wrap(err, fault.TooLarge, "too-large", "read request", tooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Wrap(err, fault.Retry, "too-slow", "read request", "the body came too slowly")
	}
	return fault.Wrap(err, fault.Retry, "broken-off", "read request", "the body broke off")
}
