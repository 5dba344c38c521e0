package exchange

import (
	"context"
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

// Mailbox carries mail to a node that cannot be reached: the hub keeps it until the node takes it. It is a conveyor: what
// it took may be lost, and what it says is a hint. DESIGN 8; PROTOCOL 10.11.
type Mailbox interface {
	// Open reports whether mail can come and go now.
	Open() bool
	// Standing says how the box for a node stands, and makes it where there is none; bulk is that of slices. Retry where the
	// hub does not say.
	Standing(ctx context.Context, to authority.Node, bulk bool) (MailboxStanding, error)
	// Post puts one mail into a box that Standing has asked for. On return it is on its way, and a box that is full drops it
	// without a word.
	Post(ctx context.Context, to authority.Node, bulk bool, mail []byte) error
}

// MailboxStanding is how a box stood when the hub looked.
type MailboxStanding struct {
	// Made differs when the box was lost with all that was in it, and made anew.
	Made int64
	// Messages and Bytes are in it, of at most MaxMessages and MaxBytes.
	Messages, Bytes, MaxMessages, MaxBytes uint64
}

// takes reports whether a mail of that size fits. The server counts some bytes of its own.
func (s MailboxStanding) takes(size int) bool {
	return s.Messages < s.MaxMessages && s.Bytes+uint64(size)+mailOverhead <= s.MaxBytes
}

const (
	opMail = "take mail"
	// codeInMailbox is why a delivery waits whose mail was posted.
	codeInMailbox = "in-mailbox"
	mailOverhead  = 512
	// repost is how long a mail is left alone; what its box is known to have lost is posted again at once.
	repost = 15 * time.Minute
	// standingFor is how long the hub's word on a box is believed; fullFor, that it is full.
	standingFor = 10 * time.Second
	fullFor     = time.Second
)

// mailroom is what this node knows of its mail. All of it can be lost: what is not receipted is posted again, and a repeat
// gets the same receipt.
type mailroom struct {
	e  *Exchange
	wg sync.WaitGroup // of feeds

	mu     sync.Mutex
	posted map[jobName]posting                 // guarded by mu
	gates  map[boxName]*sync.Mutex             // guarded by mu; one for each node of the directory that was written to
	boxes  map[boxName]boxNote                 // guarded by mu
	relays map[message.AttachmentRef]*relay    // guarded by mu; transfers that we send
	feeds  map[message.AttachmentRef]*feed     // guarded by mu; transfers that we receive
	gaps   map[message.AttachmentRef]time.Time // guarded by mu; when a missing slice was told of
	shut   bool                                // guarded by mu
}

// posting is when a message was put into which box.
type posting struct {
	at   time.Time
	made int64
}

type boxName struct {
	node authority.Node
	bulk bool
}

type boxNote struct {
	MailboxStanding
	err error
	at  time.Time
}

func newMailroom(e *Exchange) *mailroom {
	return &mailroom{e: e, posted: map[jobName]posting{}, boxes: map[boxName]boxNote{}, gates: map[boxName]*sync.Mutex{},
		relays: map[message.AttachmentRef]*relay{}, feeds: map[message.AttachmentRef]*feed{}, gaps: map[message.AttachmentRef]time.Time{}}
}

// open reports whether there is a road by the hub now.
func (m *mailroom) open() bool { return m.e.Mail != nil && m.e.Mail.Open() }

// unreachable reports whether a node was not reached at all: what it says itself comes by no other road better.
func unreachable(err error) bool {
	return fault.Is(err, fault.Retry) && slices.Contains([]string{"unreachable", "deadline", "outbound-only"}, fault.CodeOf(err))
}

// mailTurn reports whether a failed attempt is to be followed by mail: at once where the node has no address and lends no
// connection, or where the message is immediate; else after the second.
func mailTurn(row ledger.Delivery, cause error) bool {
	return row.Attempts > 0 || fault.CodeOf(cause) == "outbound-only" || row.Lane == message.Immediate.Lane()
}

// orMail puts a message that was not delivered into the node's mailbox too, where that is its turn, and says what stands
// now. The other roads are tried on: whichever receipt comes first counts.
func (d *deliveries) orMail(ctx context.Context, row ledger.Delivery, env seal.Envelope, cause error) error {
	m := d.e.mailroom
	if !unreachable(cause) || !mailTurn(row, cause) || !m.open() {
		return cause
	}
	err := m.postOnce(ctx, jobName{row.Key, row.Node}, env)
	switch {
	case fault.CodeOf(err) == "mailbox-full":
		return fault.Wrap(err, fault.Retry, "mailbox-full", "deliver message", "the node cannot be reached, and its mailbox at the hub is full")
	case err != nil:
		d.e.Log.Info("a message was not put into the mailbox", zap.Stringer("node", row.Node), zap.String("code", fault.CodeOf(err)), zap.Error(err))
		return cause
	}
	return fault.Wrap(cause, fault.Retry, codeInMailbox, "deliver message", "the node cannot be reached; the message waits for it in its mailbox at the hub")
}

// postOnce posts a message unless it was posted lately into a box that still is the same.
func (m *mailroom) postOnce(ctx context.Context, name jobName, env seal.Envelope) error {
	s, err := m.standing(ctx, boxName{name.node, false})
	if err != nil {
		return err
	}
	m.mu.Lock()
	last, posted := m.posted[name]
	m.mu.Unlock()
	if posted && last.made == s.Made && m.e.Clock().Sub(last.at) < repost {
		return nil
	}
	if err := m.post(ctx, name.node, seal.MailEnvelope, env.Bytes); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.posted[name] = posting{m.e.Clock(), s.Made}
	return nil
}

// forget ends the memory of a message that was receipted or given up.
func (m *mailroom) forget(name jobName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.posted, name)
}

// post seals one mail to a node and puts it into its box. Retry "mailbox-full", and those of the road.
func (m *mailroom) post(ctx context.Context, to authority.Node, kind seal.ControlKind, body []byte) error {
	name := boxName{to, kind == seal.MailSlice}
	s, err := m.standing(ctx, name)
	if err != nil {
		return err
	}
	if !s.takes(len(body)) { // before the work of sealing
		return mailboxFull()
	}
	mail, err := m.seal(ctx, to, kind, body)
	if err != nil {
		return err
	}
	if !s.takes(len(mail)) {
		return mailboxFull()
	}
	if err := m.e.Mail.Post(ctx, to, name.bulk, mail); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	note := m.boxes[name]
	note.Messages, note.Bytes = note.Messages+1, note.Bytes+uint64(len(mail))+mailOverhead
	m.boxes[name] = note
	return nil
}

func mailboxFull() error {
	return fault.New(fault.Retry, "mailbox-full", "post mail", "the mailbox at the hub is full")
}

// standing asks how a box stands, as seldom as a lively sender can do with: one asks for all that wait for the answer, and
// one that gets none waits for all. What was posted since is counted.
func (m *mailroom) standing(ctx context.Context, name boxName) (MailboxStanding, error) {
	gate := m.gate(name)
	gate.Lock()
	defer gate.Unlock()
	m.mu.Lock()
	note := m.boxes[name]
	m.mu.Unlock()
	age := m.e.Clock().Sub(note.at)
	if age >= 0 && age < standingFor && (note.err != nil || age < fullFor || note.takes(message.MaxMail)) {
		return note.MailboxStanding, note.err
	}
	s, err := m.e.Mail.Standing(ctx, name.node, name.bulk)
	if ctx.Err() != nil {
		return s, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boxes[name] = boxNote{s, err, m.e.Clock()}
	return s, err
}

// gate is held while a box is asked about.
func (m *mailroom) gate(name boxName) *sync.Mutex {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.gates[name]
	if g == nil {
		g = &sync.Mutex{}
		m.gates[name] = g
	}
	return g
}

// seal makes one mail: a control envelope signed by this node and sealed to the other. PROTOCOL 10.11.
func (m *mailroom) seal(ctx context.Context, to authority.Node, kind seal.ControlKind, body []byte) ([]byte, error) {
	e := m.e
	now := e.Clock()
	snapshot := e.Directory.Load()
	key, ok := snapshot.At(now).Newest(directory.OfNode(to), directory.PurposeSeal)
	if !ok {
		return nil, fault.New(fault.Retry, "no-sealing-key", "post mail", "the directory has no valid sealing key for "+to.String())
	}
	id, err := message.NewID(now, e.Random)
	if err != nil {
		return nil, err
	}
	mail, err := seal.NewMail(ctx, seal.ControlDraft{
		Network: snapshot.NetworkID(), ID: id, From: e.Node, To: to, Incarnation: e.Incarnation, Kind: kind,
		Created: now, Expires: now.Add(message.MaxMailLife), Key: key.Public, NodeKey: e.NodeKey(), Body: body,
	}, e.Keys, &e.recipients)
	return mail.Bytes, err
}

// TakeMail takes one piece of mail that came out of this node's box for a state. On return without an error its effect is
// on stable storage, or it has none, and it may leave the box. Retry: it may be taken later. Any other error: it never
// will, and nothing was stored. PROTOCOL 10.11.
func (e *Exchange) TakeMail(ctx context.Context, from authority.State, raw []byte) error {
	if err := e.Ready(); err != nil {
		// For a node that is over too: its mail is that of the one that took its place.
		return fault.Wrap(err, fault.Retry, fault.CodeOf(err), opMail, "this node takes no mail now")
	}
	c, err := e.verifyMail(from, raw)
	if err != nil {
		return err
	}
	if err := e.checkLife(ctx, c); err != nil {
		return err
	}
	body, err := c.Open(ctx, e.Keys)
	if err != nil {
		return err
	}
	switch c.Kind {
	case seal.MailEnvelope:
		return e.takeEnvelope(ctx, c.From, body)
	case seal.MailReceipt:
		return e.takeReceipt(ctx, c.From, body)
	case seal.MailSlice:
		s, err := seal.ParseSlice(body)
		if err != nil {
			return err
		}
		return e.mailroom.takeSlice(ctx, c.From, s)
	default: // Open knows no other
		s, err := seal.ParseSliceStatus(body)
		if err == nil {
			e.mailroom.heard(c.From, s)
		}
		return err
	}
}

// verifyMail does for mail what TLS and the door do for a call: who signed it, for whom, and whether they may. PROTOCOL 10.11.
func (e *Exchange) verifyMail(from authority.State, raw []byte) (seal.Control, error) {
	view := e.Directory.Load().At(e.Clock())
	parsed, err := seal.ParseMail(raw)
	if err != nil {
		return seal.Control{}, err
	}
	c, err := parsed.Verify(view.NodeKey)
	if err != nil {
		return seal.Control{}, err
	}
	switch {
	case c.Network != e.Directory.Load().NetworkID():
		err = fault.New(fault.Invalid, "wrong-network", opMail, "the mail belongs to another network")
	case c.To != e.Node:
		err = fault.New(fault.Invalid, "wrong-node", opMail, "the mail is for another node")
	case c.From.State() != from:
		err = fault.New(fault.Denied, "wrong-node", opMail, "the mail was signed by a node of another state than the one whose box it was in")
	case c.Expires.Sub(c.Created) > message.MaxMailLife || !c.Expires.After(e.Clock()):
		err = fault.New(fault.Invalid, "expires", opMail, "the mail has expired, or would last longer than mail does")
	case c.Created.After(e.Clock().Add(message.MaxAhead)):
		err = fault.New(fault.Retry, "future", opMail, "the mail is dated more than 5 minutes in the future")
	default:
		err = view.CheckNode(c.From)
	}
	return c, err
}

// checkLife refuses mail of an incarnation that is known to be over, or to have a rival. What is newer than is known proves
// itself by a hello, not by mail. PROTOCOL 9.7.
func (e *Exchange) checkLife(ctx context.Context, c seal.Control) error {
	var known ledger.Life
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		known, err = r.Life(c.From)
		return err
	})
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case c.Incarnation.Counter < known.Incarnation.Counter:
		return oldIncarnation(c.From)
	case c.Incarnation.Counter == known.Incarnation.Counter && (c.Incarnation != known.Incarnation || len(known.Rival) > 0):
		return twoIncarnations(c.From)
	}
	return nil
}

// takeEnvelope receives a message as from a call and posts the receipt. If that fails, or the machine stops before, the
// mail comes again and gets the same receipt.
func (e *Exchange) takeEnvelope(ctx context.Context, from authority.Node, envelope []byte) error {
	receipt, err := e.Receive(ctx, from, envelope)
	if err != nil {
		return err
	}
	return e.mailroom.post(ctx, from, seal.MailReceipt, receipt)
}

// takeReceipt does with a receipt what the answer of a call would have done.
func (e *Exchange) takeReceipt(ctx context.Context, from authority.Node, signed []byte) error {
	key, err := seal.ReceiptAbout(signed)
	if err != nil {
		return err
	}
	d := e.deliveries
	row, env, err := d.load(ctx, job{key: key, node: from})
	if err != nil {
		return err
	}
	if row, err = d.receipted(ctx, row, env, signed, ledger.Mailbox); err != nil {
		return err
	}
	if row.State == ledger.Delivered { // its attachments follow
		d.again(job{key: key, node: from, lane: row.Lane})
	}
	return nil
}
