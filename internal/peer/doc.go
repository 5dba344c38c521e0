// Package peer is the door of a node to other nodes: the gRPC server that takes envelopes and attachments in, and the
// courier that carries ours out. PROTOCOL 10.1 to 10.4, 10.6 to 10.8.
//
// A handler converts, makes one call inward ([Inbox], [Road], [Shelf]) and converts back; no rule lives here. Who may call is decided
// by room wire at the handshake and again on every call: a node of an admitted state, neither suspended nor revoked in
// the directory of now. The node's name goes inward with every call, and the exchange checks it against the sender.
//
// The courier keeps two connections to a peer: one for envelopes, one for attachments, so that a large file never
// stands in the way of an urgent message (DESIGN 8).
package peer
