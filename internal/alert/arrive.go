package alert

import (
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// unmatched is the state of a row that nobody is shown: the alert is stored here, its authority is entitled to it, and no
// subscription of that authority wants it now. A later one may.
const unmatched message.AlertState = "UNMATCHED"

// Codes of a rejection beside those of room message. PROTOCOL 8.4.
const (
	codeNotCompetent = "not-competent" // the issuer has not declared that it issues alerts of the category
	codeNotIssuer    = "not-issuer"    // somebody names or moves an alert of another authority
	codeUnknown      = "unknown-conversation"
)

// Examine judges an alert to an audience before any transaction: a rejection code, or "". PROTOCOL 8.4.
func (d *Desk) Examine(a seal.Alert) string {
	_, code := d.wellFormed(a.Header, a.Content)
	return code
}

// Judge looks at an opened directed message of an alert: the code of a rejection, or "". PROTOCOL 8.4.
func (d *Desk) Judge(h message.Header, c seal.Content) (string, error) {
	_, code := d.wellFormed(h, c)
	if code != "" {
		return code, nil
	}
	view := d.view()
	issues := h.Kind == message.KindAlert || h.Kind == message.KindAlertUpdate
	if issues && !view.Competent(h.Sender, functionOut, h.Category) {
		if h.Position > view.Snapshot().Position() {
			return "", fault.New(fault.Retry, "directory-behind", "judge alert", "the issuer's directory is newer than the one here")
		}
		return codeNotCompetent, nil
	}
	return "", nil
}

// wellFormed reads content and judges what needs no ledger.
func (d *Desk) wellFormed(h message.Header, c seal.Content) (said, string) {
	if h.Kind != message.KindAlertFeedback && !h.Conversation.IsOf(h.Sender) {
		return said{}, codeNotIssuer
	}
	s, err := read(h.Kind, c)
	if err != nil {
		if code := fault.CodeOf(err); code != "" {
			return s, code
		}
		return s, "malformed"
	}
	switch h.Kind {
	case message.KindAlertCancel:
		if !d.Lists.Has("cancel_reason", s.cancellation.GetReason()) || s.cancellation.GetVersion() == 0 {
			return s, "malformed"
		}
	case message.KindAlertFeedback:
		if fs := message.CheckFeedback(s.feedback, d.Lists); !message.Sendable(fs) {
			return s, "malformed"
		}
	default:
		return s, message.RefuseAlert(h.Audience == nil, s.notice, s.subjects, s.limited(), d.Lists)
	}
	return s, ""
}

// limited are all files of an alert, the larger ones too, for who asks about their limits alone.
func (s said) limited() []*formatv1.File {
	out := slices.Clone(s.files)
	for _, note := range s.notes {
		out = append(out, &formatv1.File{Limits: note.GetLimits()})
	}
	return out
}

// Place records what an alert to an audience means for the authorities of this node, in the transaction that stores it.
// Of one of ours, the issuer's row is the business of who publishes it.
func (d *Desk) Place(tx ledger.Tx, a seal.Alert) error {
	s, err := read(a.Header.Kind, a.Content)
	if err != nil {
		return err // Examine, or we ourselves, have read the same
	}
	p := placing{d: d, tx: tx, h: a.Header, s: s, view: d.view(), to: d.locals()}
	_, err = p.run()
	return err
}

// Admit records what a directed message means for those it is for.
func (d *Desk) Admit(tx ledger.Tx, h message.Header, c seal.Content, to []authority.Name) (string, error) {
	s, err := read(h.Kind, c)
	if err != nil {
		return "", err
	}
	p := placing{d: d, tx: tx, h: h, s: s, view: d.view(), to: to}
	if h.Kind == message.KindAlertFeedback {
		return p.feedback()
	}
	return p.run()
}

// Stored is told after the commit of an alert to an audience.
func (d *Desk) Stored(seal.Alert) { d.tell() }

// Admitted is told after the commit of a directed message.
func (d *Desk) Admitted(message.Header) { d.tell() }

// placing is one message on its way into the rows of this node's authorities.
type placing struct {
	d    *Desk
	tx   ledger.Tx
	h    message.Header
	s    said
	view directory.View
	// to are those it may be for.
	to []authority.Name
	// ended is the cancellation that came before the alert; zero where none did.
	ended message.Key
}

func (p *placing) run() (string, error) {
	if p.s.notice != nil {
		var err error
		if p.ended, err = p.cancelled(); err != nil {
			return "", err
		}
	}
	for _, own := range p.to {
		if own == p.h.Sender {
			continue
		}
		row, err := p.tx.Alert(p.h.Conversation, own)
		had := err == nil
		if err != nil && !fault.Is(err, fault.NotFound) {
			return "", err
		}
		if had && (row.Direction != ledger.In || row.Issuer != p.h.Sender) {
			continue // what one authority issues no message of another replaces
		}
		if !had {
			row = ledger.Alert{ID: p.h.Conversation, Own: own, Issuer: p.h.Sender, Direction: ledger.In, Created: p.h.Created}
		}
		if p.s.cancellation != nil {
			err = p.end(row, had)
		} else {
			err = p.say(row, had)
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// cancelled finds a stored cancellation of the alert for all its receivers. Those for single ones have left rows.
func (p *placing) cancelled() (message.Key, error) {
	all, err := p.tx.MessagesOf(p.h.Conversation)
	if err != nil {
		return message.Key{}, err
	}
	for _, m := range all {
		if m.Kind != message.KindAlertCancel || m.Key.Sender != p.h.Sender {
			continue
		}
		whole, err := p.tx.Message(m.Key)
		if err != nil {
			return message.Key{}, err
		}
		if directed(whole) == (p.h.Audience == nil) {
			return m.Key, nil
		}
	}
	return message.Key{}, nil
}

// say puts an alert or an update into a row. The highest version counts.
func (p *placing) say(row ledger.Alert, had bool) error {
	entitled := entitled(p.view, row.Own, p.h)
	version := p.s.notice.GetVersion()
	known := had && row.State != unmatched
	switch {
	case had && row.Version > 0 && version <= row.Version, !had && !entitled:
		return nil
	case !p.ended.ID.IsZero():
		return p.tooLate(row, known && entitled)
	case had && !entitled:
		return p.withdraw(row)
	case had && row.State.Over() && row.State != message.AlertExpired:
		revived, err := p.revives(row)
		if err != nil || !revived {
			return err
		}
	}
	if !known && !p.matches(row.Own) {
		p.describe(&row)
		row.State, row.Ended = unmatched, message.Key{}
		return second(p.tx.PutAlert(row))
	}
	p.describe(&row)
	row.State, row.Ended = message.AlertIssued, message.Key{}
	if p.h.Kind == message.KindAlertUpdate {
		row.State = message.AlertUpdated
	}
	if !p.h.Expires.After(p.d.Clock()) {
		row.State = message.AlertExpired
	}
	row.Mark = "" // there is something new to read, and to say something about
	return p.show(row)
}

// show puts a row that people see.
func (p *placing) show(row ledger.Alert) error {
	if row.State.InForce() {
		p.d.keep(row)
		if err := p.d.call(p.tx, row); err != nil {
			return err
		}
	}
	return second(p.tx.PutAlert(row))
}

// describe writes into a row what the message says.
func (p *placing) describe(row *ledger.Alert) {
	n := p.s.notice
	row.Type, row.Category, row.Urgency, row.Status = n.GetType(), p.h.Category, p.h.Urgency, p.h.Status
	row.Distribution, row.Reference, row.Title = distributionOf(p.h), trusted(n.GetReference(), p.h.Sender), n.GetTitle()
	row.Version, row.Latest, row.Attachments = n.GetVersion(), p.h.Key(), len(p.h.Attachments)
	row.Changed, row.Expires = p.d.Clock(), p.h.Expires
}

func distributionOf(h message.Header) message.Distribution {
	switch {
	case h.Audience == nil:
		return message.Directed
	case h.Audience.Rule == message.RuleAllNPC:
		return message.AllNPC
	}
	return message.ByCategory
}

// matches reports whether an entitled authority gets to see the alert: it was addressed, or as a national point of
// contact, or a subscription wants it.
func (p *placing) matches(own authority.Name) bool {
	if p.h.Audience == nil || p.h.Audience.Rule == message.RuleAllNPC {
		return true
	}
	return slices.ContainsFunc(p.d.wishesFor(own), func(w wish) bool { return w.matches(p.h, p.s) })
}

// tooLate keeps an alert that was called off before it came. The row that the cancellation left learns what it was
// about, and stays locked: what the alert says is shown to nobody, its title neither.
func (p *placing) tooLate(row ledger.Alert, known bool) error {
	if !known {
		return nil
	}
	if row.Version > 0 {
		row.Version = p.s.notice.GetVersion() // of what was said before its end all is known; it is told as it was seen
		return second(p.tx.PutAlert(row))
	}
	over, ended := row.State, row.Ended
	p.describe(&row)
	row.State, row.Ended, row.Title = over, ended, ""
	return second(p.tx.PutAlert(row))
}

// withdraw ends an alert for one authority that is entitled to it no more: the update is not for its eyes.
func (p *placing) withdraw(row ledger.Alert) error {
	if row.State.Over() || row.State == unmatched {
		return nil
	}
	return p.over(row, message.AlertCancelled, p.h.Key())
}

// over ends a row by a message that its authority may read; zero where there is none.
func (p *placing) over(row ledger.Alert, to message.AlertState, by message.Key) error {
	row.State, row.Ended, row.Changed = to, by, p.d.Clock()
	p.d.ended(row)
	if err := p.tx.DeleteNudge(row.ID, row.Own); err != nil {
		return err
	}
	if _, err := p.tx.PutAlert(row); err != nil {
		return err
	}
	return second(p.tx.Append(p.d.event("alert-cancelled", nodeActor, p.h.Key(), p.h.Digest, row.Own.String())))
}

// revives reports whether a row that was ended for this authority alone, when it was not entitled, goes on now.
func (p *placing) revives(row ledger.Alert) (bool, error) {
	if row.Distribution == message.Directed || row.Ended.ID.IsZero() {
		return false, nil
	}
	m, err := p.tx.Message(row.Ended)
	if err != nil {
		return false, err
	}
	return m.Kind == message.KindAlertUpdate || directed(m), nil
}

// end puts a cancellation into a row. Where there is none yet, who would have seen the alert gets one of version 0.
func (p *placing) end(row ledger.Alert, had bool) error {
	to := overBy(p.s.cancellation)
	switch {
	case had && row.State == unmatched:
		row.Ended = p.h.Key() // nobody saw it and nobody will
		return second(p.tx.PutAlert(row))
	case had && row.State.Over():
		return nil
	case had && !entitled(p.view, row.Own, p.h):
		return p.over(row, to, message.Key{}) // it ends, but what is said of it came for others
	case had:
		return p.over(row, to, p.h.Key())
	case !entitled(p.view, row.Own, p.h) || !p.expected(row.Own):
		return nil
	}
	row.Category, row.Urgency, row.Status, row.Distribution = p.h.Category, p.h.Urgency, p.h.Status, distributionOf(p.h)
	if p.s.cancellation.GetReason() == reasonNotEntitled {
		row.Distribution = message.ByCategory // what comes later by that road may revive it
	}
	row.Expires = p.h.Expires
	return p.over(row, to, p.h.Key())
}

// expected asks what is known of an alert that has not come: category and urgency.
func (p *placing) expected(own authority.Name) bool {
	if p.h.Audience == nil || p.h.Audience.Rule == message.RuleAllNPC {
		return true
	}
	return slices.ContainsFunc(p.d.wishesFor(own), func(w wish) bool { return w.wants(p.h.Category, p.h.Urgency) })
}

// feedback notes what a receiver said about an alert of ours.
func (p *placing) feedback() (string, error) {
	for _, own := range p.to {
		row, err := p.tx.Alert(p.h.Conversation, own)
		if fault.Is(err, fault.NotFound) || err == nil && (row.Direction != ledger.Out || row.Version == 0) {
			return codeUnknown, nil
		}
		if err != nil {
			return "", err
		}
		row.Changed = p.d.Clock()
		if _, err := p.tx.PutAlert(row); err != nil {
			return "", err
		}
		event := p.d.event("alert-feedback", nodeActor, p.h.Key(), p.h.Digest, p.s.feedback.GetMark())
		if _, err := p.tx.Append(event); err != nil {
			return "", err
		}
	}
	return "", nil
}
