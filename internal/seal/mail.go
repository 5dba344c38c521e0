package seal

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// The kinds of mail, with their bodies. No call carries them. PROTOCOL 10.11.
const (
	MailEnvelope ControlKind = "mail-envelope" // bytes of an Envelope
	MailReceipt  ControlKind = "mail-receipt"  // Signed Receipt
	MailSlice    ControlKind = "mail-slice"    // Slice
	MailStatus   ControlKind = "mail-status"   // SliceStatus
)

func mails() controlRules {
	return controlRules{func(k ControlKind) error {
		switch k {
		case MailEnvelope, MailReceipt, MailSlice, MailStatus:
			return nil
		}
		return fault.New(fault.Invalid, "unknown-kind", "read mail", "this version does not know this kind of mail")
	}, message.MaxMail, message.MaxMailBody}
}

// NewMail seals and signs one mail. Errors: TooLarge for a body that no envelope or slice has. PROTOCOL 10.11.
func NewMail(ctx context.Context, d ControlDraft, signer Signer, known *Recipients) (Control, error) {
	return newControl(ctx, d, signer, known, mails())
}

// ParseMail bounds and splits. What ParseControl takes need not be mail, nor the other way round: Open tells by the kind.
// PROTOCOL 1.3, 10.11.
func ParseMail(b []byte) (ParsedControl, error) { return splitControl(b, mails()) }

// ReceiptAbout is the message that a signed receipt says it is about. Nothing of it is verified: it finds the header that
// VerifyReceipt wants.
func ReceiptAbout(signed []byte) (message.Key, error) {
	payload, _, err := splitSigned(signed, message.MaxReceipt)
	if err != nil {
		return message.Key{}, err
	}
	r, err := message.ParseReceipt(payload)
	return r.Message, err
}

// Slice is a part of an attachment's sealed bytes; without Data it only asks for a status. PROTOCOL 10.11.
type Slice struct {
	Of     message.AttachmentRef
	Offset uint64
	Data   []byte
}

// Marshal writes the body of a mail.
func (s Slice) Marshal() []byte {
	return canonical.Marshal(&formatv1.MailSlice{
		Sender: s.Of.Message.Sender.String(), MessageId: s.Of.Message.ID.Bytes(), Index: s.Of.Index, Offset: s.Offset, Data: s.Data,
	})
}

// ParseSlice reads the body of a mail. PROTOCOL 10.11.
func ParseSlice(b []byte) (Slice, error) {
	var m formatv1.MailSlice
	if err := canonical.Unmarshal(b, &m, message.HashChunk+message.MaxHeader); err != nil {
		return Slice{}, err
	}
	if len(m.GetData()) > message.HashChunk || m.GetOffset() > message.MaxAttachment*2 {
		return Slice{}, fault.New(fault.TooLarge, "too-large", "read mail", "the slice is larger than allowed")
	}
	of, err := parseRef(m.GetSender(), m.GetMessageId(), m.GetIndex())
	return Slice{Of: of, Offset: m.GetOffset(), Data: m.GetData()}, err
}

// SliceStatus is how much of an attachment the receiver has. PROTOCOL 10.11.
type SliceStatus struct {
	Of message.AttachmentRef
	// Stored are bytes on stable storage, from the first on.
	Stored uint64
	// Complete: size and root agree.
	Complete bool
	// Again: what was sent beyond Stored is lost.
	Again bool
}

// Marshal writes the body of a mail.
func (s SliceStatus) Marshal() []byte {
	return canonical.Marshal(&formatv1.MailStatus{
		Sender: s.Of.Message.Sender.String(), MessageId: s.Of.Message.ID.Bytes(), Index: s.Of.Index,
		Stored: s.Stored, Complete: s.Complete, Again: s.Again,
	})
}

// ParseSliceStatus reads the body of a mail. PROTOCOL 10.11.
func ParseSliceStatus(b []byte) (SliceStatus, error) {
	var m formatv1.MailStatus
	if err := canonical.Unmarshal(b, &m, message.MaxHeader); err != nil {
		return SliceStatus{}, err
	}
	of, err := parseRef(m.GetSender(), m.GetMessageId(), m.GetIndex())
	return SliceStatus{Of: of, Stored: m.GetStored(), Complete: m.GetComplete(), Again: m.GetAgain()}, err
}

func parseRef(sender string, id []byte, index uint32) (message.AttachmentRef, error) {
	name, err := authority.ParseName(sender)
	if err != nil {
		return message.AttachmentRef{}, err
	}
	key, err := message.IDFromBytes(id)
	return message.AttachmentRef{Message: message.Key{Sender: name, ID: key}, Index: index}, err
}
