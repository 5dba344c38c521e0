package people_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/people"
)

func TestWrongLoginsLookAlike(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	_, _, want := o.desk.Login(o.ctx, "ana", "not the password")
	for what, c := range map[string][2]string{
		"unknown name":      {"nobody", good},
		"malformed name":    {"No Body\x00", good},
		"empty name":        {"", good},
		"empty password":    {"ana", ""},
		"short password":    {"ana", "short"},
		"control character": {"ana", good + "\x07"},
		"not UTF-8":         {"ana", good + "\xff"},
		"huge password":     {"ana", strings.Repeat("x", 1<<20)},
	} {
		o.must(o.desk.Unlock(o.ctx, o.root, o.user("ana")))
		secret, _, err := o.desk.Login(o.ctx, c[0], c[1])
		o.want(what, err, fault.Unauthenticated, "wrong-login")
		if secret != "" || fault.As(err).Error() != fault.As(want).Error() || fault.As(err).Hint != fault.As(want).Hint {
			t.Errorf("%s: %v, want the answer of a wrong password: %v", what, err, want)
		}
	}
}

// TestFailuresTakeTheSameTime measures: with costly parameters a failure comes neither sooner for an unknown name nor
// sooner than the least time.
func TestFailuresTakeTheSameTime(t *testing.T) {
	o := newOffice(t)
	const least = 150 * time.Millisecond
	o.desk = o.open(people.Config{Hash: quick, FailureTime: least})
	for _, name := range []string{"root", "nobody", "not a name"} {
		began := time.Now()
		_, _, err := o.desk.Login(o.ctx, name, "not the password")
		took := time.Since(began)
		o.want(name, err, fault.Unauthenticated, "wrong-login")
		if took < least {
			t.Errorf("%s: answered after %v, want at least %v", name, took, least)
		}
	}
	slow := argon2id.Params{Memory: 64 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	o.desk = o.open(people.Config{Hash: slow, FailureTime: time.Millisecond})
	began := time.Now()
	_, _, err := o.desk.Login(o.ctx, "nobody", "not the password")
	o.want("unknown name", err, fault.Unauthenticated, "wrong-login")
	if took := time.Since(began); took < 20*time.Millisecond {
		t.Errorf("an unknown name took %v: no hash was computed", took)
	}
}

func TestAccountWaitsAfterFailures(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	live := o.login("ana", good)
	fail := func() {
		t.Helper()
		_, _, err := o.desk.Login(o.ctx, "ana", "not the password")
		o.want("wrong password", err, fault.Unauthenticated, "wrong-login")
	}
	for i := range 5 {
		if e := o.last(); i > 0 && (e.Kind != people.LoginFailed || e.Subject != "ana" || e.Actor != "" || e.Alarm) {
			t.Errorf("event after failure %d = %+v", i, e)
		}
		fail()
	}
	if e := o.last(); !e.Alarm || e.Detail != "failure 5" {
		t.Errorf("event of the fifth failure = %+v, want an alarm", e)
	}
	for _, wait := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 900, 900} {
		wait *= time.Second
		o.clock.pass(wait - time.Millisecond)
		before := o.count()
		_, _, err := o.desk.Login(o.ctx, "ana", good)
		o.want(fmt.Sprintf("right password just before %v", wait), err, fault.Unauthenticated, "wrong-login")
		if o.count() != before {
			t.Errorf("an attempt while waiting wrote an event")
		}
		o.clock.pass(time.Millisecond)
		fail() // counted, so the wait was over
		if o.count() != before+1 {
			t.Errorf("after %v the account still waits", wait)
		}
	}
	if !o.works(live) {
		t.Errorf("failures ended a live session")
	}
	o.desk = o.open(people.Config{Hash: quick, FailureTime: time.Millisecond})
	_, _, err := o.desk.Login(o.ctx, "ana", good)
	o.want("after a restart", err, fault.Unauthenticated, "wrong-login")
	o.must(o.desk.Unlock(o.ctx, o.root, o.user("ana")))
	o.login("ana", good)
	for range 5 {
		fail()
	}
	o.clock.pass(5 * time.Second)
	o.login("ana", good)
	fail()
	o.login("ana", good) // the login cleared the count
	for range 5 {
		fail()
	}
	o.clock.pass(-24 * time.Hour)
	o.login("ana", good) // a clock set back does not lock anybody out for a day
}

func TestGuessesInParallelAreCounted(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	var wg sync.WaitGroup
	var wrong atomic.Int32
	for range 10 {
		wg.Go(func() {
			if _, _, err := o.desk.Login(o.ctx, "ana", "not the password"); fault.Is(err, fault.Unauthenticated) {
				wrong.Add(1)
			}
		})
	}
	wg.Wait()
	a, err := o.store.Account(o.ctx, o.user("ana"))
	o.must(err)
	if want := min(int(wrong.Load()), 5); a.Failures != want {
		t.Errorf("%d guesses at once: %d failures counted, want %d", wrong.Load(), a.Failures, want)
	}
	_, _, err = o.desk.Login(o.ctx, "ana", good)
	o.want("right password", err, fault.Unauthenticated, "wrong-login")
}

func TestFloodIsAnsweredRetry(t *testing.T) {
	o := newOffice(t)
	slow := argon2id.Params{Memory: 8 << 10, Iterations: 8, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	o.desk = o.open(people.Config{Hash: slow, FailureTime: time.Millisecond})
	var wg sync.WaitGroup
	var busy, answered atomic.Int32
	for range 60 {
		wg.Go(func() {
			_, _, err := o.desk.Login(o.ctx, "nobody", "not the password")
			switch {
			case fault.Is(err, fault.Retry) && fault.CodeOf(err) == "busy":
				busy.Add(1)
			case fault.Is(err, fault.Unauthenticated):
				answered.Add(1)
			default:
				t.Errorf("Login = %v", err)
			}
		})
	}
	wg.Wait()
	if busy.Load() == 0 || answered.Load() < 10 || busy.Load()+answered.Load() != 60 {
		t.Errorf("of 60 at once %d were told to retry and %d answered", busy.Load(), answered.Load())
	}
	o.login("root", good)
}

func TestUnknownNamesFillNoLog(t *testing.T) {
	o := newOffice(t)
	before := o.count()
	for range 30 {
		_, _, err := o.desk.Login(o.ctx, "nobody", "not the password")
		o.want("unknown name", err, fault.Unauthenticated, "wrong-login")
	}
	if got := o.count() - before; got != 1 {
		t.Errorf("30 attempts in one minute wrote %d events, want 1", got)
	}
	o.clock.pass(time.Minute)
	_, _, _ = o.desk.Login(o.ctx, "nobody", "not the password")
	want := people.Event{Kind: people.LoginFailed, Detail: "unknown names, 30 attempts", Alarm: true}
	if got := o.last(); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
}
