package exchange

import (
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

// served reports whether this node serves an authority of the current directory.
func (e *Exchange) served(view directory.View, name authority.Name) (bool, error) {
	if err := view.CheckAuthority(name); err != nil {
		return false, err
	}
	node, ok := view.NodeOf(name)
	return ok && node.Node == e.Node, nil
}

// covers reports whether an authority declared competence for a request.
func covers(to directory.AuthorityEntry, c Composition) bool {
	return slices.ContainsFunc(to.Competences, func(comp directory.Competence) bool {
		return len(comp.Categories) == 0 || slices.ContainsFunc(comp.Categories, func(has authority.Category) bool { return has.Covers(c.Category) })
	})
}

// waiting is Retry where a recipient belongs to this node but may not receive now: a suspension passes, and a signed
// rejection would not. PROTOCOL 8.3.
func (e *Exchange) waiting(view directory.View, h message.Header) error {
	for _, r := range h.Recipients {
		node, ok := view.NodeOf(r.Authority)
		if r.Authority == h.Sender || !ok || node.Node != e.Node {
			continue
		}
		if err := view.CheckAuthority(r.Authority); fault.CodeOf(err) == directory.Suspended.String() {
			return fault.Wrap(err, fault.Retry, "suspended", opReceive, "the addressed authority is suspended")
		}
	}
	return nil
}

// addressees are the recipients of a header that this node serves, the sender aside.
func (e *Exchange) addressees(view directory.View, h message.Header) []message.Recipient {
	var out []message.Recipient
	for _, r := range h.Recipients {
		if r.Authority == h.Sender {
			continue
		}
		if own, err := e.served(view, r.Authority); err == nil && own {
			out = append(out, r)
		}
	}
	return out
}
