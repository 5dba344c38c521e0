package wire

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	errorDomain = "enlace"
	// maxSentence and maxCode bound what is believed of another's error; it may end on a terminal.
	maxSentence = 400
	maxCode     = 64
)

// kindCodes is the mapping, one to one, so that a client without our error detail still reads the kind. PROTOCOL 8.3.
var kindCodes = map[fault.Kind]codes.Code{
	fault.Internal:        codes.Internal,
	fault.Invalid:         codes.InvalidArgument,
	fault.Denied:          codes.PermissionDenied,
	fault.Unauthenticated: codes.Unauthenticated,
	fault.NotFound:        codes.NotFound,
	fault.Conflict:        codes.AlreadyExists,
	fault.TooLarge:        codes.ResourceExhausted,
	fault.Retry:           codes.Unavailable,
	fault.Usage:           codes.FailedPrecondition,
}

// ToStatus is the answer to a failed call: kind, code, sentence and hint; never the operation or the cause. An
// unexpected error is answered blandly: whoever calls ToStatus has logged it. A status passes unchanged.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	f := atDoor(err)
	if f == nil {
		return err // gRPC's own, such as a message beyond the limit
	}
	if f.Kind == fault.Internal {
		f = fault.New(fault.Internal, "", "", "something failed inside the program")
	}
	st := status.New(kindCodes[f.Kind], f.Say)
	info := &errdetails.ErrorInfo{Reason: f.Code, Domain: errorDomain, Metadata: map[string]string{"kind": f.Kind.String()}}
	if f.Hint != "" {
		info.Metadata["hint"] = f.Hint
	}
	detailed, err := st.WithDetails(info)
	if err != nil {
		return st.Err()
	}
	return detailed.Err()
}

// atDoor is the fault to answer with; nil for an error that is a gRPC status already.
func atDoor(err error) *fault.Error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Retry, "deadline", "", "the call took longer than allowed")
	}
	if errors.Is(err, context.Canceled) {
		return fault.New(fault.Retry, "cancelled", "", "the call was given up")
	}
	if _, ok := status.FromError(err); ok {
		return nil
	}
	return fault.As(err)
}

// FromStatus reads the answer to a failed call. What the other side wrote is cut to size and to printable
// characters. A failure of the connection itself is Retry. Errors that are no status pass unchanged.
func FromStatus(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			f := fault.New(kindOf(st.Code()), printable(info.GetReason(), maxCode), "call", printable(st.Message(), maxSentence))
			return f.WithHint(printable(info.GetMetadata()["hint"], maxSentence))
		}
	}
	return fromTransport(st)
}

func kindOf(code codes.Code) fault.Kind {
	for kind, c := range kindCodes {
		if c == code {
			return kind
		}
	}
	return fault.Internal
}

// fromTransport explains a status that gRPC made itself.
func fromTransport(st *status.Status) error {
	cause := errors.New(printable(st.Message(), maxSentence))
	wrap := func(kind fault.Kind, code, say string) *fault.Error {
		return fault.Wrap(cause, kind, code, "call", say)
	}
	switch st.Code() {
	case codes.Unavailable:
		// TLS 1.3 tells a client of its refusal only after the handshake, and never why.
		if strings.Contains(st.Message(), "remote error: tls") {
			return wrap(fault.Unauthenticated, "certificate-refused", "the other side refused our certificate").
				WithHint("its log says why; it may not have heard of us yet")
		}
		return wrap(fault.Retry, "unreachable", "the other side cannot be reached")
	case codes.DeadlineExceeded:
		return wrap(fault.Retry, "deadline", "the other side did not answer in time")
	case codes.Canceled:
		return wrap(fault.Retry, "cancelled", "the call was given up")
	case codes.ResourceExhausted:
		return wrap(fault.TooLarge, "too-large", "the message is larger than allowed")
	case codes.Unimplemented:
		return wrap(fault.Invalid, "unknown-method", "the other side does not know that call")
	}
	return wrap(kindOf(st.Code()), "", "the other side failed")
}

// printable keeps at most limit bytes of printable characters.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), limit)], ""))
	return s
}
