package registry

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
)

const (
	// What becomes of a statement that was handed in here. PROTOCOL 10.10.
	outcomeLogged  = "logged"
	outcomeOnSight = "on-sight"
	outcomeKept    = "kept"
	// patience is how long the hub is waited for before a statement is kept for it.
	patience = 5 * time.Second
)

// HandIn takes a statement that was brought here, with the cards that it names. Its effect is durable on return: "logged"
// at a position, 0 where the log has it and this node does not know where; "on-sight": in force, and brought to the hub;
// or "kept" for the hub, because it could be applied next. Errors: those of directory.Apply and of Restrict, Retry
// "too-many", Invalid "unknown-card". PROTOCOL 10.10.
func (f *Follower) HandIn(ctx context.Context, statement []byte, cards ...[]byte) (outcome string, position uint64, err error) {
	st, err := directory.ParseStatement(statement)
	if err != nil {
		return "", 0, err
	}
	if st.Restricting() {
		return f.handInOnSight(st)
	}
	if err := checkCards(st, cards); err != nil {
		return "", 0, err
	}
	tip := f.tip()
	if last, known := tip.Last(st.Subject()); known && last == st.Hash() {
		return outcomeLogged, 0, nil
	}
	if _, err := directory.Apply(tip, st); err != nil {
		return "", 0, err
	}
	// First, so that it does not get lost: the hub may answer and be gone.
	if err := f.kept.add(st, cards, f.o.Now()); err != nil { // commit
		return "", 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if position, err := f.Propose(ctx, st.Signed(), cards...); err == nil {
		return outcomeLogged, position, nil // the next sweep finds it in the log
	}
	// A hub that refuses what this node would apply is shown after 10 minutes, and asked until the log has moved on.
	f.sight.tell()
	return outcomeKept, 0, nil
}

func (f *Follower) tip() *directory.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.beyond.tip
}

func (f *Follower) handInOnSight(st directory.Statement) (string, uint64, error) {
	if f.tip().Standing(st) == directory.Logged {
		return outcomeLogged, 0, nil
	}
	if _, err := f.Restrict(st.Signed()); err != nil {
		return "", 0, err
	}
	return outcomeOnSight, 0, nil
}
