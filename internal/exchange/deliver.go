package exchange

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	perNode     = 64               // deliveries under way to one node: a slow peer costs the others nothing
	scanLimit   = 512              // due deliveries read at once
	scanEvery   = 45 * time.Second // at the latest, whatever the ledger says is next; longer than one attempt
	coalesce    = 50 * time.Millisecond
	crowdedWait = scanEvery
	// restartHorizon takes up everything that waits, whenever it was to be looked at.
	restartHorizon = 24 * time.Hour
	firstRetry     = time.Second
	lastRetry      = 5 * time.Minute
	deliverLimit   = 30 * time.Second
	thinRate       = 4 << 10 // bytes per second: half of 64 kbit/s
)

// job is one delivery to carry out; the envelope is at hand right after submission, else it is read from the ledger.
type job struct {
	key  message.Key
	node authority.Node
	lane authority.Lane
	env  seal.Envelope
}

type jobName struct {
	key  message.Key
	node authority.Node
}

// deliveries is the courier loop's own state: what is under way. All of it can be lost: the ledger knows what is due.
type deliveries struct {
	e     *Exchange
	jobs  chan job
	wake  chan struct{}
	met   chan struct{} // a node was reached
	wg    sync.WaitGroup
	mu    sync.Mutex
	under map[jobName]bool             // guarded by mu
	count map[authority.Node]int       // guarded by mu
	heard map[authority.Node]time.Time // guarded by mu; last receipt or answer
	// queue holds jobs of nodes whose places are all taken, by lane; guarded by mu.
	queue map[authority.Node]*line
	// reached are nodes whose waiting deliveries are due; guarded by mu.
	reached map[authority.Node]bool
}

// line is what waits for a place, the urgent before the rest. The ledger knows it too, so it may be cut short.
type line struct{ immediate, urgent, routine []job }

const (
	longestLine = 4096
	// Jobs further back than this leave their envelope to the ledger: it may be a megabyte.
	heldEnvelopes = 64
)

// push puts a job in its lane's place; false when the line is too long.
func (l *line) push(j job) bool {
	n := len(l.immediate) + len(l.urgent) + len(l.routine)
	if n >= longestLine {
		return false
	}
	if n >= heldEnvelopes {
		j.env = seal.Envelope{}
	}
	switch j.lane.String() {
	case "immediate":
		l.immediate = append(l.immediate, j)
	case "urgent":
		l.urgent = append(l.urgent, j)
	default:
		l.routine = append(l.routine, j)
	}
	return true
}

// pop takes the next job.
func (l *line) pop() (job, bool) {
	for _, lane := range []*[]job{&l.immediate, &l.urgent, &l.routine} {
		if len(*lane) > 0 {
			j := (*lane)[0]
			*lane = (*lane)[1:]
			return j, true
		}
	}
	return job{}, false
}

func newDeliveries(e *Exchange) *deliveries {
	return &deliveries{
		e: e, jobs: make(chan job, 1024), wake: make(chan struct{}, 1), met: make(chan struct{}, 1), reached: map[authority.Node]bool{},
		under: map[jobName]bool{}, count: map[authority.Node]int{}, heard: map[authority.Node]time.Time{}, queue: map[authority.Node]*line{},
	}
}

// fresh hands over what was just committed. A full channel is no loss: the next scan finds it.
func (d *deliveries) fresh(env seal.Envelope, node authority.Node) {
	select {
	case d.jobs <- job{env.Header.Key(), node, env.Header.Urgency.Lane(), env}:
	default:
		d.poke()
	}
}

// again starts a delivery that another road has brought further. A full channel is no loss: the ledger reminds of it.
func (d *deliveries) again(j job) {
	select {
	case d.jobs <- j:
	default:
	}
}

func (d *deliveries) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Reachable makes what waits for a node due at once: a connection to it has just come up. It never waits, and may be called
// before Run.
func (e *Exchange) Reachable(node authority.Node) {
	d := e.deliveries
	d.mu.Lock()
	d.reached[node] = true
	d.mu.Unlock()
	select {
	case d.met <- struct{}{}:
	default:
	}
}

// catchUp starts what waits for the nodes that were reached. What is not started, because the line is full or the machine
// stops, the ledger still knows.
func (d *deliveries) catchUp(ctx context.Context) {
	d.mu.Lock()
	nodes := d.reached
	d.reached = map[authority.Node]bool{}
	d.mu.Unlock()
	for node := range nodes {
		var waiting []ledger.Delivery
		err := d.e.Ledger.View(ctx, func(r ledger.Reader) error {
			var err error
			waiting, err = r.DeliveriesTo(node, scanLimit)
			return err
		})
		if err != nil && ctx.Err() == nil {
			d.e.Log.Error("the outbox could not be read", zap.Error(err))
		}
		for _, row := range waiting {
			d.start(ctx, job{key: row.Key, node: row.Node, lane: row.Lane})
		}
	}
}

func (d *deliveries) run(ctx context.Context) error {
	defer d.e.mailroom.stop()
	defer d.wg.Wait()
	if !d.e.settled(ctx) {
		return nil
	}
	// The first scan takes up all that the last run left, also what it had just begun.
	timer := time.NewTimer(d.scan(ctx, restartHorizon))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.e.over:
			return nil
		case j := <-d.jobs:
			d.start(ctx, j)
		case <-d.met:
			d.catchUp(ctx)
		case <-d.wake:
			timer.Reset(coalesce)
		case <-timer.C:
			timer.Reset(d.scan(ctx, 0))
		}
	}
}

// scan starts what is due within the horizon and returns how long until something else is.
func (d *deliveries) scan(ctx context.Context, horizon time.Duration) time.Duration {
	now := d.e.Clock()
	var due []ledger.Delivery
	var next time.Time
	err := d.e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if due, err = r.Due(now.Add(horizon), scanLimit); err != nil {
			return err
		}
		next, err = r.NextDue()
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			d.e.Log.Error("the outbox could not be read", zap.Error(err))
		}
		return time.Second
	}
	var crowded []ledger.Delivery
	for _, row := range due {
		if !d.start(ctx, job{key: row.Key, node: row.Node, lane: row.Lane}) {
			crowded = append(crowded, row)
		}
	}
	// What is under way or lined up goes on from memory, and the ledger reminds of it only if that is lost. Left due, the
	// backlog of one node that stands still would fill every scan and hide what is due to the others.
	d.putOff(ctx, crowded)
	if next.IsZero() {
		return scanEvery
	}
	return min(max(next.Sub(now), time.Second), scanEvery)
}

// putOff makes room in the next scan for other nodes' messages when one node has more waiting than it has places.
func (d *deliveries) putOff(ctx context.Context, rows []ledger.Delivery) {
	if len(rows) == 0 {
		return
	}
	err := d.e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		for _, row := range rows {
			now, err := tx.Delivery(row.Key, row.Node)
			if err != nil {
				return err
			}
			if now.Next.IsZero() {
				continue
			}
			now.Next = d.e.Clock().Add(crowdedWait)
			if err := tx.PutDelivery(now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		d.e.Log.Error("waiting deliveries could not be put off", zap.Error(err))
	}
}

// start carries a job out, or lines it up when the node's places are all taken; false when it did neither, because the
// job is under way or lined up already, or the line is full.
func (d *deliveries) start(ctx context.Context, j job) bool {
	name := jobName{j.key, j.node}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.under[name] {
		return false
	}
	d.under[name] = true
	if d.count[j.node] >= perNode {
		if d.queue[j.node] == nil {
			d.queue[j.node] = &line{}
		}
		lined := d.queue[j.node].push(j)
		if !lined {
			delete(d.under, name)
		}
		return lined
	}
	d.launch(ctx, j)
	return true
}

// launch must be called with mu held, and the job marked as under way.
func (d *deliveries) launch(ctx context.Context, j job) {
	d.count[j.node]++
	d.wg.Go(func() {
		defer d.done(ctx, jobName{j.key, j.node})
		d.carry(ctx, j)
	})
}

// done gives the place to the next in line.
func (d *deliveries) done(ctx context.Context, name jobName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.under, name)
	d.count[name.node]--
	if waiting := d.queue[name.node]; waiting != nil && ctx.Err() == nil {
		if j, ok := waiting.pop(); ok {
			d.launch(ctx, j)
			return
		}
		delete(d.queue, name.node)
	}
	if d.count[name.node] == 0 {
		delete(d.count, name.node)
	}
}

// carry does one delivery from where it stands: envelope, then attachments. Whatever fails is tried again later.
func (d *deliveries) carry(ctx context.Context, j job) {
	if d.e.ended() {
		return
	}
	row, env, err := d.load(ctx, j)
	switch {
	case err != nil:
	case row.State != ledger.Queued && row.State != ledger.Delivered:
		return // another attempt was quicker
	case row.State == ledger.Queued && d.e.Clock().After(env.Header.Expires.Add(message.UndeliverableAfter)):
		err = d.giveUp(ctx, row, env)
	default:
		err = d.attempt(ctx, row, env)
	}
	if err != nil && ctx.Err() == nil {
		d.later(ctx, j, err)
	}
}

func (d *deliveries) load(ctx context.Context, j job) (ledger.Delivery, seal.Envelope, error) {
	if len(j.env.Bytes) > 0 {
		return ledger.Delivery{Key: j.key, Node: j.node, State: ledger.Queued, Expires: j.env.Header.Expires, Lane: j.env.Header.Urgency.Lane()}, j.env, nil
	}
	var row ledger.Delivery
	var m ledger.Message
	err := d.e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if row, err = r.Delivery(j.key, j.node); err != nil {
			return err
		}
		m, err = r.Message(j.key)
		return err
	})
	if err != nil {
		return ledger.Delivery{}, seal.Envelope{}, err
	}
	env, err := seal.Stored(m.Envelope)
	return row, env, err
}

// attempt asks the directory of now, not of then, where the node is and whether it may still receive (P7).
func (d *deliveries) attempt(ctx context.Context, row ledger.Delivery, env seal.Envelope) error {
	view := d.e.Directory.Load().At(d.e.Clock())
	if to, moved := d.e.moved(view, row, env.Header); moved {
		return d.reroute(ctx, row, to)
	}
	if err := d.e.mayGet(view, row.Node, env.Header); err != nil {
		return err
	}
	node, _ := view.Node(row.Node)
	if row.State == ledger.Queued {
		dctx, cancel := context.WithTimeout(ctx, deliverWithin(len(env.Bytes)))
		signed, err := d.e.Courier.Deliver(dctx, node, env.Bytes)
		cancel()
		if err != nil {
			return d.orMail(ctx, row, env, err)
		}
		if row, err = d.receipted(ctx, row, env, signed, d.e.tookRoad(node.Node)); err != nil {
			return err
		}
	}
	if row.State != ledger.Delivered {
		return nil
	}
	signed, err := d.pushAll(ctx, node, env)
	if err != nil {
		return d.orRelay(ctx, row, node, env, err)
	}
	_, err = d.receipted(ctx, row, env, signed, d.e.tookRoad(node.Node))
	return err
}

// roadTo is the road to a node that is open now; empty where none is, or the courier does not know.
func (e *Exchange) roadTo(node authority.Node) ledger.Road {
	if c, ok := e.Courier.(roads); ok {
		return ledger.Road(c.Road(node))
	}
	return ""
}

// tookRoad is the road that a call which has just ended took.
func (e *Exchange) tookRoad(node authority.Node) ledger.Road {
	if r := e.roadTo(node); r != "" {
		return r
	}
	return ledger.Direct
}

// deliverWithin gives an envelope the time that its bytes take over a thin line that others use too.
func deliverWithin(size int) time.Duration {
	return deliverLimit + time.Duration(size)*time.Second/thinRate
}

// moved reports whether another node than the message was queued for serves its addressee now. What has been receipted
// stays where it is.
func (e *Exchange) moved(view directory.View, row ledger.Delivery, h message.Header) (authority.Node, bool) {
	to := h.RecipientsBut(h.Sender)
	if row.State != ledger.Queued || len(to) != 1 {
		return authority.Node{}, false
	}
	serving, ok := view.NodeOf(to[0])
	return serving.Node, ok && serving.Node != row.Node
}

// reroute queues a message for the node that serves its addressee now. The old row stays, so that its history shows.
func (d *deliveries) reroute(ctx context.Context, row ledger.Delivery, to authority.Node) error {
	err := d.e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		old, err := tx.Delivery(row.Key, row.Node)
		if err != nil || old.State != ledger.Queued {
			return err // its receipt came by mail meanwhile
		}
		old.State, old.Next, old.LastError = ledger.Undeliverable, time.Time{}, "the authority moved to "+to.String()
		if err := tx.PutDelivery(old); err != nil {
			return err
		}
		row.Node, row.Attempts, row.LastError, row.Next, row.Road = to, 0, "", d.e.Clock(), ""
		if err := tx.PutDelivery(row); err != nil {
			return err
		}
		return second(tx.Append(d.e.event("rerouted", nodeActor, row.Key, message.Digest{}, to.String())))
	})
	if err == nil {
		d.poke()
	}
	return err
}

// mayGet asks the directory of now whether a node may still be handed a message: the node itself, an authority that it
// is for and that this node serves, and the keys it was sealed to for them. P7.
func (e *Exchange) mayGet(view directory.View, node authority.Node, h message.Header) error {
	const op = "deliver message"
	if err := view.CheckNode(node); err != nil {
		return err
	}
	refusal, may := error(fault.New(fault.Denied, "moved", op, "the authority is served by another node since the message was sent")), false
	for _, r := range h.Recipients {
		if r.Authority == h.Sender {
			continue
		}
		if err := view.CheckAuthority(r.Authority); err != nil {
			refusal = err
			continue
		}
		if serving, ok := view.NodeOf(r.Authority); !ok || serving.Node != node {
			continue
		}
		if key, ok := view.Holder(r.Key); !ok || key.Status == directory.KeyRevoked {
			return fault.New(fault.Denied, "revoked", op, "the key that the message was sealed to was revoked since")
		}
		may = true
	}
	if !may {
		return refusal
	}
	return nil
}

// receipted verifies a receipt and commits what it proves: delivery, case and event in one transaction.
// What another road has brought already changes nothing.
func (d *deliveries) receipted(ctx context.Context, row ledger.Delivery, env seal.Envelope, signed []byte, road ledger.Road) (ledger.Delivery, error) {
	e := d.e
	view := e.Directory.Load().At(e.Clock())
	r, err := seal.VerifyReceipt(signed, env.Header, view.NodeKey)
	if err != nil {
		return row, err
	}
	if err := e.ofLife(ctx, r); err != nil {
		return row, err
	}
	stage, err := e.stageOf(r, row, env.Header)
	if err != nil {
		return row, err
	}
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		if row, err = tx.Delivery(row.Key, row.Node); err != nil {
			return err
		}
		if stage.Stage == message.Rejected && len(row.Receipt) > 0 {
			return fault.New(fault.Invalid, "wrong-receipt", "verify receipt", "the peer rejects what it has receipted before")
		}
		if row.State == ledger.Undeliverable && !r.Time.Before(env.Header.Expires) {
			return fault.New(fault.Invalid, "too-late", "verify receipt", "the message is undeliverable, and the receipt was not signed before it expired")
		}
		if overtaken(row, stage) {
			return nil
		}
		row = withReceipt(row, stage, signed, e.Clock().Add(scanEvery))
		row.Road = road
		if err := tx.PutDelivery(row); err != nil {
			return err
		}
		if err := e.moveByReceipt(tx, env.Header, stage); err != nil {
			return err
		}
		return second(tx.Append(e.event("receipted", nodeActor, row.Key, message.DigestOf(signed), string(stage.Stage)+" "+stage.Code)))
	})
	if err != nil {
		return row, err
	}
	// If the machine stops before the commit, the peer replays the same receipt at the next attempt.
	e.mailroom.forget(jobName{row.Key, row.Node})
	d.contact(row.Node)
	e.tell()
	return row, nil
}

// overtaken reports whether a receipt says no more than what is known: roads overtake each other, and repeat.
func overtaken(row ledger.Delivery, stage message.StageOf) bool {
	switch row.State {
	case ledger.Complete, ledger.Rejected:
		return true
	case ledger.Delivered:
		return stage.Stage == message.Received
	}
	return false
}

// stageOf is what a verified receipt says of our message as a whole: the least of its stages. It must come from the node
// the message went to, now, and speak for all addressed authorities that it serves and no other. PROTOCOL 8.1.
func (e *Exchange) stageOf(r message.Receipt, row ledger.Delivery, h message.Header) (message.StageOf, error) {
	refuse := func(say string) (message.StageOf, error) {
		return message.StageOf{}, fault.New(fault.Invalid, "wrong-receipt", "verify receipt", say)
	}
	if r.Node != row.Node {
		return refuse("the receipt comes from another node than the message went to")
	}
	if r.Time.After(e.Clock().Add(message.MaxAhead)) {
		return refuse("the receipt is dated more than 5 minutes in the future")
	}
	addressed := e.addressedAt(r.Node, h)
	if first := firstOther(h)[0].Authority; len(r.Stages) == 1 && r.Stages[0] == (message.StageOf{Authority: first, Stage: message.Rejected, Code: wrongAddressee}) {
		return r.Stages[0], nil // the node serves none of them, whomever it names
	}
	if len(r.Stages) != len(addressed) {
		return refuse("the receipt does not cover exactly the authorities that were addressed")
	}
	rank := []message.Stage{message.Rejected, message.Received, message.Complete}
	least := r.Stages[0]
	for _, s := range r.Stages {
		i := slices.Index(addressed, s.Authority)
		if i < 0 {
			return refuse("the receipt speaks for an authority that was not addressed")
		}
		addressed = slices.Delete(addressed, i, i+1)
		if slices.Index(rank, s.Stage) < slices.Index(rank, least.Stage) {
			least = s
		}
	}
	return least, nil
}

// addressedAt are the authorities that a node's receipt speaks for: those of the message that it serves now and that may
// receive. A message to one authority is for that one, whatever became of it since.
func (e *Exchange) addressedAt(node authority.Node, h message.Header) []authority.Name {
	addressed := h.RecipientsBut(h.Sender)
	if len(addressed) == 1 {
		return addressed
	}
	view := e.Directory.Load().At(e.Clock())
	return slices.DeleteFunc(addressed, func(name authority.Name) bool {
		serving, ok := view.NodeOf(name)
		return !ok || serving.Node != node || view.CheckAuthority(name) != nil
	})
}

func withReceipt(row ledger.Delivery, stage message.StageOf, signed []byte, next time.Time) ledger.Delivery {
	row.LastError = ""
	switch stage.Stage {
	case message.Rejected:
		row.State, row.Receipt, row.LastError, row.Next = ledger.Rejected, signed, stage.Code, time.Time{}
	case message.Complete:
		row.State, row.CompleteReceipt, row.Next = ledger.Complete, signed, time.Time{}
	default:
		// The attachments follow in this attempt; next is when the ledger reminds of them if it ends.
		row.State, row.Receipt, row.Next = ledger.Delivered, signed, next
	}
	return row
}

// moveByReceipt moves the case of a request; receipts of other messages move nothing.
func (e *Exchange) moveByReceipt(tx ledger.Tx, h message.Header, stage message.StageOf) error {
	if h.Kind != message.KindRequest {
		return nil
	}
	c, err := tx.Case(h.Conversation, h.Sender)
	if err != nil || (c.State != message.Queued && c.State != message.Undeliverable) {
		return err
	}
	c.State, c.Changed = message.Delivered, e.Clock()
	if stage.Stage == message.Rejected {
		c.State = message.Undeliverable
	}
	return second(tx.PutCase(c))
}

// giveUp declares a message undeliverable. A valid receipt timed before the expiry still supersedes it. DESIGN 7.
func (d *deliveries) giveUp(ctx context.Context, row ledger.Delivery, env seal.Envelope) error {
	e := d.e
	err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		var err error
		if row, err = tx.Delivery(row.Key, row.Node); err != nil || row.State != ledger.Queued {
			return err // its receipt came by mail meanwhile
		}
		row.State, row.Next = ledger.Undeliverable, time.Time{}
		if err := tx.PutDelivery(row); err != nil {
			return err
		}
		if env.Header.Kind == message.KindRequest {
			c, err := tx.Case(env.Header.Conversation, env.Header.Sender)
			if err != nil {
				return err
			}
			if c.State == message.Queued {
				c.State, c.Changed = message.Undeliverable, e.Clock()
				if _, err := tx.PutCase(c); err != nil {
					return err
				}
			}
		}
		return second(tx.Append(e.event("undeliverable", nodeActor, row.Key, env.Header.Digest, row.LastError)))
	})
	if err == nil {
		e.mailroom.forget(jobName{row.Key, row.Node})
		e.tell()
	}
	return err
}

// later writes down when to try again: doubling from a second to five minutes, with jitter so that peers that came back
// are not stormed.
func (d *deliveries) later(ctx context.Context, j job, cause error) {
	f := fault.As(cause)
	err := d.e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err := tx.Delivery(j.key, j.node)
		if err != nil || (row.State != ledger.Queued && row.State != ledger.Delivered) {
			return err // ended by a receipt that came by mail meanwhile
		}
		row.Attempts++
		wait := min(firstRetry<<min(row.Attempts-1, 12), lastRetry)
		row.Next = d.e.Clock().Add(wait/2 + rand.N(wait))
		row.LastError, row.Road = f.Say, d.e.tookRoad(j.node)
		if f.Code == codeInMailbox {
			row.Road = ledger.Mailbox
		}
		return tx.PutDelivery(row)
	})
	if err != nil {
		d.e.Log.Error("a failed delivery could not be put off", zap.Error(err))
	}
	d.e.Log.Info("delivery put off", zap.Stringer("node", j.node), zap.Stringer("message", j.key.ID), zap.String("code", f.Code), zap.Error(cause))
	d.poke()
}

func (d *deliveries) contact(n authority.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard[n] = d.e.Clock()
}

// pushAll sends every attachment from where the peer has it, and returns the COMPLETE receipt.
func (d *deliveries) pushAll(ctx context.Context, node directory.NodeEntry, env seal.Envelope) ([]byte, error) {
	rows, err := d.e.attachmentsOf(ctx, ledger.OwnedBy(env.Header.Key()))
	if err != nil {
		return nil, err
	}
	var last message.Stored
	for _, row := range rows {
		if last, err = d.push(ctx, node, row); err != nil {
			return nil, err
		}
		if !last.Complete {
			return nil, fault.New(fault.Retry, "cut", "send attachment", "the transfer ended before the attachment was whole")
		}
	}
	if len(last.Receipt) == 0 {
		return nil, fault.New(fault.Retry, "no-receipt", "send attachment", "the peer has not confirmed all attachments yet")
	}
	return last.Receipt, nil
}

func (d *deliveries) push(ctx context.Context, node directory.NodeEntry, row ledger.Attachment) (message.Stored, error) {
	ref := message.AttachmentRef{Message: row.Owner.Message, Index: row.Index}
	there, err := d.e.Courier.AttachmentStatus(ctx, node, ref)
	if err != nil || there.Complete {
		return there, err
	}
	at := there.Bytes
	f, err := d.e.openSpool(row.File, os.O_RDONLY)
	if err != nil {
		return message.Stored{}, err
	}
	defer f.Close()
	if at > row.SealedSize {
		return message.Stored{}, fault.New(fault.Invalid, "wrong-offset", "send attachment", "the peer claims more bytes than there are")
	}
	if _, err := f.Seek(int64(at), io.SeekStart); err != nil {
		return message.Stored{}, spoolFault(err)
	}
	idle, cancel := context.WithCancel(ctx)
	defer cancel()
	src := &paced{f, time.AfterFunc(standstill, cancel)}
	defer src.timer.Stop()
	return d.e.Courier.PushAttachment(idle, node, ref, at, src)
}

// standstill ends a transfer that does not move: a peer that takes nothing must not hold its place for ever.
const standstill = 2 * time.Minute

// paced cancels when nobody has read from it for a while.
type paced struct {
	src   io.Reader
	timer *time.Timer
}

func (p *paced) Read(b []byte) (int, error) {
	p.timer.Reset(standstill)
	return p.src.Read(b)
}

// Status is what an administrator sees of the exchange.
type Status struct {
	Peers  []PeerStatus
	Events uint64
	Root   message.Digest
}

// PeerStatus is one peer with messages of ours or heard of.
type PeerStatus struct {
	Node        authority.Node
	LastContact time.Time
	Queued      int
	LastError   string
}

// Status reads queues and the evidence head.
func (e *Exchange) Status(ctx context.Context) (Status, error) {
	var s Status
	nodes := e.Directory.Load().At(e.Clock()).Nodes()
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		for _, n := range nodes {
			rows, err := r.DeliveriesTo(n.Node, ledger.MaxPage)
			if err != nil {
				return err
			}
			if p := (PeerStatus{Node: n.Node, LastContact: e.deliveries.last(n.Node), Queued: len(rows)}); len(rows) > 0 || !p.LastContact.IsZero() {
				if len(rows) > 0 {
					p.LastError = rows[0].LastError
				}
				s.Peers = append(s.Peers, p)
			}
		}
		var err error
		s.Events, err = r.EventCount()
		if err != nil {
			return err
		}
		newest, err := r.NewestCheckpoint()
		if err == nil {
			s.Root = message.Digest(newest.Root)
		} else if !fault.Is(err, fault.NotFound) {
			return err
		}
		return nil
	})
	return s, err
}

func (d *deliveries) last(n authority.Node) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.heard[n]
}
