package doctor

import "context"

// CheckClock judges this machine's clock by what was read of others in the looks before it.
func CheckClock(r *Readings) Check {
	return Check{Component: clock, Look: func(_ context.Context, tell func(Finding)) { tell(r.Finding()) }}
}

// CheckFinding tells what somebody else has found.
func CheckFinding(component string, read func(ctx context.Context) ([]Finding, error)) Check {
	return Check{Component: component, Look: func(ctx context.Context, tell func(Finding)) {
		all, err := read(ctx)
		if err != nil {
			tell(Finding{Component: component, State: Unknown, Code: "not-read", Found: "it cannot be read: " + err.Error(), Do: "see what is found about the ledger"})
		}
		for _, f := range all {
			tell(f)
		}
	}}
}
