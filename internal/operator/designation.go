package operator

import (
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// never is later than any time in a statement.
const never = 1 << 40

// standing is when an entry was last declared, amended or confirmed, and since when it is stale; 0 = it is not.
// PROTOCOL 4.9.
func (r *reader) standing(subject directory.Subject) (confirmed, stale int64) {
	// Once everything is stale, the directory says since when.
	if limit, ok := r.view.Snapshot().At(time.Unix(never, 0)).Stale(subject); ok {
		confirmed = milli(limit.Add(-directory.StaleAfter))
	}
	since, _ := r.view.Stale(subject)
	return confirmed, milli(since)
}

// notice is the one in force; nil if there is none. PROTOCOL 4.19.
func (r *reader) notice(name authority.Name) *operatorv1.NoticeInfo {
	n, ok := r.view.Notice(name)
	if !ok {
		return nil
	}
	return &operatorv1.NoticeInfo{
		Availability: n.Availability, Start: milli(n.Start), End: milli(n.End), Fallback: r.named(n.Fallback), Text: n.Text, InForce: true,
	}
}

func (r *reader) requirements(a directory.AuthorityEntry) []*operatorv1.RequirementInfo {
	var all []*operatorv1.RequirementInfo
	for _, q := range a.Requirements {
		info := &operatorv1.RequirementInfo{
			Kind: q.Kind.String(), TypicalDays: uint32(q.TypicalDays), Languages: texts(q.Languages), LegalSource: q.LegalSource,
		}
		if t, ok := said(q.Needs, r.lang); ok {
			info.Needs, info.Language = t.Value, t.Language.String()
		}
		all = append(all, info)
	}
	return all
}

// said is a text in a language, else the first there is.
func said(all []directory.Text, lang authority.Language) (directory.Text, bool) {
	for _, t := range all {
		if t.Language == lang {
			return t, true
		}
	}
	if len(all) == 0 {
		return directory.Text{}, false
	}
	return all[0], true
}

// requiredFor are the requirements for one kind: its own, else those for all kinds. PROTOCOL 4.12.
func requiredFor(all []*operatorv1.RequirementInfo, kind authority.RequestKind) []*operatorv1.RequirementInfo {
	var general []*operatorv1.RequirementInfo
	for _, q := range all {
		switch q.GetKind() {
		case kind.String():
			return []*operatorv1.RequirementInfo{q}
		case "":
			general = append(general, q)
		}
	}
	return general
}

func recoveryOf(s directory.StateEntry) string {
	switch {
	case s.Recovery == nil:
		return ""
	case s.Recovery.Vetoed:
		return "vetoed"
	}
	return "held"
}

func upper(s authority.State) string { return strings.ToUpper(s.String()) }
