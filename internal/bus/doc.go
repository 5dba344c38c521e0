// Package bus is the conveyor for category alerts and mail: NATS with JetStream, at the hub ([Bus]) and at a node ([Client]). It
// is the only room that knows NATS. DESIGN 8 (NATS rights).
//
// The ledger is the truth. Whatever the bus loses, drops, doubles, reorders or invents is noticed and cured by the
// rooms above, so nothing here is durable in the sense of promise P1, and nothing that arrives is trusted: a frame
// proves itself by its own signature.
//
// # Subjects and streams
//
//	alert.<group>.<category>.<lane>.<state>          an alert of that state; PROTOCOL 7.4
//	deliver.<state>.<node>.<publisher>               what the hub hands to one node, of one publisher
//	_INBOX.<state>.<node>.>                          a node's own inbox; .again: the hub has more for it than it knew
//	ack.<state>.<node>.<publisher>                   what a node acknowledges, for the hub to pass on
//	mail.<state>.<node>.<from>, bulk.…               mail of a state for one node, and slices of attachments; PROTOCOL 10.11
//	letter.<state>.<node>.<from>, parcel.…           what the hub hands to that node of them
//	box.<state>.<node>                               a node asks how a box stands; the answer comes to its inbox, .box
//
// Each admitted state has a stream of its own, ALERT-MX, of registered category × lane subjects exactly: an invented
// subject is stored nowhere, and a flood evicts only its publisher's own alerts. No message ID is ever sent, and the
// window in which the server would look at one is the shortest it knows; another's stream has another window.
//
// # Mailboxes
//
// Mail goes between two nodes that cannot reach each other. Each pair of recipient and sending state has two streams of
// its own, MAIL--JM--PRIMARY--MX and BULK--…, made when the sender asks for them: NATS limits a stream in bytes and a
// subject only in messages, so a flood fills the flooder's own box for that recipient and nothing else, not even its own
// boxes for others. What is taken leaves the box; a full one refuses what is new. As streams acknowledge nothing, the
// publisher does not hear of that: it asks how the box stands, on a subject that the server holds it to, and the hub
// answers on that node's inbox, never on a reply subject. The answer is a hint: truth is the receipt that comes by mail.
//
// # Rights
//
// The hub's directory is the authority. A node's user key is the bus key that it declared; its token lives an hour and
// lets it publish alerts and mail that end in its own state, ask for boxes, acknowledge its own consumers, and read its own
// delivery subjects and inbox: nothing else, so it makes no stream and no consumer and asks for nothing. It names no subject of the server's
// own either, not even to acknowledge. NATS does not check the reply subject of what a client publishes, and where the
// server itself answers, it writes to that subject with rights of its own: an acknowledgement sent to it with the reply
// $JS.API.STREAM.DELETE.ALERT-BR deletes that stream (tried on 2.15.2). So a node publishes what it would have sent
// to the server, the bare text of the acknowledgement's subject, on its ack subject, and the hub passes it on without
// any reply if it is of one of the node's own consumers; and streams acknowledge nothing. The hub makes one push consumer for
// each node and publisher from the node's filters, clamped to what its authorities are competent to receive
// (`alerts-in`): a filter, or the part of one, that no competence covers is dropped without an error, since competences
// change while filters are under way and the next access shows what is left.
//
// Consumers have a window of messages and the server's flow control, so that one publisher's flood of large alerts
// neither fills a node's memory nor gets its connection cut as too slow.
//
// When the directory turns against a node, its key is revoked in the account's token and that is pushed to the server,
// which cuts the live connections; its consumers go.
package bus
