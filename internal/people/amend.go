package people

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

// unchanged stops an amendment that would change nothing; it never leaves the room.
type unchanged struct{}

func (unchanged) Error() string { return "unchanged" }

// amend reads an account, lets decide change it, and commits both the account and the change that decide returns.
// Event.Subject and Event.At are filled in. What is remembered of the person's sessions is dropped in any case, even
// if the commit's outcome is unknown: the store will be asked.
func (d *Desk) amend(ctx context.Context, user User, decide func(*Account) (Change, error)) error {
	d.write.Lock()
	defer d.write.Unlock()
	before, err := d.store.Account(ctx, user)
	if err != nil {
		return err
	}
	after := before
	change, err := decide(&after)
	if errors.Is(err, unchanged{}) {
		return nil
	}
	if err != nil {
		return err
	}
	if isAdministrator(before) && !isAdministrator(after) {
		if err := d.keepAdministrator(ctx, user); err != nil {
			return err
		}
	}
	change.Put, change.Event.Subject, change.Event.At = &after, user.String(), d.now()
	defer d.live.dropUser(user)
	return d.store.Commit(ctx, change)
}

// keepAdministrator refuses to lose the last one: nobody could ever make another.
func (d *Desk) keepAdministrator(ctx context.Context, leaving User) error {
	all, err := d.store.Accounts(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(a Account) bool { return a.User != leaving && isAdministrator(a) }) {
		return nil
	}
	return fault.New(fault.Conflict, "last-administrator", "change account", "this is the last administrator").
		WithHint("give another person the role first")
}

func isAdministrator(a Account) bool { return !a.Locked && slices.Contains(a.Roles, RoleAdministrator) }

func clearFailures(a *Account) { a.Failures, a.FailedAt = 0, time.Time{} }
