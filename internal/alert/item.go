package alert

import (
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
	"google.golang.org/protobuf/proto"
)

// Item types of content. PROTOCOL 5.7.
const (
	itemAlert        = "alert"
	itemSubject      = "subject"
	itemFile         = "file"
	itemAttachment   = "attachment"
	itemCancellation = "cancellation"
	itemFeedback     = "feedback"
)

// said is the content of one message of an alert's life.
type said struct {
	notice       *formatv1.AlertNotice
	subjects     []*formatv1.Subject
	files        []*formatv1.File
	notes        []*formatv1.AttachmentNote
	cancellation *formatv1.Cancellation
	feedback     *formatv1.Feedback
}

// read takes content apart. Every item must belong to the kind, the first be the one that makes it, and none be larger
// than can be shown. Invalid "wrong-item", "malformed" and those of the items' form. PROTOCOL 5.7, 8.4.
func read(kind message.Kind, c seal.Content) (said, error) {
	var s said
	for i, it := range c.Items {
		body := s.body(kind, i, it.Type)
		if body == nil {
			return said{}, wrongItem()
		}
		if err := it.Read(it.Type, body); err != nil {
			return said{}, err
		}
		if err := message.Bounded(body); err != nil {
			return said{}, err
		}
	}
	if s.notice == nil && s.cancellation == nil && s.feedback == nil {
		return said{}, wrongItem()
	}
	return s, s.numbered(kind)
}

// body is where an item goes; nil where it does not belong.
func (s *said) body(kind message.Kind, i int, item string) proto.Message {
	first := map[message.Kind]string{
		message.KindAlert: itemAlert, message.KindAlertUpdate: itemAlert, message.KindAlertCancel: itemCancellation,
		message.KindAlertFeedback: itemFeedback,
	}[kind]
	if (i == 0) != (item == first) {
		return nil
	}
	switch item {
	case itemAlert:
		s.notice = new(formatv1.AlertNotice)
		return s.notice
	case itemCancellation:
		s.cancellation = new(formatv1.Cancellation)
		return s.cancellation
	case itemFeedback:
		s.feedback = new(formatv1.Feedback)
		return s.feedback
	}
	if s.notice == nil {
		return nil
	}
	switch item {
	case itemSubject:
		s.subjects = append(s.subjects, new(formatv1.Subject))
		return s.subjects[len(s.subjects)-1]
	case itemFile:
		s.files = append(s.files, new(formatv1.File))
		return s.files[len(s.files)-1]
	case itemAttachment:
		s.notes = append(s.notes, new(formatv1.AttachmentNote))
		return s.notes[len(s.notes)-1]
	}
	return nil
}

// numbered wants version 1 of an alert, and more of an update.
func (s said) numbered(kind message.Kind) error {
	v := s.notice.GetVersion()
	if (kind == message.KindAlert && v != 1) || (kind == message.KindAlertUpdate && v < 2) {
		return fault.New(fault.Invalid, "malformed", "read alert", "an alert has version 1, and its updates have more")
	}
	return nil
}

func wrongItem() error {
	return fault.New(fault.Invalid, "wrong-item", "read alert", "the content does not fit the kind of message")
}

// note is what is said of one attachment.
func (s said) note(index uint32) *formatv1.AttachmentNote {
	for _, n := range s.notes {
		if n.GetIndex() == index {
			return n
		}
	}
	return &formatv1.AttachmentNote{Index: index}
}

// itemsOf makes salted items of a composition.
func (d *Desk) itemsOf(c Composition) ([]seal.Item, error) {
	items, err := d.item(nil, itemAlert, c.Notice)
	for _, s := range c.Subjects {
		if err == nil {
			items, err = d.item(items, itemSubject, s)
		}
	}
	for _, f := range c.Files {
		if err == nil {
			items, err = d.item(items, itemFile, f)
		}
	}
	return items, err
}

// item adds one item that every receiver will take.
func (d *Desk) item(to []seal.Item, kind string, body proto.Message) ([]seal.Item, error) {
	if err := message.Bounded(body); err != nil {
		return nil, err
	}
	it, err := seal.NewItem(kind, body, d.Random)
	return append(to, it), err
}
