package broadcast_test

import (
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/message"
)

// An alert reaches every node of its audience, once, and the publisher holds each one's receipt. PROTOCOL 7.3, 7.5, 8.5,
// 10.6, 10.7.
func TestEveryMemberReceives(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br", "ht")
	mx := all[0]
	var alerts []message.ID
	for n := range 5 {
		a := mx.publish(message.Routine, text(n))
		alerts = append(alerts, a.Header.ID)
		w.eventually("every member's receipt", func() bool { return mx.all(a, broadcast.Received, "jm", "br", "ht") })
	}
	for _, s := range all[1:] {
		for _, id := range alerts {
			if n := w.told(s.desk, id); n != 1 {
				t.Errorf("%s was told of an alert %d times", s.node, n)
			}
		}
	}
}

// What a node does not want it passes over, and says so. What it wants again later comes. PROTOCOL 8.5.
func TestPassedOver(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm, br := all[0], all[1], all[2]
	jm.desk.set(func(s message.Subject) bool { return s.Lane() == message.Immediate.Lane() }, "")
	a := mx.publish(message.Routine, "not urgent")
	w.eventually("receipts", func() bool {
		got := mx.states(a)
		return got["jm"] == broadcast.PassedOver && got["br"] == broadcast.Received
	})
	if jm.has(a) || !br.has(a) {
		t.Error("who passed over has it, or who wanted it has not")
	}
	b := mx.publish(message.Immediate, "urgent")
	w.eventually("receipts", func() bool { return mx.all(b, broadcast.Received, "jm", "br") })
}

// A refusal is final, and has its code.
func TestRefused(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	jm.desk.set(nil, "wrong-item")
	a := mx.publish(message.Routine, "malformed in some way")
	w.eventually("the refusal", func() bool { return mx.all(a, broadcast.Refused, "jm") })
	if jm.has(a) {
		t.Error("a refused alert is in the inbox")
	}
	jm.desk.set(nil, "")
	b := mx.publish(message.Routine, "well formed")
	w.eventually("the receipt", func() bool { return mx.all(b, broadcast.Received, "jm") })
}

// A node that was away for long gets all there is when it is back, and so do those of a publisher that stopped in between.
func TestAwayAndBack(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	first := mx.publish(message.Routine, "first")
	w.eventually("the receipt", func() bool { return mx.all(first, broadcast.Received, "jm") })
	jm.stop()
	for n := range 300 {
		mx.publish(message.Routine, text(n))
	}
	last := mx.publish(message.Routine, "last")
	mx.restart()
	jm.restart()
	w.eventually("the receipt of the last", func() bool { mx.Heard(jm.node); return mx.all(last, broadcast.Received, "jm") })
}

// Who joins gets what is in force; who left cannot open what comes next, and is told nothing more. PROTOCOL 7.3, P7.
func TestJoinAndLeave(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm, br := all[0], all[1], all[2]
	a := mx.publish(message.Routine, "before")
	w.eventually("receipts", func() bool { return mx.all(a, broadcast.Received, "jm", "br") })
	ht := w.join("ht", []string{"alerts-in"})
	ht.start()
	w.eventually("the newcomer has what is in force", func() bool { return ht.has(a) && mx.states(a)["ht"] == broadcast.Received })
	if n := w.told(jm.desk, a.Header.ID); n != 1 {
		t.Errorf("what was issued again for others came %d times to who had it", n)
	}
	w.suspend(br)
	b := mx.publish(message.Routine, "after")
	w.eventually("receipts", func() bool { return mx.all(b, broadcast.Received, "jm", "ht") })
	if br.has(b) {
		t.Error("a suspended state received an alert")
	}
	time.Sleep(300 * time.Millisecond)
	if br.has(b) {
		t.Error("a suspended state received an alert")
	}
}
