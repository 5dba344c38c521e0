// Package ledger says what a node remembers and under which promises: messages, receipts, deliveries, requests as a
// person sees them, drafts, attachments, conflicts, and the evidence log of everything that was done; and of alerts:
// epochs, chains of ours and their audiences, chains that are followed, alerts as a person sees them, subscriptions.
//
// The package is the contract: records, the [Ledger] interface, and the evidence log ([Log], [Verify]), which is the
// same over every engine. Engines live below it (ledger/sqlite, ledger/postgres), share their statements and their writer
// (ledger/records), and prove themselves with ledger/ledgertest. A node
// opens one engine and hands it down as a [Ledger]; rooms above never see SQL.
//
// One transaction holds one fact with its events: it is on stable storage when [Ledger.Update] returns nil, and wholly
// absent otherwise (P1, P14). Transactions are committed in groups by one writer, so event numbers, cursors and
// references have no gaps and no races. Envelopes are kept as they came, sealed; receipts are kept byte for byte and
// for ever. The ledger decides nothing: it refuses only what would contradict what it holds.
//
// Times are kept to the millisecond, as the protocol has them, and come back in UTC; a zero time stays zero. Byte
// slices handed in are not kept, those handed out belong to the caller.
//
// Sources: DESIGN 8 and 9; PROTOCOL 7 and 8.5 (epochs, chains, cumulative receipts), 9 (event leaf, checkpoint,
// incarnation).
package ledger
