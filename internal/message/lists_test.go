package message

import (
	"slices"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

func shipped(t testing.TB) Lists {
	t.Helper()
	l, err := LoadLists()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Every code of every list has a title in each of the four languages.
func TestListsAreCompleteInFourLanguages(t *testing.T) {
	l := shipped(t)
	for _, name := range l.Names() {
		seen := map[string]bool{}
		for _, code := range l.Codes(name) {
			if code == "" || code != strings.TrimSpace(code) || seen[code] {
				t.Errorf("%s: the code %q is empty, padded or twice", name, code)
			}
			seen[code] = true
			e, ok := l.Entry(name, code)
			if !ok {
				t.Errorf("%s: %s is listed and not found", name, code)
			}
			for _, language := range []string{"en", "es", "pt", "fr"} {
				lang, err := authority.ParseLanguage(language)
				if err != nil {
					t.Fatal(err)
				}
				if strings.TrimSpace(e.Titles[lang]) == "" {
					t.Errorf("%s: %s has no title in %s", name, code, language)
				}
			}
		}
	}
}

// The lists have as many codes as were shipped; one that shrinks loses someone's code.
func TestListsAreWhole(t *testing.T) {
	l := shipped(t)
	for name, want := range map[string]int{
		"request-kinds": 34, "crime-categories": 102, "refusal-reasons": 20, "legal-instruments": 18, "alert-types": 14, "alert-actions": 7,
		"member-states": 35, "urgency": 3, "urgency_reason": 10, "operational_status": 4, "handling": 4, "tlp": 5, "pap": 4, "stage": 6,
		"intended_use": 4, "evaluation_source": 4, "evaluation_information": 4, "subject_role": 9, "request_state": 17, "distribution": 3,
		"alert_state": 7, "subject:person": 14, "severity": 5, "certainty": 5, "cancel_reason": 6, "feedback": 3, "attestation": 4,
	} {
		if got := len(l.Codes(name)); got < want {
			t.Errorf("%s has %d codes, want %d", name, got, want)
		}
	}
	if len(l.Codes("no such list")) != 0 || l.Has("no such list", "x") || l.Has("urgency", "") {
		t.Error("a list that does not exist has codes")
	}
}

// Every attribute says whether it can identify a person, and every type of alert what it may hold: rules rest on both.
func TestListsSayWhatIsPersonal(t *testing.T) {
	l := shipped(t)
	for _, name := range l.Names() {
		for _, code := range l.Codes(name) {
			e, _ := l.Entry(name, code)
			if strings.HasPrefix(name, "subject:") && !slices.Contains([]string{"yes", "no"}, e.Fields["personal"]) {
				t.Errorf("%s: %s does not say whether it is personal", name, code)
			}
			if name == "subject:person" && e.Fields["personal"] != "yes" {
				t.Errorf("what is said of a person is personal: %s", code)
			}
			if name == "alert-types" && !slices.Contains([]string{"yes", "protected", "limited", "maybe", "no", "forbidden"}, e.Fields["personal_data"]) {
				t.Errorf("alert type %s does not say what personal data it holds", code)
			}
		}
	}
}

// What the lists name is what the parsers read.
func TestListsFitTheParsers(t *testing.T) {
	l := shipped(t)
	for _, code := range l.Codes("request-kinds") {
		if _, err := authority.ParseRequestKind(code); err != nil {
			t.Errorf("request kind %s: %v", code, err)
		}
	}
	for _, code := range l.Codes("crime-categories") {
		c, err := authority.ParseCategory(code)
		if err != nil {
			t.Errorf("category %s: %v", code, err)
			continue
		}
		e, _ := l.Entry("crime-categories", code)
		if parent := e.Fields["parent"]; (parent == "") != (c.Group() == c) || (parent != "" && (parent != c.Group().String() || !l.Has("crime-categories", parent))) {
			t.Errorf("category %s has parent %q", code, parent)
		}
	}
	for _, code := range l.Codes("member-states") {
		if _, err := authority.ParseState(strings.ToLower(code)); err != nil {
			t.Errorf("state %s: %v", code, err)
		}
	}
	for _, code := range l.Codes("urgency") {
		if _, err := ParseUrgency(code); err != nil {
			t.Error(err)
		}
	}
	for _, code := range l.Codes("operational_status") {
		if _, err := ParseOperationalStatus(code); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []State{Draft, PendingApproval, Queued, Delivered, Undeliverable, Acknowledged, Answered, Refused, Closed} {
		if !l.Has("request_state", string(s)) {
			t.Errorf("the state %s has no title", s)
		}
	}
}

func TestLabels(t *testing.T) {
	l := shipped(t)
	for _, test := range []struct{ list, code, language, want string }{
		{"urgency", "URGENT", "es", "Urgente"},
		{"urgency", "ROUTINE", "fr", "Ordinaire"},
		{"urgency", "ROUTINE", "nl", "Routine"}, // English where there is no title
		{"urgency", "NO_CODE", "es", "NO_CODE"},
		{"no list", "X", "es", "X"},
	} {
		lang, err := authority.ParseLanguage(test.language)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Label(test.list, test.code, lang); got != test.want {
			t.Errorf("%s %s in %s = %q, want %q", test.list, test.code, test.language, got, test.want)
		}
	}
	if err := l.CheckCode("urgency", "URGENT"); err != nil {
		t.Error(err)
	}
	if err := l.CheckCode("urgency", "SOON"); fault.CodeOf(err) != "unknown-code" || !strings.Contains(err.Error(), "urgency") {
		t.Errorf("unknown code: %v", err)
	}
}

// A caller cannot change the list that others see.
func TestCodesAreACopy(t *testing.T) {
	l := shipped(t)
	codes := l.Codes("urgency")
	slices.Reverse(codes)
	if slices.Equal(codes, l.Codes("urgency")) {
		t.Error("the codes handed out are the list itself")
	}
}
