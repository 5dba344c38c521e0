package doctor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	peer = "peer"
	// PeerWithin is how long one peer may take.
	PeerWithin = 10 * time.Second
	// peersAtOnce is how many are probed at the same time.
	peersAtOnce = 8

	callThem = "if it is urgent telephone the other side's desk (enlace directory show); what waits for it is kept and sent by itself"
)

// CheckPeers sends each node a probe, eight at a time, each with a deadline of its own, and notes what their clocks say.
// PROTOCOL 7.6.
func CheckPeers(p Prober, nodes []directory.NodeEntry, each time.Duration, readings *Readings) Check {
	if each <= 0 {
		each = PeerWithin
	}
	rounds := time.Duration((len(nodes) + peersAtOnce - 1) / peersAtOnce)
	return Check{Component: peer, Within: max(rounds*each+lookWithin, lookWithin), Look: func(ctx context.Context, tell func(Finding)) {
		if len(nodes) == 0 {
			tell(Finding{peer, "", OK, "none", "there is no other node in good standing", "", nil})
		}
		places := make(chan struct{}, peersAtOnce)
		var all sync.WaitGroup
		for _, n := range nodes {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				tell(p.finding(ctx, n, each, readings))
			})
		}
		all.Wait()
	}}
}

func (p Prober) finding(ctx context.Context, to directory.NodeEntry, each time.Duration, readings *Readings) Finding {
	name := to.Node.String()
	if to.Status != directory.Active {
		return Finding{peer, name, Unknown, "barred", "it is suspended or revoked, and is not spoken to", "", nil}
	}
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	answer, err := within(ctx, func(ctx context.Context) (Answer, error) { return p.Probe(ctx, to) })
	if err != nil {
		return unanswered(name, err, each, readings)
	}
	m := answer.Measured
	ahead, uncertain := time.Duration(m.Ahead)*time.Millisecond, time.Duration(m.RoundTrip)*time.Millisecond
	reading := Reading{name, ahead, uncertain}
	readings.Add(reading)
	f := Finding{peer, name, OK, "answered", fmt.Sprintf("a test message was receipted in %d ms by the %s road; its clock is %s", m.RoundTrip, m.Road, aheadWords(ahead)), "", &m}
	switch {
	case answer.Older:
		f.Code, f.Found = "answered-older", f.Found+"; it is of an older version, which refuses test messages over a signed receipt"
	case beyond(reading) > clockLate:
		f.State, f.Code, f.Do = Warning, "clock-differs", "see what is found about this machine's clock; where that is right, tell the other state"
	}
	return f
}

func aheadWords(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%.1f s behind", -d.Seconds())
	}
	return fmt.Sprintf("%.1f s ahead", d.Seconds())
}

// unanswered says why a peer has not answered, and what to do about it.
func unanswered(name string, err error, each time.Duration, readings *Readings) Finding {
	f := Finding{Component: peer, About: name, State: Failing, Code: or(fault.CodeOf(err), "no-answer"), Found: "a test message was not answered: " + fault.As(err).Say}
	switch {
	case f.Code == codeClock || f.Code == "future":
		readings.Refused(name)
		f.Code, f.Do = "clock-refused", setClock
	case f.Code == "outbound-only":
		f.State, f.Code = Unknown, "no-road"
		f.Found = "it declares no address and has not dialled this node: a test message cannot go there now; messages go by the mailbox at the hub"
		f.Do = "see what waits for it (queue); it comes by itself when that node dials"
	case f.Code == "wrong-receipt" || f.Code == "bad-signature" || f.Code == "malformed":
		f.Found = "what came back proves nothing: " + fault.As(err).Say
		f.Do = "who answers at its address is not who the directory says, or has other keys: telephone its state before you send"
	case f.Code == "recovering":
		f.State, f.Do = Warning, "one of the two nodes was restored and is getting back what it lost; wait"
	case f.Code == "busy":
		f.State, f.Do = Warning, "it has had many test messages lately; wait a minute"
	case errors.Is(err, context.DeadlineExceeded) || fault.Is(err, fault.Retry):
		f.Code, f.Do = "no-answer", fmt.Sprintf("see whether its address can be reached from here (it had %s); ", each)+callThem
	default:
		f.Do = hintOr(err, "see the log of the node; "+callThem)
	}
	return f
}
