// Package broadcast carries alerts from one node to every node of an audience, and knows who has them.
//
// An audience is a category, a rule and perhaps some states; who belongs to it is computed from the directory, by the
// publisher and by every receiver alike (PROTOCOL 7.2). For each audience a publisher has
//
//   - epochs: one symmetric key for each set of members. A new one is made when an alert is to be published and the
//     members have changed, and is granted to each member node in a control envelope (7.1, 7.3);
//   - a chain: its alerts, numbered and hashed one onto the other (7.5). Each number is one signed frame (7.4), the same
//     bytes on every road and at every repeat.
//
// Frames go over the bus, which may lose, delay, repeat or withhold them as it likes. To every member node, subscribed
// or not, the publisher also sends signed chain indexes; the node answers with its signed cumulative receipt (8.5) and
// the numbers that it misses, and these go by the direct road. So what a hub drops, narrows or wipes is noticed and
// cured, and the publisher can say of each alert and node: received, passed over, refused, or not yet.
//
// What is on the way is not written down anywhere: grants, indexes and frames to be sent follow from the chain, the
// members and their receipts in the ledger, and are made again after a restart by the same code.
//
// What an alert means, and who of this node's people sees it, is the business of an [Inbox] above. The room knows no
// gRPC, SQL, NATS or private key. Sources: DESIGN 7, 8; PROTOCOL 7, 8.5; promises P1, P2, P4, P5, P7.
package broadcast
