package registry

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

// How much one state may add to the log on its own word: the log is never cut, and every node stores all of it. A
// bucket is full at first and fills evenly, so an unused hour or day gives at most as much again.
const (
	// enablingAnHour counts key and address changes.
	enablingAnHour = 60
	// enablingBytesADay is the most bytes of them.
	enablingBytesADay = 1 << 20
	// suspensionsAnHour counts a state's suspensions of itself and its own.
	suspensionsAnHour = 120
	// removalsAnHour counts retirements and revocations. Each thing is removed once, and stewards or the budget above
	// let it in, so nobody reaches this who does not attack his own state.
	removalsAnHour = 4096
)

// budgets are what each state may still hand in. They are in memory: a restart of the hub fills them again, which a
// member cannot bring about. One for each admitted state at most, since nothing else is applied.
type budgets map[directory.Subject]*budget

// budget has three parts that do not eat into each other, so whoever floods the log with one kind does not delay a
// removal. What the hub holds back still binds wherever it is seen (PROTOCOL 4.6), and is handed in again.
type budget struct{ enabling, bytes, suspensions, removals *rate.Limiter }

func newBudget() *budget {
	return &budget{
		enabling:    per(time.Hour, enablingAnHour),
		bytes:       per(24*time.Hour, enablingBytesADay),
		suspensions: per(time.Hour, suspensionsAnHour),
		removals:    per(time.Hour, removalsAnHour),
	}
}

func per(d time.Duration, n int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(float64(n)/d.Seconds()), n)
}

// spend takes a statement, already found valid, from its state's budget. What a steward signed too is free: two parties
// would have to flood together. Retry "too-many" takes nothing.
func (b budgets) spend(st directory.Statement, now time.Time) error {
	if st.Subject().IsNetwork() || !alone(st) {
		return nil
	}
	state := directory.OfState(st.Subject().State())
	if b[state] == nil {
		b[state] = newBudget()
	}
	if !b[state].allows(st, now) {
		return fault.New(fault.Retry, "too-many", opPropose, "the state handed in too many statements of that kind").
			WithHint("try again later; if it was not the state itself, revoke its stolen key")
	}
	return nil
}

func (b *budget) allows(st directory.Statement, now time.Time) bool {
	switch {
	case st.Kind() == directory.KindSuspend:
		return b.suspensions.AllowN(now, 1)
	case st.Restricting():
		return b.removals.AllowN(now, 1)
	}
	size := len(st.Signed())
	if b.bytes.TokensAt(now) < float64(size) || !b.enabling.AllowN(now, 1) {
		return false
	}
	return b.bytes.AllowN(now, size)
}

// alone reports whether a state signed and no steward did.
func alone(st directory.Statement) bool {
	for _, s := range st.Signatures() {
		if s.Role != directory.RoleState && s.Role != directory.RoleNew {
			return false
		}
	}
	return true
}
