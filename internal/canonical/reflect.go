package canonical

import "google.golang.org/protobuf/reflect/protoreflect"

// hasUnknown walks the whole message, lists included.
func hasUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Kind() != protoreflect.MessageKind {
			return true
		}
		if !fd.IsList() {
			found = hasUnknown(v.Message())
			return !found
		}
		for i := range v.List().Len() {
			if hasUnknown(v.List().Get(i).Message()) {
				found = true
				return false
			}
		}
		return true
	})
	return found
}
