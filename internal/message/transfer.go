package message

// AttachmentRef names one attachment of one message.
type AttachmentRef struct {
	Message Key
	Index   uint32
}

// Stored is the receiver's word on an attachment. PROTOCOL 10.4.
type Stored struct {
	// Bytes safely stored, in whole chunks.
	Bytes    uint64
	Complete bool
	// Receipt is Signed(Receipt) with stage COMPLETE once every attachment of the message is whole; else empty.
	Receipt []byte
}

// Returned is a directed message that a peer gives back to a node that lost it. PROTOCOL 10.12.
type Returned struct {
	// Cursor is the giver's own.
	Cursor uint64
	// Envelope is empty where only the cursor moves on.
	Envelope []byte
	// Receipt is the Signed Receipt of who received it, as it was issued first; Complete the one for its attachments, where
	// that came later.
	Receipt  []byte
	Complete []byte
}

// Numbers is a range of chain numbers, both ends included.
type Numbers struct{ First, Last uint64 }

// ControlAnswer is what a node says to a control envelope. PROTOCOL 7.1, 10.6.
type ControlAnswer struct {
	// Receipt is the Signed ControlReceipt.
	Receipt []byte
	// Cumulative is the Signed CumulativeReceipt that answers an index; empty where there is none.
	Cumulative []byte
	// Missing are the numbers of an index that the node wants, does not have, and does not expect by the bus.
	Missing []Numbers
}

// CarriedFrame is a frame with the subject it travels under. PROTOCOL 10.7.
type CarriedFrame struct {
	Subject string
	Frame   []byte
}

// MaxFrames and MaxCarried bound the frames of one call, and their bytes unless it is one frame.
const (
	MaxFrames  = 64
	MaxCarried = 1 << 20
)
