// Package fault is how Enlace says that something went wrong.
//
// An [Error] answers four questions: what was being done (Op), why not (Kind for machines, Say for people), what
// now (Hint), and, for the log only, the cause. Kinds become gRPC statuses in room wire, exit codes in room cli;
// nowhere else. Causes never leave the house: only Kind, Code, Say and Hint may be shown to a peer or a user, so
// Say and Hint hold no secret and no personal data.
//
// The package imports nothing of ours and no gRPC.
package fault

import (
	"errors"
	"strings"
)

// Kind is what a machine needs to know to decide its next step.
type Kind uint8

const (
	// Internal is a defect or an unexpected failure of ours; nothing is promised.
	Internal Kind = iota
	// Invalid is input that can never be accepted as it stands.
	Invalid
	// Denied is a rule that forbids it to this caller.
	Denied
	// Unauthenticated is a caller who has not shown who they are.
	Unauthenticated
	// NotFound is something that does not exist or may not be seen.
	NotFound
	// Conflict is a clash with what is already recorded.
	Conflict
	// TooLarge is input beyond a limit; nothing of it was kept.
	TooLarge
	// Retry is a passing condition: the same call may succeed later.
	Retry
	// Usage is a wrong command line or configuration file.
	Usage
)

var kindNames = [...]string{"internal", "invalid", "denied", "unauthenticated", "not-found", "conflict", "too-large", "retry", "usage"}

// String is the kind's slug.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// ParseKind reads a slug; an unknown one is Internal.
func ParseKind(s string) Kind {
	for i, n := range kindNames {
		if n == s {
			return Kind(i)
		}
	}
	return Internal
}

// Error is the one error type of the house.
type Error struct {
	// Kind decides what a machine does next.
	Kind Kind
	// Code is a stable slug of the exact rule ("wrong-network"), empty where the kind says enough. PROTOCOL 8.4 lists
	// those that travel.
	Code string
	// Op is what was being done, to what: "deliver envelope".
	Op string
	// Say is one sentence for people: lower case, no full stop.
	Say string
	// Hint is what to do now; may be empty.
	Hint string
	// Cause is for the log and never shown to others.
	Cause error
}

// New makes an error without a cause.
func New(kind Kind, code, op, say string) *Error {
	return &Error{Kind: kind, Code: code, Op: op, Say: say}
}

// Wrap makes an error from a cause. Callers branch on the kind, so wrap once per room, not at every step.
func Wrap(cause error, kind Kind, code, op, say string) *Error {
	return &Error{Kind: kind, Code: code, Op: op, Say: say, Cause: cause}
}

// WithHint returns a copy that says what to do now.
func (e *Error) WithHint(hint string) *Error {
	c := *e
	c.Hint = hint
	return &c
}

// Error is the line for the log: operation, sentence and cause.
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.Op, e.Say} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Cause != nil {
		parts = append(parts, e.Cause.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// As finds the outermost Error in a chain; a foreign error comes back as Internal with itself as the cause.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Say: "something failed inside the program", Cause: err}
}

// KindOf is As(err).Kind; Internal for a foreign error. It must not be asked about nil.
func KindOf(err error) Kind { return As(err).Kind }

// CodeOf is the code of the outermost Error, or empty.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Is reports whether err is an Error of this kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
