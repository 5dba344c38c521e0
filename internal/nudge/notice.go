package nudge

import (
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	idPrefix = "nudge_"
	idLength = 26 // characters of base 32: 130 bits
	base32   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// ID names one nudge, the same at each attempt, so that receivers can drop repeats. It is drawn at random and never
// derived from the item: the identifier of an item does not even have its form.
type ID struct{ s string }

// NewID draws an ID.
func NewID() ID { return ID{idPrefix + rand.Text()} }

// ParseID reads an ID that a queue has kept. Kind Invalid.
func ParseID(s string) (ID, error) {
	text, ok := strings.CutPrefix(s, idPrefix)
	if !ok || len(text) != idLength || strings.Trim(text, base32) != "" {
		return ID{}, fault.New(fault.Invalid, "malformed-id", "read nudge", "this is not the ID of a nudge")
	}
	return ID{s}, nil
}

// String is the form to keep.
func (id ID) String() string { return id.s }

// Notice is all that a nudge says. It must never grow a field about the item: everyone between here and a telephone's
// lock screen can read it.
type Notice struct {
	// Authority is for whom something immediate waits.
	Authority authority.Name
	// Language of the mail: es, en, pt or fr; any other is told in English.
	Language authority.Language
	ID       ID
	// Time is when the item came; whole seconds are told.
	Time time.Time
}

// words is a mail in one language.
type words struct{ subject, before, after, at string }

var wordings = map[string]words{
	"es": {"Enlace: un asunto inmediato espera", "Un asunto inmediato espera a ", " en su nodo de Enlace. Inicie sesión para leerlo.\n\n" +
		"Este aviso no lleva contenido. No lo responda.\n", "Llegada: "},
	"en": {"Enlace: an immediate item is waiting", "An immediate item is waiting for ", " at its Enlace node. Log in to read it.\n\n" +
		"This notice carries no content. Do not reply to it.\n", "Arrived: "},
	"pt": {"Enlace: um assunto imediato aguarda", "Um assunto imediato aguarda ", " em seu nó Enlace. Entre no sistema para ler.\n\n" +
		"Este aviso não traz conteúdo. Não responda.\n", "Chegada: "},
	"fr": {"Enlace : un élément immédiat attend", "Un élément immédiat attend ", " sur son nœud Enlace. Connectez-vous pour le lire.\n\n" +
		"Cet avis ne porte aucun contenu. N'y répondez pas.\n", "Arrivée : "},
}

// text is subject and body of the mail.
func (n Notice) text() (subject, body string) {
	w, ok := wordings[n.Language.String()]
	if !ok {
		w = wordings["en"]
	}
	return w.subject, w.before + n.Authority.String() + w.after + w.at + n.Time.UTC().Format("2006-01-02 15:04:05") + " UTC\n"
}

// payload is the body of the webhook (Standard Webhooks, payload structure).
func (n Notice) payload() ([]byte, error) {
	type data struct {
		Authority string `json:"authority"`
	}
	return json.Marshal(struct {
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
		Data      data   `json:"data"`
	}{"item.immediate", n.Time.UTC().Format(time.RFC3339), data{n.Authority.String()}})
}

func (n Notice) check() error {
	if n.Authority.IsZero() || n.ID == (ID{}) || n.Time.IsZero() {
		return fault.New(fault.Invalid, "incomplete-notice", opSend, "a notice names an authority, an ID and a time")
	}
	return nil
}
