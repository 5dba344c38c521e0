package fault

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestKinds(t *testing.T) {
	all := []Kind{Internal, Invalid, Denied, Unauthenticated, NotFound, Conflict, TooLarge, Retry, Usage}
	if len(all) != len(kindNames) {
		t.Fatalf("%d kinds, %d names", len(all), len(kindNames))
	}
	seen := map[string]bool{}
	for _, k := range all {
		if got := ParseKind(k.String()); got != k || seen[k.String()] {
			t.Errorf("%d is named %q, which reads as %d", k, k, got)
		}
		seen[k.String()] = true
	}
	if got := ParseKind("no such kind"); got != Internal {
		t.Errorf("unknown slug = %v, want internal: it promises nothing", got)
	}
	if got := Kind(200).String(); got != "internal" {
		t.Errorf("unknown kind = %q, want internal", got)
	}
}

func TestErrorIsTheLineForTheLog(t *testing.T) {
	for _, test := range []struct {
		err  *Error
		want string
	}{
		{New(Invalid, "c", "do it", "it is wrong"), "do it: it is wrong"},
		{Wrap(io.ErrUnexpectedEOF, Retry, "c", "do it", "it broke"), "do it: it broke: unexpected EOF"},
		{&Error{Say: "it broke"}, "it broke"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestHintIsACopy(t *testing.T) {
	first := New(Denied, "c", "op", "say")
	second := first.WithHint("ask someone")
	if first.Hint != "" || second.Hint != "ask someone" || second.Code != "c" {
		t.Errorf("first %+v, second %+v", first, second)
	}
}

func TestChain(t *testing.T) {
	inner := New(NotFound, "inner", "look", "nothing there")
	outer := Wrap(inner, Conflict, "outer", "act", "cannot")
	wrapped := fmt.Errorf("context: %w", outer)
	if got := As(wrapped); got != outer {
		t.Errorf("As = %v, want the outermost fault", got)
	}
	if !Is(wrapped, Conflict) || Is(wrapped, NotFound) || KindOf(wrapped) != Conflict || CodeOf(wrapped) != "outer" {
		t.Error("the outermost fault does not decide")
	}
	if !errors.Is(wrapped, inner) {
		t.Error("the cause is lost to errors.Is")
	}
}

// A foreign error promises nothing and shows nothing of itself to people.
func TestForeign(t *testing.T) {
	foreign := errors.New("secret detail")
	got := As(foreign)
	if got.Kind != Internal || CodeOf(foreign) != "" || KindOf(foreign) != Internal || Is(foreign, Internal) {
		t.Errorf("foreign error = %+v", got)
	}
	if strings.Contains(got.Say, "secret") || !errors.Is(got, foreign) {
		t.Errorf("say = %q, cause = %v", got.Say, got.Cause)
	}
	if As(nil) != nil || Is(nil, Internal) || CodeOf(nil) != "" {
		t.Error("nil is an error")
	}
}
