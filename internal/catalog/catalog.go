package catalog

import (
	"maps"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/message"
)

// The lists of room message that the directory has registers for.
const (
	Categories  = "crime-categories"
	Instruments = "legal-instruments"
)

// Now are the lists that what is newly said must keep to. PROTOCOL 4.18.
func Now(v directory.View, shipped message.Lists) message.Lists {
	if len(v.Categories()) > 0 {
		shipped = shipped.With(Categories, categories(v, shipped))
	}
	if len(v.Instruments()) > 0 {
		shipped = shipped.With(Instruments, instruments(v, shipped))
	}
	return shipped
}

// All are the lists for reading and for labels: nothing that was ever shipped is missing.
func All(v directory.View, shipped message.Lists) message.Lists {
	now := Now(v, shipped)
	for _, list := range []string{Categories, Instruments} {
		entries := now.All(list)
		for _, e := range shipped.All(list) {
			if !now.Has(list, e.Code) {
				entries = append(entries, e)
			}
		}
		now = now.With(list, entries)
	}
	return now
}

func categories(v directory.View, shipped message.Lists) []message.Entry {
	var all []message.Entry
	for _, c := range v.Categories() {
		e := entry(shipped, Categories, c.Category.String(), c.Titles)
		e.Fields["slug"], e.Fields["status"], e.Fields["iccs_code"], e.Fields["parent"] = e.Code, c.Status, c.ICCS, ""
		if group := c.Category.Group(); group != c.Category {
			e.Fields["parent"] = group.String()
		}
		e.Fields["successor"] = ""
		if !c.Successor.IsZero() {
			e.Fields["successor"] = c.Successor.String()
		}
		all = append(all, e)
	}
	return all
}

func instruments(v directory.View, shipped message.Lists) []message.Entry {
	var all []message.Entry
	for _, i := range v.Instruments() {
		e := entry(shipped, Instruments, i.Code, i.Titles)
		e.Fields["code"] = i.Code
		all = append(all, e)
	}
	return all
}

// entry is a registered code with its titles, and those of the shipped list in languages where the directory has none.
func entry(shipped message.Lists, list, code string, titles []directory.Text) message.Entry {
	had, _ := shipped.Entry(list, code)
	e := message.Entry{Code: code, Titles: map[authority.Language]string{}, Fields: map[string]string{}}
	maps.Copy(e.Titles, had.Titles)
	maps.Copy(e.Fields, had.Fields)
	for _, t := range titles {
		e.Titles[t.Language] = t.Value
	}
	return e
}
