package operator

import (
	"context"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/catalog"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/policy"
)

// cardTime bounds how long an answer waits for contact cards that the hub has and this node has not.
const cardTime = 3 * time.Second

// reader is one look at the directory: whose, at which time, in which language, with cards or without.
type reader struct {
	door  *Door
	view  directory.View
	codes message.Lists
	lang  authority.Language
	now   time.Time
	here  *time.Location
	// cards is nil where telephone and mailbox are not asked for. It ends when the hub did not answer: a card on disk
	// is found without it.
	cards context.Context
	away  context.CancelFunc
	// instruments are those that the caller's state declared; declared, that it did.
	instruments []string
	declared    bool
}

// read begins a look for a caller who may, in a language and a zone that may be empty. The caller calls close.
func (d *Door) read(ctx context.Context, language, zone string, cards bool) (*reader, error) {
	view, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	r := &reader{door: d, view: view, codes: d.codes(view), now: view.Time(), away: func() {}}
	if language == "" {
		language = "en"
	}
	if r.lang, err = authority.ParseLanguage(language); err != nil {
		return nil, err
	}
	if r.here, err = d.hereOf(ctx, view, zone); err != nil {
		return nil, err
	}
	r.instruments, r.declared = view.InstrumentsOf(d.c.Node.State())
	if cards && d.c.Contacts != nil {
		r.cards, r.away = context.WithTimeout(ctx, cardTime)
	}
	return r, nil
}

// codesAt are the labels that go with a snapshot: made once, asked often.
type codesAt struct {
	of    *directory.Snapshot
	lists message.Lists
}

func (d *Door) codes(view directory.View) message.Lists {
	if had := d.labels.Load(); had != nil && had.of == view.Snapshot() {
		return had.lists
	}
	made := &codesAt{view.Snapshot(), catalog.All(view, d.c.Lists)}
	d.labels.Store(made)
	return made.lists
}

func (r *reader) close() { r.away() }

// look is the directory as it is now, for a caller who may read it.
func (d *Door) look(ctx context.Context) (directory.View, error) {
	if err := d.allow(callerFrom(ctx).Principal, policy.DirectoryRead, authority.Name{}); err != nil {
		return directory.View{}, err
	}
	return d.snapshotNow()
}

func (d *Door) snapshotNow() (directory.View, error) {
	s := d.c.Directory.Load()
	if s == nil {
		return directory.View{}, fault.New(fault.Retry, "no-directory", "read directory", "this node has no directory yet").
			WithHint("wait until it has reached the hub or a peer")
	}
	return s.At(d.c.Now()), nil
}

// hereOf is the caller's zone: the one named, else that of the first desk of the caller's authority, else UTC.
func (d *Door) hereOf(ctx context.Context, view directory.View, zone string) (*time.Location, error) {
	if zone != "" {
		return d.zones.load(zone)
	}
	own, _ := view.Authority(callerFrom(ctx).Authority)
	for _, desk := range own.Desks {
		if l, err := d.zones.load(desk.TimeZone); err == nil {
			return l, nil
		}
	}
	return time.UTC, nil
}

// visible is false for hidden authorities of other states. PROTOCOL 4.12.
func (r *reader) visible(a directory.AuthorityEntry) bool {
	return !a.Hidden || a.Name.State() == r.door.c.Node.State()
}

// named is a name that may stand in an answer: empty for an authority that the caller may not see, lest another's entry
// tell of it.
func (r *reader) named(name authority.Name) string {
	if name.IsZero() {
		return ""
	}
	if a, ok := r.view.Authority(name); ok && !r.visible(a) {
		return ""
	}
	return name.String()
}

func (r *reader) code(list, code string) *operatorv1.CodeInfo {
	return &operatorv1.CodeInfo{Code: code, Title: r.codes.Label(list, code, r.lang)}
}

func (r *reader) coded(list string, codes []string) []*operatorv1.CodeInfo {
	var all []*operatorv1.CodeInfo
	for _, c := range codes {
		all = append(all, r.code(list, c))
	}
	return all
}

func (r *reader) state(s directory.StateEntry) *operatorv1.StateInfo {
	out := &operatorv1.StateInfo{
		Name: s.State.String(), Status: s.Status.String(), Title: r.codes.Label("member-states", upper(s.State), r.lang),
		NoteVerbale: s.NoteVerbale, Position: s.Position, Until: milli(s.Until), Unconfirmed: s.Unconfirmed, Recovery: recoveryOf(s),
	}
	if out.Title == upper(s.State) {
		out.Title = ""
	}
	if npc, ok := r.view.ContactPoint(s.State); ok {
		out.ContactPointDesignated, out.ContactPoint = true, r.named(npc.Name)
	}
	codes, declared := r.view.InstrumentsOf(s.State)
	out.InstrumentsDeclared, out.Instruments = declared, r.coded(catalog.Instruments, codes)
	return out
}

func (r *reader) node(n directory.NodeEntry) *operatorv1.NodeInfo {
	confirmed, stale := r.standing(directory.OfNode(n.Node))
	return &operatorv1.NodeInfo{
		Name: n.Node.String(), Endpoints: n.Endpoints, Status: n.Status.String(), NoteVerbale: n.NoteVerbale, Position: n.Position,
		Confirmed: confirmed, StaleSince: stale, Until: milli(n.Until), Unconfirmed: n.Unconfirmed, Versions: n.Versions, MaxBody: n.MaxBody,
	}
}

func (r *reader) authority(a directory.AuthorityEntry) *operatorv1.AuthorityInfo {
	confirmed, stale := r.standing(directory.OfAuthority(a.Name))
	out := &operatorv1.AuthorityInfo{
		Name: a.Name.String(), Acronym: a.Acronym, Type: a.Type, Status: a.Status.String(), Node: a.Node.String(),
		Languages: texts(a.Languages), NationalPointOfContact: a.NationalPointOfContact, Hidden: a.Hidden, NoteVerbale: a.NoteVerbale,
		Position: a.Position, Confirmed: confirmed, StaleSince: stale, Until: milli(a.Until), Unconfirmed: a.Unconfirmed,
		Website: a.Website, Parent: r.named(a.Parent), Requirements: r.requirements(a), Notice: r.notice(a.Name),
	}
	if npc, ok := r.view.ContactPoint(a.Name.State()); ok {
		out.ContactPoint = npc.Name == a.Name
	}
	for _, n := range a.Names {
		out.Names = append(out.Names, &operatorv1.LocalName{Language: n.Language.String(), Value: n.Value})
	}
	r.competences(a, out)
	for _, desk := range a.Desks {
		out.Desks = append(out.Desks, r.desk(a.Name, desk))
	}
	return out
}

func (r *reader) competences(a directory.AuthorityEntry, out *operatorv1.AuthorityInfo) {
	for _, c := range a.Competences {
		info := &operatorv1.CompetenceInfo{
			Function: c.Function, Categories: texts(c.Categories), Kinds: texts(c.Kinds), Territory: c.Territory, LegalSource: c.LegalSource,
		}
		out.Competences = append(out.Competences, info)
		out.Functions, out.Categories = append(out.Functions, c.Function), append(out.Categories, info.GetCategories()...)
	}
	out.Functions, out.Categories = distinct(out.Functions), distinct(out.Categories)
}

// common adds the instruments that the authority's state and the caller's have both declared. A state that declared
// none has said nothing of what binds it.
func (r *reader) common(out *operatorv1.AuthorityInfo, state authority.State) {
	theirs, declared := r.view.InstrumentsOf(state)
	out.InstrumentsKnown = isUnknown
	if !declared || !r.declared {
		return
	}
	out.InstrumentsKnown = "declared"
	both := slices.DeleteFunc(slices.Clone(theirs), func(code string) bool { return !slices.Contains(r.instruments, code) })
	out.Instruments = r.coded(catalog.Instruments, both)
}

// desk adds telephone and mailbox where the node holds the desk's card or the hub gives it; a desk without one is still
// a desk.
func (r *reader) desk(of authority.Name, desk directory.Desk) *operatorv1.DeskInfo {
	out := &operatorv1.DeskInfo{
		Slug: desk.Slug, TimeZone: desk.TimeZone, Hours: desk.Hours, Languages: texts(desk.Languages), Holidays: desk.Holidays,
		Opening: r.door.openingInfo(desk, r.now, r.here),
	}
	if r.cards == nil || desk.Card.IsZero() {
		return out
	}
	card, err := r.door.c.Contacts.Card(r.cards, desk.Card)
	if fault.Is(err, fault.Retry) {
		r.away()
	}
	// A card is a desk's if hash, authority and desk agree. PROTOCOL 4.8.
	if err == nil && card.Authority == of && card.Desk == desk.Slug {
		out.Phone, out.Mailbox, out.Phone_24_7, out.SatellitePhone = card.Phone, card.Mailbox, card.Phone24x7, card.SatellitePhone
	}
	return out
}

func distinct(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}
