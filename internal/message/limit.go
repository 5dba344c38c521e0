package message

import "time"

// Limits of size, enforced before allocation. PROTOCOL 1.3; DESIGN 7.
const (
	MaxHeader      = 16 << 10
	MaxSealedBody  = 1 << 20
	MaxSignatures  = 8
	MaxRecipients  = 64
	MaxAttachments = 64
	MaxAttachment  = 16 << 30
	MaxItems       = 1024
	MaxReceipt     = 16 << 10
	// MaxEnvelope bounds header, signatures and sealed body with their framing.
	MaxEnvelope = MaxHeader + MaxSealedBody + 4<<10
	// MaxFrame bounds a frame with its signature: as an envelope. PROTOCOL 7.4.
	MaxFrame = MaxEnvelope
	// MaxControl bounds a control envelope: as an envelope. PROTOCOL 7.1.
	MaxControl = MaxEnvelope
	// MaxMail bounds a control envelope of mail, which carries an envelope; MaxMailBody its sealed part. PROTOCOL 10.11.
	MaxMailBody = MaxSealedBody + 128<<10
	MaxMail     = MaxMailBody + MaxHeader + 4<<10
	// MaxStates bounds the states that an audience is narrowed to.
	MaxStates = 256
	// MaxRestrictions bounds the statements attached to an epoch package, MaxEpochPackage all of it with its signature.
	MaxRestrictions = 64
	MaxEpochPackage = 512 << 10
	// MaxChainEntries and MaxChainIndex bound a chain index, the second with its signature.
	MaxChainEntries = 1024
	MaxChainIndex   = 256 << 10
	// MaxRanges bounds the ranges, and the refused numbers, of a cumulative receipt; MaxCumulativeReceipt all of it with
	// its signature.
	MaxRanges            = 16 << 10
	MaxCumulativeReceipt = 512 << 10
	// HashChunk is the chunk of attachment hashes and the unit of resumption. PROTOCOL 6.3.
	HashChunk = 256 << 10
)

// Limits of time. DESIGN 7.
const (
	// MaxAhead is how far in the future a message may be dated before it is told to come back later.
	MaxAhead = 5 * time.Minute
	// MaxLife bounds expires minus created.
	MaxLife = 366 * 24 * time.Hour
	// MaxMailLife bounds expires minus created of mail. PROTOCOL 10.11.
	MaxMailLife = 14 * 24 * time.Hour
	// UndeliverableAfter is how long after its expiry an unreceipted message is declared undeliverable.
	UndeliverableAfter = 15 * time.Minute
)
