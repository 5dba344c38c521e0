package directory

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// StaleAfter is how long an entry counts as up to date after it was declared, amended or confirmed. PROTOCOL 4.9.
const StaleAfter = 183 * 24 * time.Hour

// Designation makes an authority the national point of contact of its state. PROTOCOL 4.19.
type Designation struct {
	Authority   authority.Name
	NoteVerbale string
}

// Confirmation says that a state's entries are as they shall be. PROTOCOL 4.9.
type Confirmation struct {
	// Entries is Snapshot.EntriesDigest at that moment.
	Entries Hash
}

// Notice says whether an authority can be reached, and who takes over. It binds nobody. PROTOCOL 4.19.
type Notice struct {
	// Availability is "normal", "degraded", "emergency" or "closed".
	Availability string
	Start        time.Time
	// End is zero where it lasts until another notice.
	End time.Time
	// Fallback is another authority, of whatever state; may be zero. That the directory has it is not certain.
	Fallback authority.Name
	Text     string
}

func (Designation) isBody()  {}
func (Confirmation) isBody() {}
func (Notice) isBody()       {}

func readDesignation(r *reading, m *formatv1.DesignateContactPoint) Designation {
	name, err := authority.ParseName(m.GetAuthority())
	r.note(err)
	return Designation{name, r.filled("note verbale", m.GetNoteVerbale(), maxReference)}
}

func readConfirmation(r *reading, m *formatv1.Confirm) Confirmation {
	return Confirmation{r.hash(m.GetEntries())}
}

func (r *reading) hash(b []byte) Hash {
	r.check(len(b) == sha256.Size, "malformed", "a digest has 32 bytes")
	var h Hash
	copy(h[:], b)
	return h
}

func readNotice(r *reading, m *formatv1.Notice) Notice {
	kinds := []string{"normal", "degraded", "emergency", "closed"}
	r.check(slices.Contains(kinds, m.GetAvailability()), "unknown-availability", "an authority is normal, degraded, emergency or closed")
	r.check(m.GetStart() > 0 && (m.GetEnd() == 0 || m.GetEnd() > m.GetStart()), "malformed-term", "a notice has a start and, where it ends, a later end")
	n := Notice{Availability: m.GetAvailability(), Start: r.time(m.GetStart()), End: r.time(m.GetEnd()), Text: r.text("text", m.GetText(), maxText)}
	if m.GetFallback() != "" {
		var err error
		n.Fallback, err = authority.ParseName(m.GetFallback())
		r.note(err)
		r.check(n.Fallback != r.about.name, "wrong-fallback", "an authority does not take over from itself")
	}
	return n
}

// putState stores what changes of the state itself.
func (c *change) putState(change func(*stateRecord)) error {
	old, ok := c.next.states.get(c.st.subject.state)
	if !ok {
		return unknownSubject()
	}
	r := *old
	change(&r)
	c.next.states = c.next.states.with(c.st.subject.state, &r)
	return nil
}

// designate makes one authority the point of contact and no other. What the authorities said last stays their own
// chain: it is the state's that goes on. PROTOCOL 4.19.
func (c *change) designate(body Designation) error {
	if err := c.designated(); err != nil {
		return err
	}
	chosen, ok := c.next.authorities.get(body.Authority)
	if !ok || body.Authority.State() != c.st.subject.state || chosen.limits.ended.on(logged) {
		return unknownSubject()
	}
	home, _ := c.next.states.get(c.st.subject.state)
	for _, name := range home.authorities {
		old, _ := c.next.authorities.get(name)
		if old.said.NationalPointOfContact == (name == body.Authority) {
			continue
		}
		r, said := *old, *old.said
		said.NationalPointOfContact = name == body.Authority
		r.said = &said
		c.next.authorities = c.next.authorities.with(name, &r)
	}
	return c.putState(func(r *stateRecord) { r.designated, r.last = true, c.st.hash })
}

// confirm takes the state's word that all of it is as it shall be. PROTOCOL 4.9.
func (c *change) confirm(body Confirmation) error {
	state := c.st.subject.state
	if err := c.st.signedBy(c.next.byState(state, logged)); err != nil {
		return err
	}
	if body.Entries != c.next.EntriesDigest(state) {
		return conflict("not-as-confirmed", "the state's entries are not, or no longer, what was confirmed")
	}
	return c.putState(func(r *stateRecord) { r.last, r.affirmed = c.st.hash, max(r.affirmed, c.st.created) })
}

// notice keeps the last word on whether an authority can be reached. PROTOCOL 4.19.
func (c *change) notice(body Notice) error {
	if err := c.st.signedBy(c.next.byState(c.st.subject.state, logged)); err != nil {
		return err
	}
	old, _ := c.next.authorities.get(c.st.subject.name)
	r := *old
	r.notice, r.last = &body, c.st.hash
	c.next.authorities = c.next.authorities.with(c.st.subject.name, &r)
	return nil
}

// EntriesDigest is the digest of a state's entries that a confirmation names: of the last enabling statement of each
// authority that is not retired and each node that is not revoked, by the log alone. PROTOCOL 4.9.
func (s *Snapshot) EntriesDigest(state authority.State) Hash {
	last := map[string]Hash{}
	if home, ok := s.states.get(state); ok {
		for _, name := range home.authorities {
			if r, _ := s.authorities.get(name); !r.limits.ended.on(logged) {
				last[name.String()] = r.last
			}
		}
		for _, node := range home.nodes {
			if r, _ := s.nodes.get(node); !r.limits.ended.on(logged) {
				last[node.String()] = r.last
			}
		}
	}
	h := sha256.New()
	var line []byte
	for _, name := range slices.Sorted(maps.Keys(last)) {
		hash := last[name]
		line = append(binary.BigEndian.AppendUint16(line[:0], uint16(len(name))), name...)
		h.Write(append(line, hash[:]...))
	}
	return Hash(h.Sum(nil))
}

// Stale reports whether an entry was neither declared, amended nor confirmed for 183 days, and since when it has been
// stale. It is shown so, and valid. By the word of its signers: none of it is proof. What has ended, and what the
// directory does not know, is never stale. PROTOCOL 4.9.
func (v View) Stale(subject Subject) (since time.Time, stale bool) {
	r, ok := v.s.record(subject)
	if !ok || r.limits.ended.happened() {
		return time.Time{}, false
	}
	affirmed := r.affirmed
	if home, ok := v.s.states.get(subject.state); ok {
		affirmed = max(affirmed, home.affirmed)
	}
	limit := affirmed + int64(StaleAfter/time.Second)
	if v.now < limit {
		return time.Time{}, false
	}
	return time.Unix(limit, 0).UTC(), true
}

// ContactPoint is a state's national point of contact, whatever its status; of several that were declared as such
// without a designation, the first in order of name. PROTOCOL 4.19.
func (v View) ContactPoint(state authority.State) (AuthorityEntry, bool) {
	home, ok := v.s.states.get(state)
	if !ok {
		return AuthorityEntry{}, false
	}
	for _, name := range home.authorities {
		if r, _ := v.s.authorities.get(name); r.said.NationalPointOfContact && !r.limits.ended.happened() {
			return v.Authority(name)
		}
	}
	return AuthorityEntry{}, false
}

// Notice is the last notice about an authority, if it is in force now. PROTOCOL 4.19.
func (v View) Notice(name authority.Name) (Notice, bool) {
	r, ok := v.s.authorities.get(name)
	if !ok || r.notice == nil || v.now < r.notice.Start.Unix() || (!r.notice.End.IsZero() && v.now >= r.notice.End.Unix()) {
		return Notice{}, false
	}
	return *r.notice, true
}

// DesignateContactPoint makes an authority the state's national point of contact, and no other. Signers as
// DeclareAuthority.
func (d Draft) DesignateContactPoint(name authority.Name, noteVerbale string) ([]byte, error) {
	body := &formatv1.DesignateContactPoint{Authority: name.String(), NoteVerbale: noteVerbale}
	return d.enabling(KindDesignateContactPoint, OfState(name.State()), body)
}

// Confirm confirms a state's entries as they are in the snapshot. Signers: the state.
func (d Draft) Confirm(state authority.State) ([]byte, error) {
	entries := d.Snapshot.EntriesDigest(state)
	return d.enabling(KindConfirm, OfState(state), &formatv1.Confirm{Entries: entries[:]})
}

// Notice says whether an authority can be reached, and who takes over. Signers: the state.
func (d Draft) Notice(name authority.Name, body *formatv1.Notice) ([]byte, error) {
	return d.enabling(KindNotice, OfAuthority(name), body)
}
