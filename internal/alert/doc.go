// Package alert keeps the life of an alert as people see it: who writes and approves it, to whom it goes, who of this
// node gets to see it, what they said of it, and how it ends.
//
// An alert is a conversation. Its issuer sends ALERT, then ALERT_UPDATE as often as needed, then ALERT_CANCEL; receivers
// answer with ALERT_FEEDBACK. An alert to a category or to all national points of contact goes by room broadcast to an
// audience, one to named authorities by room exchange as an ordinary envelope. The ledger has one row for each authority
// of this node that sees the alert ([ledger.Alert]): the issuer's, and one for each receiver that is entitled to it and
// wants it. The messages are kept once, sealed, and opened for each look.
//
//	DRAFT -> (PENDING_APPROVAL) -> ISSUED -> UPDATED* -> CANCELLED | EXPIRED | SUPERSEDED       domain.md 4.9
//
// The next version of an issued alert is a draft beside it: the row stays in force until that is published.
//
// Messages may come in any order. The highest version counts; a cancellation that comes first leaves a row of version 0,
// and the alert that comes after it is kept and locked. Only the authority that issued an alert moves it. Where an alert
// is over its receivers are shown no content any more; what the issuer itself said, it goes on seeing.
//
// An alert that this node took for the sake of one authority's subscription is remembered for its other entitled
// authorities too, in a row that nobody is shown ([unmatched]), so that a later subscription finds it.
//
// Every operation runs in the order of room exchange: look, decide, commit, tell. The room knows no gRPC, SQL, NATS or
// private key. Sources: domain.md 4.1, 4.4, 4.9, 5, 7, 12; DESIGN 7 to 9; PROTOCOL 7, 8.4; promises P1, P2, P4, P11.
package alert
