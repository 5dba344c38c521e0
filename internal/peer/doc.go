// Package peer is the door of a node to other nodes: the gRPC server that takes envelopes and attachments in, and the
// courier that carries ours out. PROTOCOL 10.1 to 10.10.
//
// A handler converts, makes one call inward ([Inbox], [Road], [Shelf], [Directory]) and converts back; no rule lives here.
// Who may call is decided by room wire at the handshake and by [Allow] again on every call: a node of an admitted state,
// neither suspended nor revoked in the directory of now. To hand in a statement, and nothing else, a suspended node may
// call too, and who holds a state or steward key. The node's name goes inward with every call, and the exchange checks it
// against the sender.
//
// The [Mesh] lets peers cure the directory without the hub. After each greeting two nodes compare what they have, and who
// is behind fetches it. A restriction that comes into force on sight is passed on once by everybody: at once over open
// connections, then within seconds by dialling the rest, in random order, leaving out who brought it. It bounds what one
// peer can cost: a ration of statements before any signature is looked at, one flow of entries at a time, one connection
// at a time to each peer, and nobody waits for one that does not answer. What it misses the next greeting mends.
//
// The courier keeps two connections to a peer: one for envelopes, one for attachments, so that a large file never
// stands in the way of an urgent message (DESIGN 8). Where nobody can dial a node its [Collector] lends both to its peers.
package peer
