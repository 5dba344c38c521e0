package format

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// say writes attributes as "name/kind=value@country (note)", leaving out what is empty.
func say(attributes []*formatv1.Attribute) []string {
	var out []string
	for _, a := range attributes {
		s := a.GetName()
		if a.GetKind() != "" {
			s += "/" + a.GetKind()
		}
		s += "=" + a.GetValue()
		if a.GetCountry() != "" {
			s += "@" + a.GetCountry()
		}
		if a.GetNote() != "" {
			s += " (" + a.GetNote() + ")"
		}
		out = append(out, s)
	}
	return out
}

func TestSubjects(t *testing.T) {
	entries, _ := read(t, os.DirFS("testdata/list"))
	want := [][]string{
		{
			"name/primary=IBÁÑEZ MUÑOZ, José Ángel",
			"name/alias=PEPE ÑATO (a.k.a.)",
			"address=Calle Niños Héroes 5, Culiacán, Mexico@mx",
			"birth-date/exact=10 Dec 1948",
			"birth-date/approximate=circa 1951 (alt.)",
			"birth-place=Culiacán, Sinaloa, Mexico@mx",
			"nationality=Mexico@mx",
			"nationality=Colombia@co (citizen)",
			"sex=Male",
			"identity-number/passport=A1234567@mx (Passport; issued 14 Dec 2005 expires 13 Dec 2010)",
			"identity-number/passport=Z000000(0) (alt. Passport; Atlantis)",
			"identity-number/tax=IAMJ-481210-AB1@mx (R.F.C.)",
			"name/alias=EL ÑATO (a.k.a.)",
			"description=member of the chess club",
			"description=COMPAÑÍA DE PRUEBA, S.A. DE C.V. (Linked To)",
		},
		{
			"name/primary=COMPAÑÍA DE PRUEBA, S.A. DE C.V.",
			"name/alias=PRUEBA VIEJA (f.k.a.)",
			"name/alias=PRUEBA NUEVA (n.k.a.; since 2010)",
			"address=Colombia@co (branch)",
			"registration-number/tax=800000000-0@co (NIT)",
			"phone=(57)(1)(5550000)",
			"e-mail=correo@example.org",
			"website=www.example.org",
			"description=OTRA, S.A. DE C.V. (Linked To)",
		},
		{
			"name/primary=NAVÍO DE PRUEBA",
			"call-sign=XX0001",
			"type=General Cargo",
			"tonnage=99,144 (Tonnage)",
			"tonnage=56,068 (Gross registered tonnage)",
			"flag=Panama@pa",
			"owner=Armadora Ñ",
			"description=Colón, Panama (Address)",
		},
		{
			"name/primary=XX-TST",
			"registration=XX-TST",
			"model=IL76-TD",
			"operator=ÁÉREA",
			"serial=0000000001 (Aircraft Manufacturer's Serial Number (MSN))",
		},
		{
			"name/primary=GÓMEZ, Ana",
			"occupation=Ministra",
			"occupation=Coronel",
			"description=Subject (see note; and more) 2",
		},
	}
	for i, e := range entries {
		if got := say(e.Subjects()[0].GetAttributes()); !slices.Equal(got, want[i]) {
			t.Errorf("entry %d:\n got %s\nwant %s", e.Number, strings.Join(got, "\n     "), strings.Join(want[i], "\n     "))
		}
	}
	assets := entries[0].Subjects()[1:]
	if len(assets) != 1 || assets[0].GetType() != "virtual-asset" {
		t.Fatalf("assets = %v, want one", assets)
	}
	if got, want := say(assets[0].GetAttributes()), []string{"address=1ExampleExampleExample", "currency=XBT"}; !slices.Equal(got, want) {
		t.Errorf("asset = %q, want %q", got, want)
	}
}

func TestCategories(t *testing.T) {
	tests := []struct {
		programmes string
		want       string
		organised  bool
	}{
		{"SDNTK", "drugs.trafficking", true},
		{"SDNT] [SDNTK", "drugs.trafficking", true},
		{"TCO] [SDNTK", "drugs.trafficking ocg.general", true},
		{"GLOMAG", "corruption.general", false},
		{"SDNTKX", "", false},
		{"CUBA", "", false},
	}
	for _, test := range tests {
		e := Entry{Programmes: parseProgrammes(test.programmes)}
		var got []string
		for _, c := range e.Categories() {
			got = append(got, c.String())
		}
		if strings.Join(got, " ") != test.want || e.Organised() != test.organised {
			t.Errorf("%s: categories %q, organised %t; want %q, %t", test.programmes, got, e.Organised(), test.want, test.organised)
		}
	}
}

// lists are the registered codes, in the room that owns them.
func lists(t testing.TB) message.Lists {
	t.Helper()
	l, err := message.LoadLists()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTables(t *testing.T) {
	tables, lists := loadTables(), lists(t)
	forms := []string{"text", "whole", "phone", "date", "country", "place", "quoted", "number", "asset"}
	types := map[string][]string{
		"individual": {"person"}, "entity": {"organisation"}, "vessel": {"vessel"}, "aircraft": {"aircraft"},
		"any": {"person", "organisation", "vessel", "aircraft"},
	}
	for _, r := range tables.rules {
		subjects := types[r.listed]
		if r.form == "asset" {
			subjects = []string{"virtual-asset"}
		}
		if !slices.Contains(forms, r.form) || len(subjects) == 0 || r.prefix == "" {
			t.Errorf("rule %+v has an unknown form or type, or no prefix", r)
		}
		for _, s := range subjects {
			entry, ok := lists.Entry("subject:"+s, r.attribute)
			if !ok || r.kind != "" && !slices.Contains(strings.Split(entry.Fields["kinds"], "|"), r.kind) {
				t.Errorf("%s: attribute %s/%s of a %s is not registered", r.prefix, r.attribute, r.kind, s)
			}
		}
	}
	for _, p := range tables.programmes {
		if !lists.Has("crime-categories", p.category.String()) {
			t.Errorf("programme %s: category %s is not registered", p.name, p.category)
		}
	}
	for name, code := range tables.countries {
		if len(code) != 2 || strings.ToLower(code) != code || name == "" {
			t.Errorf("country %q has the code %q", name, code)
		}
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		listed Type
		part   string
		want   string
	}{
		{Individual, "DOB 1951", "birth-date/year=1951"},
		{Individual, "DOB 01 Jan 1960 to 31 Dec 1960", "birth-date/approximate=01 Jan 1960 to 31 Dec 1960"},
		{Individual, "DOB unknown", ""},
		{Individual, "DOBSON was here", ""},
		{Individual, "POB Kinshasa, Congo, Democratic Republic of the", "birth-place=Kinshasa, Congo, Democratic Republic of the@cd"},
		{Individual, "nationality possibly Palestinian", "nationality=possibly Palestinian"},
		{Individual, "Cedula No. T.I. 00000-00001 (Colombia)", "identity-number/national-id=00000-00001@co (Cedula No. T.I.)"},
		{Individual, "alt. C.U.R.P. # XEXX010101HNEXXXA4 (Mexico)", "identity-number/national-id=XEXX010101HNEXXXA4@mx (alt. C.U.R.P.)"},
		{Individual, "SSN 123-45-6789 (United States)", "identity-number/social-security=123-45-6789@us (SSN)"},
		{Individual, "Driver's License No. X1 expires 01 Jan 2001", "identity-number/driver-licence=X1 (Driver's License No.; expires 01 Jan 2001)"},
		{Individual, "D.N.I. 12345678", "identity-number/national-id=12345678 (D.N.I.)"},
		{Individual, "a.k.a. 'ABD ' AL-X'", "name/alias=ABD ' AL-X (a.k.a.)"},
		{Individual, "a.k.a. NOQUOTES", ""},
		{Individual, "Passport lost", ""},
		{Individual, "Fax: 123", "phone=123 (Fax)"},
		{Entity, "NIT # Provisional (Colombia)", ""},
		{Entity, "International Maritime Organization No. (0000002)", "registration-number/other=(0000002) (International Maritime Organization No.)"},
		{Entity, "ALL OFFICES WORLDWIDE", "description=ALL OFFICES WORLDWIDE"},
		{Entity, "DOB 1951", ""},
		{Vessel, "Vessel Registration Identification IMO 0000001", "imo=0000001"},
		{Vessel, "MMSI 000000001", "mmsi=000000001"},
		{Vessel, "alt. Former Vessel Flag Tuvalu", "flag=Tuvalu@tv (alt. Former Vessel Flag)"},
		{Aircraft, "Previous Aircraft Tail Number X-TEST", "registration=X-TEST (Previous Aircraft Tail Number)"},
	}
	for _, test := range tests {
		r, ok := known().parse(test.listed, test.part)
		got := ""
		if ok {
			got = say([]*formatv1.Attribute{r.attribute()})[0]
		}
		if got != test.want {
			t.Errorf("parse(%s, %q) = %q, want %q", test.listed, test.part, got, test.want)
		}
	}
}

func TestSplitRemarks(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{".", ""},
		{"a; b;c.", "a|b|c"},
		{"a (b; c); d.", "a (b; c)|d"},
		{"a (b; c", "a (b|c"},
		{"a ) b; c ( d; e", "a ) b|c ( d|e"},
		{"Linked To: X S.A.", "Linked To: X S.A."},
		{"Linked To: X LTDA.", "Linked To: X LTDA."},
		{"Website www.example.org.", "Website www.example.org"},
	}
	for _, test := range tests {
		if got := strings.Join(splitRemarks(test.text), "|"); got != test.want {
			t.Errorf("splitRemarks(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

// TestSampleRecognised measures the rules against the real list, and holds that every value is registered.
func TestSampleRecognised(t *testing.T) {
	entries, _ := read(t, sample(t))
	registered := lists(t)
	parts, ruled, titles, crime, crimeKnown := 0, 0, 0, 0, 0
	for _, e := range entries {
		checkRegistered(t, registered, e)
		checkSubjects(t, e)
		for _, part := range splitRemarks(e.Remarks) {
			_, ok := known().parse(e.Type, part)
			title := !ok && slices.Contains(e.titles(), part)
			parts++
			count(&ruled, ok)
			count(&titles, title)
			count(&crime, e.Organised())
			count(&crimeKnown, e.Organised() && (ok || title))
		}
	}
	t.Logf("%d parts of remarks: %d by a rule, %d repeat the title, %.2f %% recognised; narcotics and organised crime %d of %d, %.2f %%",
		parts, ruled, titles, 100*float64(ruled+titles)/float64(parts), crimeKnown, crime, 100*float64(crimeKnown)/float64(crime))
	if 100*(ruled+titles) < 95*parts || 100*crimeKnown < 98*crime {
		t.Errorf("fewer than 95 %% (98 %% for narcotics and organised crime) recognised")
	}
}

func count(n *int, ok bool) {
	if ok {
		*n++
	}
}

func checkRegistered(t *testing.T, registered message.Lists, e Entry) {
	t.Helper()
	for _, s := range e.Subjects() {
		if !registered.Has("subject_role", s.GetRole()) {
			t.Errorf("entry %d: role %q is not registered", e.Number, s.GetRole())
		}
		for _, a := range s.GetAttributes() {
			entry, ok := registered.Entry("subject:"+s.GetType(), a.GetName())
			kinds := strings.Split(entry.Fields["kinds"], "|")
			if !ok || a.GetKind() != "" && !slices.Contains(kinds, a.GetKind()) {
				t.Errorf("entry %d: attribute %s/%s of a %s is not registered", e.Number, a.GetName(), a.GetKind(), s.GetType())
			}
		}
	}
}

// checkSubjects holds what is true of any entry: it has a name, no empty value, only text, and no word of the remarks
// is lost.
func checkSubjects(t *testing.T, e Entry) {
	t.Helper()
	var all strings.Builder
	for _, s := range e.Subjects() {
		for _, a := range s.GetAttributes() {
			if strings.TrimSpace(a.GetValue()) == "" || !utf8.ValidString(a.GetValue()+a.GetNote()) {
				t.Errorf("entry %d: attribute %q has the value %q, note %q", e.Number, a.GetName(), a.GetValue(), a.GetNote())
			}
			all.WriteString(a.GetValue() + " " + a.GetNote() + " ")
		}
	}
	have := map[string]bool{}
	for _, w := range words(all.String()) {
		have[w] = true
	}
	for _, part := range splitRemarks(e.Remarks) {
		said := ""
		if r, ok := known().parse(e.Type, part); ok {
			said = r.label
			if r.rule.form == "asset" {
				said = r.rule.prefix
			}
			if r.alpha2 != "" {
				said += " " + r.country
			}
		}
		for _, w := range words(part) {
			if !have[w] && !slices.Contains(words(said), w) && w != "alt" {
				t.Errorf("entry %d: %q of %q is lost", e.Number, w, part)
			}
		}
	}
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
}

func FuzzRemarks(f *testing.F) {
	for _, s := range []string{
		"DOB 10 Dec 1948; alt. DOB circa 1951; POB Culiacán, Sinaloa, Mexico; nationality Mexico; Gender Male.",
		"Passport A1 (Peru) issued 1999 expires 2009; alt. NIT # 1-2 (Colombia); a.k.a. 'X'; C.U.R.P. # 1.",
		"Digital Currency Address - XBT 1Ex; Linked To: X, S.A. DE C.V.; (a; b); all offices worldwide",
		"Vessel Registration Identification IMO 0000001; MMSI 000000001; Former Vessel Flag Malta; Aircraft Model 7.",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		for _, listed := range []Type{Individual, Entity, Vessel, Aircraft} {
			checkSubjects(t, Entry{Number: 1, Name: "X", Type: listed, Remarks: text})
		}
	})
}
