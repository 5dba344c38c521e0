package format

import (
	"cmp"
	"strconv"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// column is one column of the table of alerts: how a cell is written, and how one that is not empty is read. set is
// false where the cell cannot be read.
type column[T any] struct {
	name string
	get  func(*T) string
	set  func(*T, string) bool
}

// columnNumber is the first column: which alert a row belongs to.
const columnNumber = "alert"

// alertColumns are what is said once for each alert.
func alertColumns() []column[Alert] {
	return []column[Alert]{
		word("category", func(a *Alert) *authority.Category { return &a.Category }, authority.ParseCategory),
		several("secondary_categories", func(a *Alert) *[]string { return &a.Notice.SecondaryCategories }),
		text("type", func(a *Alert) *string { return &a.Notice.Type }),
		code("urgency", func(a *Alert) *message.Urgency { return &a.Urgency }, message.ParseUrgency),
		text("urgency_reason", func(a *Alert) *string { return &urgencyReason(a).Code }),
		text("urgency_reason_text", func(a *Alert) *string { return &urgencyReason(a).Text }),
		code("status", func(a *Alert) *message.OperationalStatus { return &a.Status }, message.ParseOperationalStatus),
		code("distribution", func(a *Alert) *message.Distribution { return &a.Distribution }, message.ParseDistribution),
		{"states", getStates, setStates},
		text("title", func(a *Alert) *string { return &a.Notice.Title }),
		text("summary", func(a *Alert) *string { return &a.Notice.Summary }),
		text("language", func(a *Alert) *string { return &a.Notice.Language }),
		{"texts", getTexts, setTexts},
		text("details", func(a *Alert) *string { return &a.Notice.Details }),
		{"places", getPlaces, setPlaces},
		moment("from", func(a *Alert) *int64 { return &a.Notice.From }),
		moment("to", func(a *Alert) *int64 { return &a.Notice.To }),
		text("severity", func(a *Alert) *string { return &a.Notice.Severity }),
		text("certainty", func(a *Alert) *string { return &a.Notice.Certainty }),
		text("action", func(a *Alert) *string { return &a.Notice.ActionRequested }),
		text("evaluation", func(a *Alert) *string { return &a.Notice.Evaluation }),
		several("handling", func(a *Alert) *[]string { return &limits(a).Handling }),
		text("handling_text", func(a *Alert) *string { return &limits(a).HandlingText }),
		{"tlp", func(a *Alert) string { return limits(a).Tlp }, setTLP},
		text("pap", func(a *Alert) *string { return &limits(a).Pap }),
		{"do_not_inform_subject", getSilence, setSilence},
		several("legal_basis", func(a *Alert) *[]string { return &a.Notice.LegalBasis }),
		several("attestations", func(a *Alert) *[]string { return &a.Notice.Attestations }),
		several("references", func(a *Alert) *[]string { return &a.Notice.References }),
		several("tags", func(a *Alert) *[]string { return &a.Notice.Tags }),
		text("desk", func(a *Alert) *string { return &a.Notice.Desk }),
		text("call_back_phone", func(a *Alert) *string { return &callBack(a).Phone }),
		text("call_back_hours", func(a *Alert) *string { return &callBack(a).Hours }),
		text("call_back_time_zone", func(a *Alert) *string { return &callBack(a).TimeZone }),
		text("call_back_line_24_7", func(a *Alert) *string { return &callBack(a).Line_24_7 }),
		moment("valid_from", func(a *Alert) *int64 { return &a.Notice.ValidFrom }),
		moment("review_at", func(a *Alert) *int64 { return &a.Notice.ReviewAt }),
		{"expires", getExpires, setExpires},
	}
}

// subjectColumns are what is said of the one subject of a row.
func subjectColumns() []column[formatv1.Subject] {
	return []column[formatv1.Subject]{
		text("subject_type", func(s *formatv1.Subject) *string { return &s.Type }),
		text("subject_role", func(s *formatv1.Subject) *string { return &s.Role }),
		text("subject_reason", func(s *formatv1.Subject) *string { return &s.Reason }),
		text("subject_minor", func(s *formatv1.Subject) *string { return &s.Minor }),
		text("subject_confidence", func(s *formatv1.Subject) *string { return &s.Confidence }),
		{"attributes", getAttributes, setAttributes},
	}
}

func text[T any](name string, at func(*T) *string) column[T] {
	return column[T]{name, func(t *T) string { return *at(t) }, func(t *T, s string) bool { *at(t) = s; return true }}
}

func several[T any](name string, at func(*T) *[]string) column[T] {
	return column[T]{name, func(t *T) string { return formatList(*at(t)) }, func(t *T, s string) bool {
		l, ok := parseList(s)
		*at(t) = l
		return ok
	}}
}

// word is a column of a name that knows its own form; code is one of a few words.
func word[V interface{ String() string }](name string, at func(*Alert) *V, parse func(string) (V, error)) column[Alert] {
	return column[Alert]{name, func(a *Alert) string { return (*at(a)).String() }, func(a *Alert, s string) bool {
		v, err := parse(s)
		*at(a) = v
		return err == nil
	}}
}

func code[V ~string](name string, at func(*Alert) *V, parse func(string) (V, error)) column[Alert] {
	return column[Alert]{name, func(a *Alert) string { return string(*at(a)) }, func(a *Alert, s string) bool {
		v, err := parse(s)
		*at(a) = v
		return err == nil
	}}
}

// moment is a column of Unix milliseconds, 0 for none.
func moment(name string, at func(*Alert) *int64) column[Alert] {
	return column[Alert]{name, func(a *Alert) string {
		if *at(a) == 0 {
			return ""
		}
		return formatTime(time.UnixMilli(*at(a)))
	}, func(a *Alert, s string) bool {
		t, ok := parseTime(s)
		*at(a) = t.UnixMilli()
		return ok
	}}
}

func limits(a *Alert) *formatv1.Limits {
	if a.Notice.Limits == nil {
		a.Notice.Limits = &formatv1.Limits{}
	}
	return a.Notice.Limits
}

func urgencyReason(a *Alert) *formatv1.Reason {
	if a.Notice.UrgencyReason == nil {
		a.Notice.UrgencyReason = &formatv1.Reason{}
	}
	return a.Notice.UrgencyReason
}

func callBack(a *Alert) *formatv1.CallBack {
	if a.Notice.CallBack == nil {
		a.Notice.CallBack = &formatv1.CallBack{}
	}
	return a.Notice.CallBack
}

func getStates(a *Alert) string {
	var out []string
	for _, s := range a.States {
		out = append(out, s.String())
	}
	return formatList(out)
}

func setStates(a *Alert, cell string) bool {
	names, ok := parseList(cell)
	for _, name := range names {
		s, err := authority.ParseState(name)
		a.States, ok = append(a.States, s), ok && err == nil
	}
	return ok
}

// setTLP takes the word of version 1 for what it is called now; domain.md 4.4.
func setTLP(a *Alert, cell string) bool {
	if cell == "WHITE" {
		cell = "CLEAR"
	}
	limits(a).Tlp = cell
	return true
}

func getSilence(a *Alert) string {
	if limits(a).DoNotInformSubject {
		return "yes"
	}
	return ""
}

func setSilence(a *Alert, cell string) bool {
	limits(a).DoNotInformSubject = cell == "yes"
	return cell == "yes" || cell == "no"
}

func getExpires(a *Alert) string {
	if a.Expires.IsZero() {
		return ""
	}
	return formatTime(a.Expires)
}

func setExpires(a *Alert, cell string) bool {
	t, ok := parseTime(cell)
	a.Expires = t
	return ok
}

// getTexts writes "language/translation=title~summary".
func getTexts(a *Alert) string {
	var out []item
	for _, t := range a.Notice.GetTexts() {
		out = append(out, item{[5]string{t.GetLanguage(), t.GetTranslation()}, t.GetTitle(), t.GetSummary()})
	}
	return formatItems(out)
}

func setTexts(a *Alert, cell string) bool {
	items, ok := parseItems(cell)
	for _, it := range items {
		a.Notice.Texts = append(a.Notice.Texts, &formatv1.AlertText{Language: it.path[0], Translation: it.path[1], Title: it.value, Summary: it.note})
		ok = ok && it.path[2] == ""
	}
	return ok
}

// getPlaces writes "state/kind/latitude/longitude/precision=name~region", degrees as decimal numbers, precision in metres.
func getPlaces(a *Alert) string {
	var out []item
	for _, p := range a.Notice.GetPlaces() {
		precision := ""
		if p.GetPrecisionM() != 0 {
			precision = strconv.FormatUint(uint64(p.GetPrecisionM()), 10)
		}
		path := [5]string{p.GetState(), p.GetKind(), formatDegrees(p.GetLatitudeE6()), formatDegrees(p.GetLongitudeE6()), precision}
		out = append(out, item{path, p.GetName(), p.GetRegion()})
	}
	return formatItems(out)
}

func setPlaces(a *Alert, cell string) bool {
	items, ok := parseItems(cell)
	for _, it := range items {
		latitude, north := parseDegrees(it.path[2])
		longitude, east := parseDegrees(it.path[3])
		precision, err := strconv.ParseUint(cmp.Or(it.path[4], "0"), 10, 32)
		ok = ok && north && east && err == nil
		a.Notice.Places = append(a.Notice.Places, &formatv1.Place{
			State: it.path[0], Kind: it.path[1], LatitudeE6: latitude, LongitudeE6: longitude, PrecisionM: uint32(precision), Name: it.value, Region: it.note,
		})
	}
	return ok
}

// getAttributes writes "name/kind/country=value~note".
func getAttributes(s *formatv1.Subject) string {
	var out []item
	for _, a := range s.GetAttributes() {
		out = append(out, item{[5]string{a.GetName(), a.GetKind(), a.GetCountry()}, a.GetValue(), a.GetNote()})
	}
	return formatItems(out)
}

func setAttributes(s *formatv1.Subject, cell string) bool {
	items, ok := parseItems(cell)
	for _, it := range items {
		s.Attributes = append(s.Attributes, &formatv1.Attribute{Name: it.path[0], Kind: it.path[1], Country: it.path[2], Value: it.value, Note: it.note})
		ok = ok && it.path[0] != "" && it.path[3] == "" && it.path[4] == ""
	}
	return ok
}
