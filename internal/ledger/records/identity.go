package records

import (
	"io"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// Owner says whose ledger is to be opened.
type Owner struct {
	Network string
	Node    authority.Node
	// Origin begins the name of the evidence log; the incarnation completes it: "<Origin>/1-<16 hex digits>".
	Origin string
	Random io.Reader
}

// Identify reads whose ledger it is, or gives a new one its identity; fresh says that no event was written yet. Conflict
// "other-node" where it is another's.
func Identify(c Conn, owner Owner) (id ledger.Identity, fresh bool, err error) {
	id, found, err := readIdentity(conn{c})
	if err == nil && !found {
		id, err = createIdentity(conn{c}, owner)
	}
	if err != nil {
		return ledger.Identity{}, false, err
	}
	if err := owner.owns(id); err != nil {
		return ledger.Identity{}, false, err
	}
	events, err := NewReader(c).EventCount()
	return id, events == 0, err
}

// Identified is Identify of a ledger that is only read: NotFound where it has no identity yet. Of the owner, network and
// node count.
func Identified(c Conn, owner Owner) (ledger.Identity, error) {
	id, found, err := readIdentity(conn{c})
	switch {
	case err != nil:
		return ledger.Identity{}, err
	case !found:
		return ledger.Identity{}, ledger.Absent("identity")
	}
	return id, owner.owns(id)
}

func (o Owner) owns(id ledger.Identity) error {
	if id.Network == o.Network && id.Node == o.Node {
		return nil
	}
	return fault.New(fault.Conflict, "other-node", "open ledger", "the ledger belongs to another node or network").
		WithHint("check network and node in the configuration against the data directory")
}

func readIdentity(c conn) (id ledger.Identity, found bool, err error) {
	found, err = c.one(func(r *row) {
		id = ledger.Identity{Network: r.text(), Node: r.node()}
		id.Incarnation = message.Incarnation{Counter: uint32(r.integer())}
		copy(id.Incarnation.Random[:], r.blob())
		id.Origin = r.text()
	}, "SELECT network, node, counter, random, origin FROM identity")
	return id, found, err
}

func createIdentity(c conn, owner Owner) (ledger.Identity, error) {
	id := ledger.Identity{Network: owner.Network, Node: owner.Node, Incarnation: message.Incarnation{Counter: 1}}
	if _, err := io.ReadFull(owner.Random, id.Incarnation.Random[:]); err != nil {
		return id, fault.Wrap(err, fault.Internal, "", "make ledger", "no randomness")
	}
	id.Origin = originOf(owner, id.Incarnation)
	return id, c.exec("INSERT INTO identity (one, network, node, counter, random, origin) VALUES (1, ?, ?, ?, ?, ?)",
		id.Network, id.Node.String(), int64(id.Incarnation.Counter), id.Incarnation.Random[:], id.Origin)
}
