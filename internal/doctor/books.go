package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
)

const (
	// booksWithin bounds reading the whole ledger: some 10 µs an event, and a second for some 100 MB.
	booksWithin = 10 * time.Minute

	ledgerName = "ledger"
	evidence   = "evidence"
)

// Books are a ledger that can be checked as a whole.
type Books interface {
	// Check has the engine look at its own files or settings: Internal "damaged", Usage "unsafe-storage".
	Check(ctx context.Context) error
	// VerifyEvidence recomputes the evidence log and holds it against every checkpoint that was signed: Conflict
	// "evidence-broken".
	VerifyEvidence(ctx context.Context) (ledger.Evidence, error)
}

// CheckLedger looks at the engine's files. It reads all of it; the node goes on working.
func CheckLedger(b Books) Check {
	return Check{Component: ledgerName, Within: booksWithin, Look: func(ctx context.Context, tell func(Finding)) {
		if err := b.Check(ctx); err != nil {
			tell(booksFault(ledgerName, err))
			return
		}
		tell(Finding{ledgerName, "", OK, "sound", "the engine finds its data sound", "", nil})
	}}
}

// CheckEvidence recomputes the evidence log and holds it against the last signed checkpoint, and all before it. PROTOCOL 9.2.
func CheckEvidence(b Books) Check {
	return Check{Component: evidence, Within: booksWithin, Look: func(ctx context.Context, tell func(Finding)) {
		e, err := b.VerifyEvidence(ctx)
		if err != nil {
			tell(booksFault(evidence, err))
			return
		}
		tell(Verified(e))
	}}
}

// Verified is the finding on an evidence log that was recomputed.
func Verified(e ledger.Evidence) Finding {
	found := fmt.Sprintf("%d events are as they were recorded, and %d checkpoints as they were signed, the last over %d events", e.Events, e.Checkpoints, e.Signed)
	if e.Checkpoints == 0 {
		found = fmt.Sprintf("%d events are as they were recorded; no checkpoint was signed yet", e.Events)
	}
	return Finding{evidence, "", OK, "as-signed", found, "", nil}
}

func booksFault(component string, err error) Finding {
	f := Finding{Component: component, State: Failing, Code: fault.CodeOf(err), Found: fault.As(err).Say}
	const restore = "stop the node, keep all its files as they are, and restore from the newest backup: enlace node restore"
	switch {
	case f.Code == "evidence-broken":
		f.Do = "somebody or something has changed what was recorded: " + restore
	case f.Code == "damaged":
		f.Do = restore
	case fault.Is(err, fault.Retry), f.Code == "":
		f.State, f.Code = Unknown, or(f.Code, "not-read")
		f.Do = hintOr(err, "see the log of the node, and run enlace doctor again")
	default:
		f.Do = hintOr(err, "see the log of the node")
	}
	return f
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
