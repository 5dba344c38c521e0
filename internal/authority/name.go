package authority

import (
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
)

// State is a member state ("mx") or a regional body ("x-rss"). The zero value names nobody.
type State struct{ s string }

// Name is a competent authority of a state: "mx/fgr".
type Name struct{ s string }

// Node is a node of a state: "mx/node/primary".
type Node struct{ s string }

// Category is a crime category with its group, "drugs.trafficking", or a group alone, "drugs".
type Category struct{ s string }

// RequestKind is the slug of a request kind: "identify-person".
type RequestKind struct{ s string }

// Lane is a delivery lane: "immediate", "urgent", "routine", "bulk".
type Lane struct{ s string }

// Language is one of the network's languages: "es", "en", "pt", "fr", or another ISO 639-1 code in data.
type Language struct{ s string }

const (
	maxSlug     = 32 // characters of one token, PROTOCOL 2.1
	nodeToken   = "node"
	bodyPrefix  = "x-"
	minCategory = 2
	maxCategory = 24
)

// ParseState reads a state name. PROTOCOL 2.2.
func ParseState(s string) (State, error) {
	if len(s) == 2 && isLetters(s) {
		return State{s}, nil
	}
	if rest, ok := strings.CutPrefix(s, bodyPrefix); ok && IsSlug(rest) {
		return State{s}, nil
	}
	return State{}, malformed("state", "a state is two lower-case letters, such as mx, or x- and a slug")
}

// ParseName reads an authority name. PROTOCOL 2.3.
func ParseName(s string) (Name, error) {
	state, slug, ok := strings.Cut(s, "/")
	if _, err := ParseState(state); err != nil || !ok || !IsSlug(slug) || slug == nodeToken {
		return Name{}, malformed("authority", "an authority is a state, a slash and a slug, such as mx/fgr")
	}
	return Name{s}, nil
}

// ParseNode reads a node name. PROTOCOL 2.4.
func ParseNode(s string) (Node, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 || parts[1] != nodeToken || !IsSlug(parts[2]) {
		return Node{}, malformed("node", "a node is a state, the word node and a slug, such as mx/node/primary")
	}
	if _, err := ParseState(parts[0]); err != nil {
		return Node{}, malformed("node", "a node is a state, the word node and a slug, such as mx/node/primary")
	}
	return Node{s}, nil
}

// ParseCategory reads a category or a group. PROTOCOL 2.5.
func ParseCategory(s string) (Category, error) {
	group, rest, two := strings.Cut(s, ".")
	if !isCategoryToken(group) || (two && !isCategoryToken(rest)) {
		return Category{}, malformed("category", "a category is a group and a name, such as drugs.trafficking")
	}
	return Category{s}, nil
}

// ParseRequestKind reads the slug of a request kind. PROTOCOL 2.8.
func ParseRequestKind(s string) (RequestKind, error) {
	if !IsSlug(s) {
		return RequestKind{}, malformed("request kind", "a request kind is a slug, such as identify-person")
	}
	return RequestKind{s}, nil
}

// ParseLane reads a lane. PROTOCOL 2.8.
func ParseLane(s string) (Lane, error) {
	switch s {
	case "immediate", "urgent", "routine", "bulk":
		return Lane{s}, nil
	}
	return Lane{}, malformed("lane", "a lane is immediate, urgent, routine or bulk")
}

// ParseLanguage reads an ISO 639-1 code. PROTOCOL 2.8.
func ParseLanguage(s string) (Language, error) {
	if len(s) != 2 || !isLetters(s) {
		return Language{}, malformed("language", "a language is two lower-case letters, such as es")
	}
	return Language{s}, nil
}

func (s State) String() string       { return s.s }
func (n Name) String() string        { return n.s }
func (n Node) String() string        { return n.s }
func (c Category) String() string    { return c.s }
func (k RequestKind) String() string { return k.s }
func (l Lane) String() string        { return l.s }
func (l Language) String() string    { return l.s }

// IsZero reports whether the value names nobody.
func (s State) IsZero() bool    { return s.s == "" }
func (n Name) IsZero() bool     { return n.s == "" }
func (n Node) IsZero() bool     { return n.s == "" }
func (c Category) IsZero() bool { return c.s == "" }

// State is the state an authority belongs to.
func (n Name) State() State {
	state, _, _ := strings.Cut(n.s, "/")
	return State{state}
}

// Slug is the authority's part after the state.
func (n Name) Slug() string {
	_, slug, _ := strings.Cut(n.s, "/")
	return slug
}

// State is the state a node belongs to.
func (n Node) State() State {
	state, _, _ := strings.Cut(n.s, "/")
	return State{state}
}

// Slug is the node's last token.
func (n Node) Slug() string { return n.s[strings.LastIndexByte(n.s, '/')+1:] }

// Group is the first token of a category.
func (c Category) Group() Category {
	group, _, _ := strings.Cut(c.s, ".")
	return Category{group}
}

// Covers reports whether competence for c includes d: the same category, or c is d's group.
func (c Category) Covers(d Category) bool {
	return c == d || (c.s != "" && strings.HasPrefix(d.s, c.s+"."))
}

func isLetters(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return s != ""
}

// IsSlug reports whether s is one token: a-z, 0-9 and inner single dashes, 1 to 32 characters. PROTOCOL 2.1.
func IsSlug(s string) bool {
	if s == "" || len(s) > maxSlug || s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func isCategoryToken(s string) bool {
	return len(s) >= minCategory && len(s) <= maxCategory && IsSlug(s)
}

// malformed never repeats the input: it may be hostile or personal.
func malformed(what, rule string) error {
	return fault.New(fault.Invalid, "malformed-name", "read "+what, rule)
}
