// Package exchange is the heart of a node: it composes, submits, delivers, receives, answers and closes requests.
//
// Every operation runs in one order: look (read the ledger and the directory snapshot), decide (rules, policy,
// sealing, opening), commit (one ledger transaction per fact, synced before it returns), tell (answer the caller, wake
// the courier, wake the watchers). Whatever is told was committed before; whatever was committed and not told is told
// again by the ordinary code: the courier reads what is due from the ledger, a repeated delivery gets the stored
// receipt.
//
// Officers act through the methods that take an [Actor]; the gate (policy) decides each call with the item in hand.
// Other nodes act through Receive, AttachmentStatus and ReceiveAttachment; the door has checked who they are, and
// every call is authorised again here against the current snapshot.
//
// The room knows no gRPC, SQL, NATS or private key: it declares the interfaces it needs ([Keys], [Directory],
// [Courier], [Gate]) and is handed the ledger. Source: domain.md 4.7, 6, 9; DESIGN 7, 8; promises P1, P2, P3, P5.
package exchange
