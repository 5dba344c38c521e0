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
