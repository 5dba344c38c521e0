package format

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Organised reports whether the entry is listed for narcotics trafficking or as a transnational criminal organisation:
// whether one of its programmes is marked so in data/programmes.csv (SDNTK, SDNT, TCO).
func (e Entry) Organised() bool {
	return slices.ContainsFunc(known().programmes, func(p programme) bool {
		return p.organised && slices.Contains(e.Programmes, p.name)
	})
}

// Categories are the crime categories of the entry's programmes, the primary one first, each once. Empty when no
// programme has one.
func (e Entry) Categories() []authority.Category {
	var out []authority.Category
	for _, p := range known().programmes {
		if slices.Contains(e.Programmes, p.name) && !slices.Contains(out, p.category) {
			out = append(out, p.category)
		}
	}
	return out
}

// Subjects turns the entry into typed subjects: first the person, organisation, vessel or aircraft itself, then one
// virtual asset for each digital currency address. Values are as written. Role is "unknown", for a listing is no
// finding of ours, and reason names the source; callers may put their own.
func (e Entry) Subjects() []*formatv1.Subject {
	b := &builder{entry: e, tables: known(), titles: e.titles()}
	b.main = &formatv1.Subject{Type: e.subjectType(), Role: "unknown", Reason: e.source()}
	if e.Type == Individual {
		b.main.Minor = "unknown"
	}
	b.addNames()
	b.addColumns()
	b.addAddresses()
	for _, part := range splitRemarks(e.Remarks) {
		b.addRemark(part)
	}
	return append([]*formatv1.Subject{b.main}, b.assets...)
}

func (e Entry) subjectType() string {
	switch e.Type {
	case Individual:
		return "person"
	case Entity:
		return "organisation"
	}
	return string(e.Type)
}

func (e Entry) source() string {
	return fmt.Sprintf("entry %d of the OFAC SDN list, programmes: %s", e.Number, strings.Join(e.Programmes, ", "))
}

// builder collects the attributes of one entry.
type builder struct {
	entry  Entry
	tables tables
	titles []string
	main   *formatv1.Subject
	assets []*formatv1.Subject
}

func (b *builder) add(a *formatv1.Attribute) { b.main.Attributes = append(b.main.Attributes, a) }

func (b *builder) addNames() {
	name := b.entry.Name
	b.add(&formatv1.Attribute{Name: "name", Value: name, Kind: "primary"})
	if b.entry.Type == Aircraft {
		b.addTail(name)
	}
	for _, a := range b.entry.Aliases {
		note := a.Kind
		if a.Remark != "" {
			note += "; " + a.Remark
		}
		b.add(&formatv1.Attribute{Name: "name", Value: a.Name, Kind: "alias", Note: note})
	}
}

// addTail adds what the list uses as an aircraft's name: its registration ("XX-TST"), or "MSN 001" without one.
func (b *builder) addTail(name string) {
	serial, ok := strings.CutPrefix(name, "MSN ")
	switch {
	case ok:
		b.add(&formatv1.Attribute{Name: "serial", Value: serial, Note: "MSN"})
	case !strings.Contains(name, " "):
		b.add(&formatv1.Attribute{Name: "registration", Value: name})
	}
}

// addColumns adds the columns of sdn.csv, as descriptions where the list fills a column that this type does not have.
func (b *builder) addColumns() {
	for _, title := range b.titles {
		b.addColumn(Individual, "occupation", "Title", title)
	}
	b.addColumn(Vessel, "call-sign", "", b.entry.CallSign)
	b.addColumn(Vessel, "type", "", b.entry.VesselType)
	b.addColumn(Vessel, "tonnage", "Tonnage", b.entry.Tonnage)
	b.addColumn(Vessel, "tonnage", "Gross registered tonnage", b.entry.GrossTonnage)
	b.addColumn(Vessel, "flag", "", b.entry.Flag)
	b.addColumn(Vessel, "owner", "", b.entry.Owner)
}

func (b *builder) addColumn(of Type, attribute, label, value string) {
	if value == "" {
		return
	}
	if b.entry.Type != of {
		b.describe(value, cmp.Or(label, attribute))
		return
	}
	a := &formatv1.Attribute{Name: attribute, Value: value}
	switch attribute {
	case "tonnage":
		a.Note = label
	case "flag":
		a.Country = b.tables.countries[value]
	}
	b.add(a)
}

func (b *builder) addAddresses() {
	for _, a := range b.entry.Addresses {
		parts := slices.DeleteFunc([]string{a.Street, a.City, a.Country}, func(s string) bool { return s == "" })
		value := strings.Join(parts, ", ")
		if value == "" {
			b.describe(a.Remark, "Address")
			continue
		}
		if b.entry.Type != Individual && b.entry.Type != Entity {
			b.describe(value, strings.TrimSuffix("Address; "+a.Remark, "; "))
			continue
		}
		b.add(&formatv1.Attribute{Name: "address", Value: value, Country: b.tables.countries[a.Country], Note: a.Remark})
	}
}

func (b *builder) describe(value, note string) {
	b.add(&formatv1.Attribute{Name: "description", Value: value, Note: note})
}

// addRemark adds one part of the remarks: typed where a rule understands it, else word for word.
func (b *builder) addRemark(part string) {
	r, ok := b.tables.parse(b.entry.Type, part)
	switch {
	case ok && r.rule.form == "asset":
		b.addAsset(r)
	case ok:
		b.add(r.attribute())
	case !slices.Contains(b.titles, part):
		b.describe(part, "")
	}
}

// titles are the parts of the title. The list repeats nearly every one as a remark, which then says nothing new.
func (e Entry) titles() []string { return splitRemarks(e.Title) }

func (r remark) attribute() *formatv1.Attribute {
	a := &formatv1.Attribute{Name: r.rule.attribute, Value: r.value, Kind: r.rule.kind, Country: r.alpha2, Note: r.note()}
	if r.rule.form == "date" {
		a.Kind = precision(r.value)
	}
	return a
}

func (b *builder) addAsset(r remark) {
	note := r.rest
	if r.alt {
		note = strings.TrimSuffix("alt.; "+note, "; ")
	}
	b.assets = append(b.assets, &formatv1.Subject{
		Type: "virtual-asset", Role: "unknown", Reason: b.entry.source(),
		Attributes: []*formatv1.Attribute{
			{Name: r.rule.attribute, Value: r.value, Note: note},
			{Name: "currency", Value: r.label},
		},
	})
}
