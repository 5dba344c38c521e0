// Package doctor examines a node and says what to do.
//
// It looks at what keeps a node from its work: disk, clock, certificates, unlock key, ledger, evidence log, directory, bus,
// queues, and the other nodes. Each look gives findings ([Finding]): of which component, in which state, under a stable
// code, in one sentence what was found and in one what to do. A look that takes too long or cannot be made is a finding too,
// of state [Unknown]: nothing is called well that was not seen to be.
//
// Other nodes are not asked how they are: each is sent a real message and has to answer with a real receipt. A [Prober]
// makes a signed and sealed control envelope of kind "probe" (PROTOCOL 7.6), hands it to the peer by the ordinary road, and
// verifies the signed receipt by the ordinary code; an [Answerer] at the other end verifies, opens, commits, and only then
// answers. Between two people it would be "can you read this, and have you written it down?".
//
// The looks are functions over what they are given, so that a node that runs and one that is stopped are examined by the
// same code; who has a ledger, a directory or a courier hands it in behind the small interfaces declared here. The room
// writes nothing but one file of a few bytes on each disk, which it removes, and what an [Answerer] commits. It knows no
// gRPC, SQL, NATS or private key. Sources: DESIGN 5, 9; PROTOCOL 7.6.
package doctor
