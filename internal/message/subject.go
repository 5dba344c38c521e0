package message

import (
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// alertToken begins every subject of an alert.
const alertToken = "alert"

// Subject is where a category alert travels: alert.<group>.<category>.<lane>.<state>. The state is the sender's. It is
// comparable; the zero value is no subject. PROTOCOL 7.4.
type Subject struct {
	category authority.Category
	lane     authority.Lane
	state    authority.State
}

// ParseSubject reads the five tokens; wildcards are no subject. Invalid code "malformed-name".
func ParseSubject(s string) (Subject, error) {
	tokens := strings.Split(s, ".")
	if len(tokens) != 5 || tokens[0] != alertToken {
		return Subject{}, badSubject()
	}
	category, err := authority.ParseCategory(tokens[1] + "." + tokens[2])
	if err != nil {
		return Subject{}, err
	}
	lane, err := authority.ParseLane(tokens[3])
	if err != nil {
		return Subject{}, err
	}
	state, err := authority.ParseState(tokens[4])
	if err != nil {
		return Subject{}, err
	}
	return Subject{category, lane, state}, nil
}

// SubjectOf is the subject that a header's words give. A category that is a group alone has none: Invalid code
// "malformed-name"; a context with an audience that was parsed never has it.
func SubjectOf(c Context) (Subject, error) {
	if c.Category == c.Category.Group() || c.Sender.IsZero() {
		return Subject{}, badSubject()
	}
	return Subject{c.Category, c.Urgency.Lane(), c.Sender.State()}, nil
}

func badSubject() error {
	return fault.New(fault.Invalid, "malformed-name", "read subject", "a subject is alert, group, category, lane and state, joined by dots")
}

// Category is group and name.
func (s Subject) Category() authority.Category { return s.category }

// Lane is the delivery lane.
func (s Subject) Lane() authority.Lane { return s.lane }

// State is the sender's.
func (s Subject) State() authority.State { return s.state }

// IsZero reports whether there is no subject.
func (s Subject) IsZero() bool { return s.category.IsZero() }

// String is the text of the subject.
func (s Subject) String() string {
	return strings.Join([]string{alertToken, s.category.String(), s.lane.String(), s.state.String()}, ".")
}
