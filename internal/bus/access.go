package bus

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
)

// Access is a node's right to use the bus for a while, as the hub gives it. PROTOCOL 11.7.
type Access struct {
	// URLs are servers, tls://host:port; none where the network has no bus.
	URLs []string
	// CA is PEM: whom to trust as a server of the bus.
	CA []byte
	// JWT is the user token for the node's own bus key.
	JWT string
	// Expires is when the server will cut a connection made with it.
	Expires time.Time
	// Deliver, a dot and a publisher's state are the subject of its alerts.
	Deliver string
	// Publishers are the states whose alerts the hub has a consumer for.
	Publishers []authority.State
}
