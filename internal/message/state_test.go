package message

import (
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

// TestMoves tries every state, kind and side; only these lead anywhere. domain.md 4.7.
func TestMoves(t *testing.T) {
	const table = `
		DRAFT            REQUEST     requesting QUEUED
		PENDING_APPROVAL REQUEST     requesting QUEUED
		QUEUED           ACKNOWLEDGE requested  ACKNOWLEDGED
		UNDELIVERABLE    ACKNOWLEDGE requested  ACKNOWLEDGED
		DELIVERED        ACKNOWLEDGE requested  ACKNOWLEDGED
		QUEUED           REPLY_FINAL requested  ANSWERED
		UNDELIVERABLE    REPLY_FINAL requested  ANSWERED
		DELIVERED        REPLY_FINAL requested  ANSWERED
		ACKNOWLEDGED     REPLY_FINAL requested  ANSWERED
		QUEUED           REFUSE      requested  REFUSED
		UNDELIVERABLE    REFUSE      requested  REFUSED
		DELIVERED        REFUSE      requested  REFUSED
		ACKNOWLEDGED     REFUSE      requested  REFUSED
		ANSWERED         CLOSE       requesting CLOSED
		REFUSED          CLOSE       requesting CLOSED
		UNDELIVERABLE    CLOSE       requesting CLOSED`
	want := map[string]string{}
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) == 4 {
			want[strings.Join(f[:3], " ")] = f[3]
		}
	}
	for _, from := range []State{"", Draft, PendingApproval, Queued, Delivered, Undeliverable, Acknowledged, Answered, Refused, Closed, "NO_STATE"} {
		for _, kind := range []Kind{"", KindRequest, KindAcknowledge, KindReply, KindRefuse, KindClose, "ALERT"} {
			for _, side := range []Side{Requesting, Requested, ""} {
				to, err := Next(from, kind, side)
				expected := want[strings.Join([]string{string(from), string(kind), string(side)}, " ")]
				if string(to) != expected {
					t.Errorf("%s, %s from the %s side: %q, want %q", from, kind, side, to, expected)
				}
				if (expected == "") != (err != nil) || (err != nil && fault.CodeOf(err) != "wrong-state") {
					t.Errorf("%s, %s from the %s side: %v", from, kind, side, err)
				}
			}
		}
	}
}

// No chain of moves leads back to where it began.
func TestMovesNeverGoBack(t *testing.T) {
	var walk func(at State, seen map[State]bool)
	walk = func(at State, seen map[State]bool) {
		if seen[at] {
			t.Fatalf("a request can come back to %s", at)
		}
		seen[at] = true
		for _, m := range moves() {
			for _, from := range m.from {
				if from == at {
					walk(m.to, seen)
				}
			}
		}
		delete(seen, at)
	}
	walk(Draft, map[State]bool{})
	if !Closed.Final() || Answered.Final() {
		t.Error("only a closed request is final")
	}
}

func TestMayFollow(t *testing.T) {
	for _, from := range []State{Draft, Queued, Delivered, Acknowledged, Answered, Refused, Closed} {
		for _, kind := range []Kind{KindRequest, KindAcknowledge, KindReply, KindRefuse, KindClose} {
			want := kind == KindClose && (from == Delivered || from == Acknowledged)
			if got := MayFollow(from, kind); got != want {
				t.Errorf("%s may follow in %s = %v, want %v", kind, from, got, want)
			}
		}
	}
}

// PROTOCOL 5.3: kinds of later versions are refused, not guessed at.
func TestKinds(t *testing.T) {
	for _, s := range []string{"REQUEST", "ACKNOWLEDGE", "REPLY_FINAL", "REFUSE", "CLOSE", "ALERT", "ALERT_UPDATE", "ALERT_CANCEL", "ALERT_FEEDBACK"} {
		if k, err := ParseKind(s); err != nil || string(k) != s {
			t.Errorf("%s = %v, %v", s, k, err)
		}
	}
	for _, s := range []string{
		"", "request", "REQUEST ", "REQUEST_AMEND", "CLARIFY_ASK", "CLARIFY_ANSWER", "INTERIM", "REPLY_PARTIAL", "TRANSFER", "WITHDRAW", "REMIND",
		"CONSENT_ASK", "CONSENT_DECISION", "CORRECTION", "RECALL", "RECALL_CONFIRM", "EXCULPATORY_NOTICE", "alert", "ALERT_RECALL",
	} {
		if k, err := ParseKind(s); fault.CodeOf(err) != "unknown-kind" {
			t.Errorf("%q = %v, %v; want unknown-kind", s, k, err)
		}
	}
}

// PROTOCOL 5.2: the words of a header.
func TestWords(t *testing.T) {
	for word, ok := range map[string]bool{"ROUTINE": true, "URGENT": true, "IMMEDIATE": true, "": false, "FLASH": false} {
		if _, err := ParseUrgency(word); (err == nil) != ok {
			t.Errorf("urgency %q: %v", word, err)
		}
	}
	for word, ok := range map[string]bool{"ACTUAL": true, "EXERCISE": true, "TEST": true, "SYSTEM": true, "": false, "DRAFT": false} {
		if _, err := ParseOperationalStatus(word); (err == nil) != ok {
			t.Errorf("status %q: %v", word, err)
		}
	}
	for word, ok := range map[string]bool{"two-person": true, "other-authority": true, "single": true, "": false, "none": false} {
		if _, err := ParseApproval(word); (err == nil) != ok {
			t.Errorf("approval %q: %v", word, err)
		}
	}
}

// domain.md 4.2: sooner is sooner everywhere.
func TestDeadlines(t *testing.T) {
	for _, test := range []struct {
		u                   Urgency
		acknowledge, answer time.Duration
	}{
		{Immediate, time.Hour, 8 * time.Hour},
		{Urgent, 8 * time.Hour, 72 * time.Hour},
		{Routine, 48 * time.Hour, 7 * 24 * time.Hour},
	} {
		if got := test.u.AcknowledgeWithin(); got != test.acknowledge {
			t.Errorf("%s is acknowledged within %v, want %v", test.u, got, test.acknowledge)
		}
		if got := test.u.AnswerWithin(); got != test.answer {
			t.Errorf("%s is answered within %v, want %v", test.u, got, test.answer)
		}
		if test.u.ExpiresWithin() <= test.answer || test.u.ExpiresWithin() > MaxLife {
			t.Errorf("%s expires within %v", test.u, test.u.ExpiresWithin())
		}
	}
	if !Routine.LowerThan(Urgent) || !Urgent.LowerThan(Immediate) || Immediate.LowerThan(Routine) || Urgent.LowerThan(Urgent) {
		t.Error("urgencies are not in their order")
	}
}
