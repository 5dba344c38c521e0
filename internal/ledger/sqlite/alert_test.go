package sqlite

import (
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/records"
	"github.com/enlace-network/enlace/internal/message"
)

// TestPlans runs the suite's questions on an empty ledger and looks at how each would be answered: through an index,
// and in its order.
func TestPlans(t *testing.T) {
	l := openAt(t, testConfig(t, t.TempDir()))
	defer l.Close()
	if err := l.pool.view(t.Context(), func(c *conn) error {
		ask(t, records.NewReader(c))
		for query := range c.statements {
			if strings.HasPrefix(query, "SELECT") {
				checkPlan(t, c, query)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// ask puts every question that a table grown large has to answer.
func ask(t *testing.T, r ledger.Reader) {
	t.Helper()
	chain, now := ledger.Chain{}, time.Now()
	own, err := authority.ParseName("mx/fgr")
	if err != nil {
		t.Fatal(err)
	}
	key := message.Key{Sender: own, ID: factID(1)}
	var node authority.Node
	for what, err := range map[string]error{
		"links":    all(first(r.LinksOf(key)), first(r.Links(message.Digest{}, 1, 1)), first(r.LinksAfter(1, 1))),
		"members":  all(first(r.Members(message.Digest{})), first(r.MembersOf(node)), first(r.MembersDue(now, 1)), first(r.NextMember())),
		"chains":   all(first(r.FollowingOf(node)), first(r.Entries(chain, 1, 1)), first(r.Proofs(1))),
		"held":     all(first(r.HeldBytes(node)), first(r.HeldFor(node, message.Digest{}, 0, 1))),
		"alerts":   all(first(r.AlertsOf(key.ID)), first(r.AlertsSince(1, 1)), first(r.AlertCursor())),
		"lists":    all(first(r.Alerts(ledger.AlertFilter{Own: own, BeforeCursor: 5})), first(r.Alerts(ledger.AlertFilter{Direction: ledger.Out}))),
		"in force": all(first(r.AlertsExpired(now, 1)), first(r.NextExpiry()), first(r.AlertsIn(own.State(), authority.Category{}))),
		"nudges":   all(first(r.NudgesDue(now, 1)), first(r.NextNudge())),
	} {
		if err != nil {
			t.Fatal(what, err)
		}
	}
}

func checkPlan(t *testing.T, c *conn, query string) {
	t.Helper()
	explained, _, err := c.db.Prepare("EXPLAIN QUERY PLAN " + query)
	if err != nil {
		t.Fatal(err)
	}
	defer explained.Close()
	for explained.Step() {
		step := explained.ColumnText(3)
		whole := strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "USING") && step != "SCAN CONSTANT ROW"
		// A scan in the order of the rows is how the newest proofs are listed; a chain's followings are few.
		if strings.Contains(query, "FROM proof") || strings.Contains(query, "FROM following") && strings.Contains(step, "ORDER BY") {
			continue
		}
		if whole || strings.Contains(step, "TEMP B-TREE") {
			t.Errorf("%s\n\tdoes: %s", query, step)
		}
	}
	if err := explained.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestCursorsOfFailedSync: the numbers of a group that failed are given to the next.
func TestCursorsOfFailedSync(t *testing.T) {
	d, cfg := newDisk(), testConfig(t, t.TempDir())
	cfg.VFS = d
	l := openAt(t, cfg)
	defer l.Close()
	own, err := authority.ParseName("mx/fgr")
	if err != nil {
		t.Fatal(err)
	}
	put := func() (alert, aCase, seq int64, err error) {
		err = l.Update(t.Context(), func(t ledger.Tx) error {
			var errs [4]error
			alert, errs[0] = t.PutAlert(ledger.Alert{ID: factID(1), Own: own})
			aCase, errs[1] = t.PutCase(ledger.Case{Conversation: factID(1), Own: own})
			seq, errs[2] = t.PutLink(ledger.Link{Number: 1})
			errs[3] = t.PutFollowing(ledger.Following{})
			return all(errs[:]...)
		})
		return
	}
	d.set(func(d *disk) { d.sync = func(string) error { return sqlite3.IOERR_FSYNC } })
	if _, _, _, err := put(); fault.CodeOf(err) != "storage-failed" {
		t.Fatalf("update on a failing disk = %v, want storage-failed", err)
	}
	d.set(func(d *disk) { d.sync = nil })
	if alert, aCase, seq, err := put(); alert != 1 || aCase != 1 || seq != 1 || err != nil {
		t.Errorf("cursors after the failure %d and %d, seq %d, %v; want 1 of each", alert, aCase, seq, err)
	}
	// The chain's number was undone with the group, and given anew.
	if err := l.View(t.Context(), func(r ledger.Reader) error {
		_, err := r.Following(ledger.Chain{})
		return err
	}); err != nil {
		t.Error(err)
	}
}
