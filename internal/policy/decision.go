package policy

import (
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// Decision is the answer.
type Decision struct {
	Allowed bool
	// Reasons are the rules that decided, in the order of their files; never empty.
	Reasons []Reason
	// Obligations are what the caller must do because it was allowed, such as "retrospective-approval".
	Obligations []string
	// Openings are, where no rule permitted and none forbade, the rules that permit this action to somebody else.
	Openings []Reason
}

// Reason is one rule and what it says.
type Reason struct {
	// ID is the rule's @id.
	ID string
	// text by language; "en" is always there. Never changed once made.
	text map[string]string
}

// Text is the rule's sentence in a language; in English where it has none in that one.
func (r Reason) Text(lang authority.Language) string {
	if s, ok := r.text[lang.String()]; ok {
		return s
	}
	return r.text["en"]
}

// Words are the reasons as "ID: sentence", one a line.
func (d Decision) Words(lang authority.Language) []string {
	words := make([]string, 0, len(d.Reasons)+len(d.Openings))
	for _, r := range d.Reasons {
		words = append(words, r.ID+": "+r.Text(lang))
	}
	for _, r := range d.Openings {
		words = append(words, r.ID+": "+r.Text(lang))
	}
	return words
}

// Refusal is nil if it is allowed; else a Denied error that says why and, as a hint, who may.
func (d Decision) Refusal(a Action, lang authority.Language) error {
	if d.Allowed {
		return nil
	}
	refusal := fault.New(fault.Denied, "policy", a.String(), join(d.Reasons, lang))
	return refusal.WithHint(join(d.Openings, lang))
}

func join(reasons []Reason, lang authority.Language) string {
	var s []string
	for _, r := range reasons {
		s = append(s, r.Text(lang))
	}
	return strings.Join(s, "; ")
}

// denied is a decision that needs no rule.
func denied(id string, text map[string]string) Decision {
	return Decision{Reasons: []Reason{{ID: id, text: text}}}
}

func denyIncomplete() Decision {
	return denied("incomplete-question", map[string]string{
		"en": "it is not known who asks, for which authority, or what for",
		"es": "no se sabe quién pregunta, por qué autoridad o para qué",
		"pt": "não se sabe quem pede, por qual autoridade ou para quê",
		"fr": "on ne sait pas qui demande, pour quelle autorité ou dans quel but",
	})
}

func denyByDefault() Decision {
	return denied("no-rule", map[string]string{
		"en": "no rule permits it to this person or system",
		"es": "ninguna regla lo permite a esta persona o sistema",
		"pt": "nenhuma regra o permite a esta pessoa ou sistema",
		"fr": "aucune règle ne le permet à cette personne ou à ce système",
	})
}

func denyOnFailure(rule string) Decision {
	return denied(rule, map[string]string{
		"en": "the rule could not be evaluated, so it is denied",
		"es": "no se pudo evaluar la regla, por lo que se deniega",
		"pt": "não foi possível avaliar a regra, por isso é negado",
		"fr": "la règle n'a pas pu être évaluée ; c'est donc refusé",
	})
}
