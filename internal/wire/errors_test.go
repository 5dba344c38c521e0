package wire_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/wire"
)

func TestEveryKindComesBack(t *testing.T) {
	seen := map[codes.Code]fault.Kind{}
	for kind := fault.Internal; kind <= fault.Usage; kind++ {
		st := wire.ToStatus(fault.New(kind, "some-code", "op", "say"))
		if other, twice := seen[status.Code(st)]; twice {
			t.Errorf("%v and %v have one code", kind, other)
		}
		seen[status.Code(st)] = kind
		code := "some-code"
		if kind == fault.Internal {
			code = "" // what broke here is nobody else's business
		}
		if got := wire.FromStatus(st); !fault.Is(got, kind) || fault.CodeOf(got) != code {
			t.Errorf("%v came back as %v (%q)", kind, got, fault.CodeOf(got))
		}
	}
	if wire.ToStatus(nil) != nil || wire.FromStatus(nil) != nil {
		t.Error("no error became one")
	}
	if plain := errors.New("plain"); wire.FromStatus(plain) != plain {
		t.Error("an error that is no status was changed")
	}
}

// FuzzFromStatus: nothing that another machine writes into an error reaches a terminal unbounded or as a command.
func FuzzFromStatus(f *testing.F) {
	f.Add(uint32(codes.NotFound), "not here", "code", "hint")
	f.Add(uint32(99), "\x1b[2J", strings.Repeat("x", 10000), "\u202e\xff")
	f.Fuzz(func(t *testing.T, code uint32, say, reason, hint string) {
		st := status.New(codes.Code(code), say)
		if detailed, err := st.WithDetails(&errdetails.ErrorInfo{Domain: "enlace", Reason: reason, Metadata: map[string]string{"hint": hint}}); err == nil {
			st = detailed
		}
		err := wire.FromStatus(st.Err())
		if err == nil {
			return // code 0
		}
		got := fault.As(err)
		for _, s := range []string{got.Say, got.Code, got.Hint, got.Error()} {
			if len(s) > 1000 || strings.ContainsAny(s, "\x1b\n\r\u202e") {
				t.Errorf("let through %q", s)
			}
		}
	})
}
