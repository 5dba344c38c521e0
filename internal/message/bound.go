package message

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/enlace-network/enlace/internal/fault"
)

// maxWord bounds what lists show and people name things by: titles, references, names of files. PROTOCOL 1.3.
const maxWord = 256

// words are the short text fields of content messages; every other text is bounded by maxText.
func words() map[protoreflect.Name]bool {
	return map[protoreflect.Name]bool{
		"title": true, "reference": true, "local_reference": true, "kind": true, "name": true, "media_type": true, "type": true,
		"language": true, "desk": true, "stage": true, "code": true, "evaluation": true, "result": true, "taken_by": true,
	}
}

// Bounded refuses content with longer texts or lists than people and doors can handle: what a peer signed is not
// thereby fit to be shown. Invalid code "malformed".
func Bounded(m proto.Message) error {
	ok := true
	short := words()
	var walk func(protoreflect.Message)
	walk = func(m protoreflect.Message) {
		m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			each(fd, v, func(v protoreflect.Value) {
				switch fd.Kind() {
				case protoreflect.StringKind:
					n := len(v.String())
					ok = ok && n <= maxText && (n <= maxWord || !short[fd.Name()])
				case protoreflect.MessageKind:
					walk(v.Message())
				}
			})
			ok = ok && (!fd.IsList() || v.List().Len() <= maxPerList)
			return ok
		})
	}
	walk(m.ProtoReflect())
	if !ok {
		return fault.New(fault.Invalid, "malformed", "read content", "a text or a list is longer than allowed")
	}
	return nil
}

// each calls f for a value, or for every value of a list.
func each(fd protoreflect.FieldDescriptor, v protoreflect.Value, f func(protoreflect.Value)) {
	if !fd.IsList() {
		f(v)
		return
	}
	for i := range min(v.List().Len(), maxPerList) {
		f(v.List().Get(i))
	}
}
