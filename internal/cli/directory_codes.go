package cli

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// wordsNow is words with what the directory calls categories and instruments, before the shipped names. A node that
// does not say, an older one, leaves the shipped ones.
func (a *app) wordsNow(ctx context.Context, node *operator.Client) (words, error) {
	w, err := a.words()
	if err != nil {
		return words{}, err
	}
	codes, err := node.Directory.ListCodes(ctx, &operatorv1.ListCodesRequest{})
	if err != nil {
		return w, nil
	}
	w.lists = renamed(w.lists, "crime-categories", codes.GetCategories())
	w.lists = renamed(w.lists, "legal-instruments", codes.GetInstruments())
	return w, nil
}

// renamed is the lists with registered codes first and the rest of the shipped ones, for what was said before, behind.
func renamed(lists message.Lists, list string, codes []*operatorv1.RegisteredCode) message.Lists {
	var all []message.Entry
	seen := map[string]bool{}
	for _, c := range codes {
		seen[c.GetCode()] = true
		all = append(all, registeredEntry(lists, list, c))
	}
	for _, e := range lists.All(list) {
		if !seen[e.Code] {
			all = append(all, e)
		}
	}
	return lists.With(list, all)
}

func registeredEntry(lists message.Lists, list string, c *operatorv1.RegisteredCode) message.Entry {
	had, _ := lists.Entry(list, c.GetCode())
	e := message.Entry{Code: c.GetCode(), Titles: map[authority.Language]string{}, Fields: had.Fields}
	for _, t := range c.GetTitles() {
		if l, err := authority.ParseLanguage(t.GetLanguage()); err == nil {
			e.Titles[l] = t.GetValue()
		}
	}
	return e
}
