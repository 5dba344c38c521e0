package alert

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/catalog"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Create stores a draft. Nothing leaves the node; what is missing is told by Check. The ID that it returns names the
// alert for life, at all its holders.
func (d *Desk) Create(ctx context.Context, a exchange.Actor, c Composition) (message.ID, error) {
	const op = "create alert"
	c = complete(c, a)
	if c.Notice == nil {
		return message.ID{}, fault.New(fault.Invalid, "empty", op, "the alert is empty")
	}
	if !d.Exchange.Serves(c.From) {
		return message.ID{}, fault.New(fault.Denied, "not-served", op, "this node does not serve the issuing authority, or it may not act now")
	}
	now := d.Clock()
	id, err := message.NewIDOf(c.From, now, d.Random)
	if err != nil {
		return message.ID{}, err
	}
	row := ledger.Alert{
		ID: id, Own: c.From, Issuer: c.From, Direction: ledger.Out, State: message.AlertDraft, Author: authorOf(a), Created: now,
		Changed: now, Distribution: c.Distribution, Status: c.Status, Category: c.Category,
	}
	describe(&row, c)
	if err := d.allow(ctx, a, "alert:create", row); err != nil {
		return message.ID{}, err
	}
	stored, err := d.newDraft(id, a, c, false)
	if err != nil {
		return message.ID{}, err
	}
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		n, err := tx.NextReference(c.From, now.Year())
		if err != nil {
			return err
		}
		row.Reference = d.reference(c.From, now, n)
		if err := tx.PutDraft(stored); err != nil {
			return err
		}
		if _, err := tx.PutAlert(row); err != nil {
			return err
		}
		return second(tx.Append(d.event("alert-drafted", a.Account, about(row), stored.Digest, "")))
	})
	if err != nil {
		return message.ID{}, err
	}
	d.tell()
	return id, nil
}

// complete fills in what an author may leave out.
func complete(c Composition, a exchange.Actor) Composition {
	if c.From.IsZero() {
		c.From = a.Authority
	}
	if c.Urgency == "" {
		c.Urgency = message.Routine
	}
	if c.Status == "" {
		c.Status = message.Actual
	}
	if c.Distribution == "" {
		c.Distribution = message.ByCategory
	}
	c.States = message.SortStates(c.States)
	return c
}

// describe puts into a row what lists show of a composition.
func describe(row *ledger.Alert, c Composition) {
	row.Type, row.Title, row.Urgency, row.Expires = c.Notice.GetType(), c.Notice.GetTitle(), c.Urgency, c.Expires
}

// referencePrefix begins every reference of an issuer's alerts.
func referencePrefix(from authority.Name) string {
	return fmt.Sprintf("%s-%s-alert-", from.State(), from.Slug())
}

// reference is phone-readable, and never given twice, by a restored node neither (PROTOCOL 9.5).
func (d *Desk) reference(from authority.Name, now time.Time, n int) string {
	ref := fmt.Sprintf("%s%d-%06d", referencePrefix(from), now.Year(), n)
	if d.Incarnation.Counter > 1 {
		ref += fmt.Sprintf("-%d", d.Incarnation.Counter)
	}
	return ref
}

// trusted is a reference that can only be the issuer's: people name alerts by it.
func trusted(ref string, issuer authority.Name) string {
	rest, ok := strings.CutPrefix(ref, referencePrefix(issuer))
	if !ok || strings.Trim(rest, "0123456789-") != "" {
		return ""
	}
	return ref
}

// draft is all that the next version of an alert is made of.
type draft struct {
	ledger.Alert
	Composition
	stored  ledger.Draft
	pending bool
	hands   []string // who beside the author added to it or submitted it
	rows    []ledger.Attachment
}

// state is where the draft stands, which is not where an issued alert stands.
func (x draft) state() message.AlertState {
	if x.pending {
		return message.AlertPending
	}
	return message.AlertDraft
}

// resource is the draft as the gate is asked about it: its state, and whoever wrote it. Who had a hand in it counts as its
// author: they are no second person.
func (x draft) resource(a exchange.Actor) ledger.Alert {
	row := x.Alert
	row.State, row.Author, row.Urgency = x.state(), x.stored.Author, x.Composition.Urgency
	if slices.Contains(x.hands, authorOf(a)) {
		row.Author = authorOf(a)
	}
	return row
}

// digest is what an approver signs off: the content and every file, so that any edit voids the approval (DESIGN 9).
func (x draft) digest() message.Digest {
	all := bytes.Clone(x.stored.Digest[:])
	for _, row := range x.rows {
		all = append(all, row.Root[:]...)
		note := message.DigestOf(row.Meta)
		all = append(all, note[:]...)
	}
	return message.DigestOf(all)
}

// draftOf reads the draft of a row. NotFound where there is none.
func draftOf(r ledger.Reader, row ledger.Alert) (draft, error) {
	stored, err := r.Draft(row.ID)
	if err != nil {
		return draft{}, err
	}
	x, err := readDraft(stored.Content)
	if err != nil {
		return draft{}, err
	}
	x.Alert, x.stored = row, stored
	x.rows, err = r.AttachmentsOf(ledger.OwnedByDraft(row.ID))
	return x, err
}

// ours reads the row of an alert that its authority issues: a draft is found by the alert's name alone, which others know
// who have received it. Denied "not-issuer"; an alert that its authority is not shown does not exist: NotFound.
func ours(r ledger.Reader, id message.ID, own authority.Name) (ledger.Alert, error) {
	row, err := r.Alert(id, own)
	switch {
	case err != nil:
		return ledger.Alert{}, err
	case row.State == unmatched:
		return ledger.Alert{}, fault.New(fault.NotFound, "", "read alert", "there is no such alert")
	case row.Direction != ledger.Out || row.Issuer != row.Own:
		return ledger.Alert{}, notIssuer()
	}
	return row, nil
}

func notIssuer() error {
	return fault.New(fault.Denied, "not-issuer", "change alert", "only the authority that issues an alert changes it")
}

// loadDraft reads a draft that an actor may act on, in one view.
func (d *Desk) loadDraft(ctx context.Context, a exchange.Actor, action string, id message.ID) (draft, error) {
	var x draft
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		row, err := ours(r, id, a.Authority)
		if err != nil {
			return err
		}
		x, err = draftOf(r, row)
		if fault.Is(err, fault.NotFound) {
			x.Alert = row
			return nil
		}
		return err
	})
	if err != nil {
		return draft{}, err
	}
	if x.stored.Conversation.IsZero() {
		if err := d.allow(ctx, a, action, x.Alert); err != nil {
			return draft{}, err
		}
		return draft{}, wrongState("there is no draft: the alert was published; draft its next version first")
	}
	return x, d.allow(ctx, a, action, x.resource(a))
}

func wrongState(say string) error {
	return fault.New(fault.Conflict, "wrong-state", "change alert", say)
}

// Check lists what a draft lacks, and who would receive it.
func (d *Desk) Check(ctx context.Context, a exchange.Actor, id message.ID) (Checked, error) {
	x, err := d.loadDraft(ctx, a, "alert:check", id)
	if err != nil {
		return Checked{}, err
	}
	return d.check(x)
}

func (d *Desk) check(x draft) (Checked, error) {
	now := d.Clock()
	c := Checked{Findings: message.CheckAlert(x.AlertCompose, catalog.Now(d.view(), d.Lists), now, d.expires(x.Composition, now))}
	fail := func(field, say string) {
		c.Findings = append(c.Findings, message.Finding{Field: field, Level: message.LevelError, Text: say})
	}
	if !d.view().Competent(x.Own, functionOut, x.Composition.Category) {
		fail("from", "this authority has not declared in the directory that it issues alerts of the category")
	}
	if x.Composition.Distribution == message.Directed {
		d.checkAddressees(x, &c, fail)
		return c, nil
	}
	if err := d.checkNotes(x, fail); err != nil {
		return Checked{}, err
	}
	if len(x.To) > 0 {
		fail("to", "only a DIRECTED alert names authorities")
	}
	rule, err := ruleOf(x.Composition.Distribution)
	if err != nil {
		return c, nil // CheckAlert has said so
	}
	members, err := d.Road.Members(x.Composition.Category, rule, x.States)
	if err != nil {
		fail("audience", fault.As(err).Say)
	}
	for _, m := range members {
		if m.Authority != x.Own {
			c.Audience = append(c.Audience, m.Authority)
		}
	}
	return c, nil
}

// checkNotes asks of the larger files of an alert to an audience what CheckAlert asks of the small ones: every receiver
// would refuse it. domain.md 4.4.
func (d *Desk) checkNotes(x draft, fail func(field, say string)) error {
	for i, row := range x.rows {
		note, _, err := exchange.DraftFile(row)
		if err != nil {
			return err
		}
		s := said{notes: []*formatv1.AttachmentNote{note}}
		if message.RefuseAlert(false, nil, nil, s.limited(), d.Lists) != "" {
			fail(fmt.Sprintf("attachments[%d].limits.tlp", i), "TLP:RED is for named authorities: send the alert DIRECTED")
		}
	}
	return nil
}

func (d *Desk) checkAddressees(x draft, c *Checked, fail func(field, say string)) {
	if n := len(x.To); n == 0 || n >= message.MaxRecipients {
		fail("to", "a DIRECTED alert names 1 to 63 authorities")
	}
	if len(x.States) > 0 {
		fail("states", "a DIRECTED alert names authorities, not states")
	}
	view := d.view()
	for i, name := range x.To {
		if name == x.Own || slices.Contains(x.To[:i], name) {
			fail("to", "an authority stands twice, or is the issuer")
		}
		switch err := view.CheckAuthority(name); {
		case err != nil && x.Version > 0:
			// It went there once; the others are not kept waiting for that.
			c.Findings = append(c.Findings, message.Finding{Field: "to", Level: message.LevelWarning, Text: fault.As(err).Say})
			continue
		case err != nil:
			fail("to", fault.As(err).Say)
			continue
		}
		c.Audience = append(c.Audience, name)
	}
}

// ruleOf is the audience rule of a distribution that has one.
func ruleOf(x message.Distribution) (directory.Rule, error) {
	switch x {
	case message.ByCategory:
		return directory.ByCategory, nil
	case message.AllNPC:
		return directory.AllNPC, nil
	}
	return "", fault.New(fault.Invalid, "unknown-distribution", "find audience", "this distribution has no audience")
}

// expires is until when a draft issued now would hold.
func (d *Desk) expires(c Composition, now time.Time) time.Time {
	if c.Expires.IsZero() {
		return now.Add(message.AlertLife)
	}
	return c.Expires
}

// AddFile seals a file into the spool of a draft: one that receivers pull when they look at it. On return the sealed file
// and its row are on stable storage. Memory is constant whatever the size.
func (d *Desk) AddFile(ctx context.Context, a exchange.Actor, id message.ID, note *formatv1.AttachmentNote, src io.Reader) (exchange.AttachmentView, error) {
	if _, err := d.loadDraft(ctx, a, "alert:create", id); err != nil {
		return exchange.AttachmentView{}, err
	}
	file, err := d.Exchange.SealFile(src)
	if err != nil {
		return exchange.AttachmentView{}, err
	}
	// If the machine stops here, a file that nothing names lies in the spool; the next start removes it.
	var row ledger.Attachment
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err = d.putFile(tx, a, id, note, file)
		return err
	})
	if err != nil {
		d.Exchange.DropFile(file)
		return exchange.AttachmentView{}, err
	}
	d.tell()
	return file.View(row.Index, note), nil
}

func (d *Desk) putFile(tx ledger.Tx, a exchange.Actor, id message.ID, note *formatv1.AttachmentNote, file exchange.SealedFile) (ledger.Attachment, error) {
	row, err := ours(tx, id, a.Authority)
	if err != nil {
		return ledger.Attachment{}, err
	}
	x, err := draftOf(tx, row)
	if err != nil {
		return ledger.Attachment{}, err
	}
	switch {
	case x.pending:
		return ledger.Attachment{}, wrongState("the alert waits for approval; have it returned to you first")
	case len(x.rows) >= message.MaxAttachments:
		return ledger.Attachment{}, fault.New(fault.TooLarge, "too-large", "attach file", "an alert has at most 64 attachments")
	}
	stored, err := handled(x.stored, authorOf(a))
	if err != nil {
		return ledger.Attachment{}, err
	}
	if err := tx.PutDraft(stored); err != nil {
		return ledger.Attachment{}, err
	}
	added := file.Row(id, uint32(len(x.rows)), note)
	if err := tx.PutAttachment(added); err != nil {
		return ledger.Attachment{}, err
	}
	if row.Version == 0 {
		row.Attachments = len(x.rows) + 1
	}
	row.Changed = d.Clock()
	if _, err := tx.PutAlert(row); err != nil {
		return ledger.Attachment{}, err
	}
	return added, second(tx.Append(d.event("alert-attached", a.Account, about(row), added.Root, "")))
}

// Update drafts an alert anew: the next version of one that is issued, or the draft as it should have been. Category,
// distribution, audience and operational status of an issued alert stay as they are. Larger files are attached anew. It
// is published like the first.
func (d *Desk) Update(ctx context.Context, a exchange.Actor, id message.ID, c Composition) (message.AlertState, error) {
	var row ledger.Alert
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		row, err = ours(r, id, a.Authority)
		return err
	})
	if err != nil {
		return "", err
	}
	if err := d.allow(ctx, a, "alert:update", row); err != nil {
		return "", err
	}
	if c.Notice == nil {
		return "", fault.New(fault.Invalid, "empty", "update alert", "the alert is empty")
	}
	c.From = row.Own
	if c, err = d.settled(ctx, row, complete(c, a)); err != nil {
		return "", err
	}
	stored, err := d.newDraft(id, a, c, false)
	if err != nil {
		return "", err
	}
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error { return d.redraft(tx, a, row, c, stored) })
	if err != nil {
		return "", err
	}
	d.tell()
	return message.AlertDraft, nil
}

// settled gives an update what it may not change: where the first version went.
func (d *Desk) settled(ctx context.Context, row ledger.Alert, c Composition) (Composition, error) {
	if row.Version == 0 {
		return c, nil
	}
	if !row.State.InForce() {
		return Composition{}, wrongState("only an alert that is in force is updated")
	}
	first, err := d.firstOf(ctx, row)
	if err != nil {
		return Composition{}, err
	}
	c.Category, c.Distribution, c.Status = row.Category, row.Distribution, row.Status
	c.To, c.States = first.RecipientsBut(first.Sender), nil
	if first.Audience != nil {
		c.States = first.Audience.States
	}
	if c.Expires.IsZero() {
		c.Expires = row.Expires
	}
	return c, nil
}

// redraft puts a draft in the place of what was there. The row is read again: it may have been published or ended since.
func (d *Desk) redraft(tx ledger.Tx, a exchange.Actor, seen ledger.Alert, c Composition, stored ledger.Draft) error {
	row, err := ours(tx, seen.ID, seen.Own)
	if err != nil {
		return err
	}
	if row.Version != seen.Version || row.State != seen.State || row.State == message.AlertPending || row.State.Over() {
		return wrongState("the alert was published, ended or submitted meanwhile")
	}
	old, err := draftOf(tx, row)
	if err == nil && old.pending {
		return wrongState("a version of the alert waits for approval; have it returned first")
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	// The files of the old draft are swept at the next start.
	if err := tx.DeleteAttachments(ledger.OwnedByDraft(row.ID)); err != nil {
		return err
	}
	if err := tx.PutDraft(stored); err != nil {
		return err
	}
	if row.Version == 0 {
		describe(&row, c)
		row.Category, row.Distribution, row.Status, row.Attachments, row.Author = c.Category, c.Distribution, c.Status, 0, authorOf(a)
	}
	row.Changed = d.Clock()
	if _, err := tx.PutAlert(row); err != nil {
		return err
	}
	return second(tx.Append(d.event("alert-drafted", a.Account, about(row), stored.Digest, "")))
}
