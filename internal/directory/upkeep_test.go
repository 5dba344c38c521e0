package directory

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// PROTOCOL 4.19, 7.2: one point of contact and no other, so audiences of all of them change with it, at the position of the
// statement and for a reader of the log as for one that was there.
func TestDesignateContactPoint(t *testing.T) {
	w := populated(t)
	mx := stateOf("mx")
	if _, ok := w.view().ContactPoint(mx); ok {
		t.Error("a point of contact that nobody designated")
	}
	w.declareAuthority("mx/sat", "mx/node/primary")
	npc := authorityBody("mx/uif", "mx/node/primary")
	npc.NationalPointOfContact = true
	payload, err := w.draft().DeclareAuthority(nameOf("mx/uif"), npc)
	w.do(payload, err, byMX+designated)
	points := func(s *Snapshot) string {
		members, err := s.At(w.now).Audience(authority.Category{}, AllNPC, nil)
		if err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, m := range members {
			all += m.Authority.String() + " "
		}
		return all
	}
	before := w.s
	if got := points(before); got != "mx/uif " {
		t.Errorf("points of contact %s", got)
	}
	for _, name := range []string{"mx/fgr", "mx/sat"} {
		payload, err = w.draft().DesignateContactPoint(nameOf(name), "NV 4/2026")
		w.do(payload, err, byMX+designated)
		if got := points(w.s); got != name+" " || w.s.Changed() != w.s.Position() {
			t.Errorf("points of contact %s, changed at %d of %d", got, w.s.Changed(), w.s.Position())
		}
		if e, ok := w.view().ContactPoint(mx); !ok || e.Name != nameOf(name) {
			t.Errorf("point of contact %s, %t", e.Name, ok)
		}
	}
	if got := points(before); got != "mx/uif " {
		t.Errorf("an older snapshot says %s", got)
	}
	for _, other := range []string{"jm/fgr", "mx/none"} {
		body := &formatv1.DesignateContactPoint{Authority: other, NoteVerbale: "NV"}
		payload, err = w.draft().enabling(KindDesignateContactPoint, OfState(mx), body)
		w.refuse(payload, err, byMX+designated, "unknown-subject")
	}
	retire, err := w.draft().Retire(nameOf("mx/sat"), "")
	w.do(retire, err, byMX)
	if e, ok := w.view().ContactPoint(mx); ok {
		t.Errorf("a retired point of contact: %s", e.Name)
	}
	payload, err = w.draft().DesignateContactPoint(nameOf("mx/sat"), "NV")
	w.refuse(payload, err, byMX+designated, "unknown-subject")
}

// PROTOCOL 4.12, 4.19: a designation is undone by another alone: by no amendment that was drafted before it, whichever
// way that says it, and by no new authority.
func TestDesignationStands(t *testing.T) {
	w := populated(t)
	mx := stateOf("mx")
	w.declareAuthority("mx/sat", "mx/node/primary")
	said := func(name string, point, keys bool) ([]byte, error) {
		body := authorityBody(name, "mx/node/primary")
		if body.NationalPointOfContact = point; !keys {
			body.Keys = nil
		}
		return w.draft().DeclareAuthority(nameOf(name), body)
	}
	first, err := said("mx/fgr", true, false) // before any designation the declarations say it
	w.do(first, err, byMX+designated)
	if e, _ := w.view().ContactPoint(mx); e.Name != nameOf("mx/fgr") {
		t.Errorf("point of contact %s", e.Name)
	}
	off, err1 := said("mx/sat", false, false)
	on, err2 := said("mx/fgr", true, false)
	other, err3 := said("mx/aaa", true, true)
	payload, err := w.draft().DesignateContactPoint(nameOf("mx/sat"), "NV 4/2026")
	w.do(payload, err, byMX+designated)
	w.do(off, err1, byMX+designated)
	w.do(on, err2, byMX+designated)
	w.do(other, err3, byMX+designated)
	members, err := w.view().Audience(authority.Category{}, AllNPC, nil)
	if err != nil || len(members) != 1 || members[0].Authority != nameOf("mx/sat") {
		t.Errorf("points of contact %v, %v", members, err)
	}
}

// PROTOCOL 4.9: the digest said a second way; one that does not fit the moment is refused.
func TestConfirm(t *testing.T) {
	w := populated(t)
	w.declareAuthority("mx/sat", "mx/node/primary")
	mx := stateOf("mx")
	h := sha256.New()
	for _, subject := range []Subject{OfAuthority(nameOf("mx/fgr")), OfNode(nodeOf("mx/node/primary")), OfAuthority(nameOf("mx/sat"))} {
		last, _ := w.s.Last(subject)
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(subject.String()))))
		h.Write([]byte(subject.String()))
		h.Write(last[:])
	}
	if got := w.s.EntriesDigest(mx); got != Hash(h.Sum(nil)) {
		t.Errorf("digest %s", got)
	}
	stale, err := w.draft().Confirm(mx)
	retire, err2 := w.draft().Retire(nameOf("mx/sat"), "")
	seen := w.see(retire, err2, byMX)
	if _, e := Follow(w.s, signed(stale, byMX)); err != nil || e != nil {
		t.Errorf("what was only seen decides: %v", e)
	}
	w.do(seen.Payload(), nil, byMX)
	w.refuse(stale, nil, byMX, "not-as-confirmed")
	w.now = w.now.AddDate(0, 5, 0)
	payload, err := w.draft().Confirm(mx)
	w.do(payload, err, byMX)
	confirmed := w.now
	for after, want := range map[time.Duration]bool{0: false, StaleAfter - time.Second: false, StaleAfter: true} {
		v := w.s.At(confirmed.Add(after))
		for _, subject := range []Subject{OfState(mx), OfAuthority(nameOf("mx/fgr")), OfNode(nodeOf("mx/node/primary"))} {
			since, got := v.Stale(subject)
			if got != want || (got && !since.Equal(confirmed.Add(StaleAfter))) {
				t.Errorf("%s after %v: %t since %v", subject, after, got, since)
			}
		}
	}
	// What was neither amended nor confirmed since its declaration is stale earlier; a key more is no amendment.
	rotate, err := w.draft().RotateAuthorityKeys(nameOf("jm/fgr"), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "k")})
	w.do(rotate, err, stateKeys("jm"))
	if since, got := w.s.At(start.Add(StaleAfter)).Stale(OfAuthority(nameOf("jm/fgr"))); !got || !since.Equal(start.Add(StaleAfter)) {
		t.Errorf("never confirmed: %t since %v", got, since)
	}
	if _, got := w.s.At(start.AddDate(9, 0, 0)).Stale(OfAuthority(nameOf("mx/sat"))); got {
		t.Error("a retired authority is stale")
	}
	if _, got := w.s.At(start.AddDate(9, 0, 0)).Stale(OfAuthority(nameOf("mx/none"))); got {
		t.Error("nobody is stale")
	}
}

// PROTOCOL 4.19: the last notice counts, in its time, and binds nobody.
func TestNotice(t *testing.T) {
	w := populated(t)
	fgr := nameOf("mx/fgr")
	payload, err := w.draft().Notice(fgr, noticeBody(w.now))
	w.do(payload, err, byMX)
	for after, want := range map[time.Duration]bool{-time.Second: false, 0: true, time.Hour - time.Second: true, time.Hour: false} {
		if n, ok := w.s.At(w.now.Add(after)).Notice(fgr); ok != want || (ok && n.Fallback != nameOf("jm/fgr")) {
			t.Errorf("after %v: %+v, %t", after, n, ok)
		}
	}
	body := noticeBody(w.now.Add(2 * time.Hour))
	body.Availability, body.End, body.Fallback = "closed", 0, ""
	payload, err = w.draft().Notice(fgr, body)
	w.do(payload, err, byMX)
	if _, ok := w.view().Notice(fgr); ok {
		t.Error("an older notice counts")
	}
	if n, ok := w.s.At(w.now.AddDate(5, 0, 0)).Notice(fgr); !ok || n.Availability != "closed" {
		t.Errorf("until another: %+v, %t", n, ok)
	}
	amended := authorityBody("mx/fgr", "mx/node/primary")
	amended.Keys = nil
	payload, err = w.draft().DeclareAuthority(fgr, amended)
	w.do(payload, err, byMX+designated)
	suspend, err := w.draft().Suspend(OfAuthority(fgr), w.now.Add(time.Hour), "")
	w.do(suspend, err, byMX)
	if _, ok := w.s.At(w.now.AddDate(5, 0, 0)).Notice(fgr); !ok {
		t.Error("an amendment or a suspension took the notice away")
	}
	if w.view().CheckAuthority(nameOf("jm/fgr")) != nil || len(w.s.At(w.now.AddDate(5, 0, 0)).Find(Query{})) != 2 {
		t.Error("a notice binds somebody")
	}
}

// PROTOCOL 4.12: what a request needs, days off and the website come back as stated, and an amendment starts from them.
func TestRestateAll(t *testing.T) {
	w := populated(t)
	body := authorityBody("mx/sat", "mx/node/primary")
	body.Website, body.Desks[0].Holidays = "https://sat.example", []string{"2027-01-06", "2028-02-29"}
	body.Requirements = []*formatv1.Requirement{
		{Needs: []*formatv1.Text{{Language: "en", Value: "A case number"}}, TypicalDays: 10, Languages: []string{"es"}, LegalSource: "Art. 18"},
		{Kind: "identify-person", Needs: []*formatv1.Text{{Language: "en", Value: "A photograph"}}}}
	payload, err := w.draft().DeclareAuthority(nameOf("mx/sat"), body)
	w.do(payload, err, byMX+designated)
	e, _ := w.view().Authority(nameOf("mx/sat"))
	if e.Website != body.Website || len(e.Requirements) != 2 || e.Requirements[0].TypicalDays != 10 || e.Requirements[1].Kind.String() != "identify-person" {
		t.Errorf("%+v", e.AuthorityDeclaration)
	}
	payload, err = w.draft().DeclareAuthority(nameOf("mx/sat"), e.Restate())
	w.do(payload, err, byMX+designated)
	again, _ := w.view().Authority(nameOf("mx/sat"))
	if got, want := again.Restate().String(), e.Restate().String(); got != want || len(again.Desks[0].Holidays) != 2 {
		t.Errorf("restated %s, was %s", got, want)
	}
}

// A revocation with an old time changes nothing but its own word: what a key signed is told by the position. PROTOCOL 4.1, 4.14.
func TestBackdatedRevocation(t *testing.T) {
	w := populated(t)
	signing := public("mx/fgr-sign").Fingerprint()
	add, err := w.draft().RotateAuthorityKeys(nameOf("mx/fgr"), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "k-2")})
	w.do(add, err, byMX)
	before := w.s
	d := w.draft()
	d.Created = w.now.AddDate(-1, 0, 0)
	payload, err := d.RevokeKey(OfAuthority(nameOf("mx/fgr")), signing, "")
	w.do(payload, err, byMX)
	h, _ := w.view().Holder(signing)
	if h.Status != KeyRevoked || h.Position != w.s.Position() || !h.Since.Equal(d.Created) {
		t.Errorf("revoked: %+v", h)
	}
	// The log up to the entry before says what the key was then, at whatever time it is asked.
	for _, at := range []time.Time{d.Created, w.now, w.now.AddDate(1, 0, 0)} {
		if h, _ := before.At(at).Holder(signing); h.Status != KeyActive {
			t.Errorf("at position %d, asked at %v: %s", before.Position(), at, h.Status)
		}
		if h, _ := w.s.At(at).Holder(signing); h.Status != KeyRevoked {
			t.Errorf("at position %d, asked at %v: %s", w.s.Position(), at, h.Status)
		}
	}
	later := w.draft()
	later.Created = w.now.AddDate(-2, 0, 0)
	payload, err = later.RevokeKey(OfAuthority(nameOf("mx/fgr")), signing, "")
	w.refuse(payload, err, byMX, "duplicate")
}
