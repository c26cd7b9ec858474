package wire

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// heard is a frame of a plugin as the host reads it. For protobuf one string that is not
// UTF-8 spoils the whole frame, and with it the session and all that is in flight. Here it
// costs the result or the call that it stands in (P10).
type heard struct {
	frame   *PluginFrame
	refused []*Reply // to the calls that are not in frame
}

// unmarshal reads a frame. An error means that b is no frame at all.
func (h *heard) unmarshal(b []byte) error {
	h.frame = &PluginFrame{}
	if proto.Unmarshal(b, h.frame) == nil {
		return nil
	}
	h.frame = &PluginFrame{}
	for len(b) > 0 {
		_, _, size := protowire.ConsumeField(b)
		if size < 0 {
			return fmt.Errorf("frame of the plugin: %w", protowire.ParseError(size))
		}
		field := b[:size]
		b = b[size:]
		part := &PluginFrame{}
		if err := proto.Unmarshal(field, part); err != nil {
			wrong := err
			if part, err = h.mend(field); err != nil {
				return fmt.Errorf("frame of the plugin: %w", wrong)
			}
		}
		mergePlugin(h.frame, part)
	}
	return nil
}

// ReadPluginFrame reads a plugin's frame as the host does: what a string that is not UTF-8
// stands in is a REJECT, or no call. An error means that b is no frame at all.
func ReadPluginFrame(b []byte) (*PluginFrame, error) {
	var h heard
	err := h.unmarshal(b)
	return h.frame, err
}

// mend reads a field of a frame that protobuf refuses.
func (h *heard) mend(field []byte) (*PluginFrame, error) {
	whole, wrong, err := cleaned(field, (&PluginFrame{}).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	part := &PluginFrame{}
	if err := proto.Unmarshal(whole, part); err != nil {
		return nil, err
	}
	for _, c := range part.Call {
		h.refused = append(h.refused, NewReply(c.Id, fmt.Errorf("%w: %s", ErrInvalid, notUTF8(wrong))))
	}
	part.Call = nil
	for _, r := range part.Result {
		r.refuse(slices.DeleteFunc(wrong, func(path string) bool { return !strings.HasPrefix(path, "result.changes.") }))
	}
	return part, nil
}

// refuse makes a result whose changes have these fields one that changes nothing.
func (r *Result) refuse(wrong []string) {
	if len(wrong) == 0 {
		return // its error's text alone, which is for people
	}
	r.Changes = nil
	if r.Code == Result_DONE {
		r.Code, r.Error = Result_REJECT, notUTF8(wrong)
	}
}

func notUTF8(fields []string) string {
	return strings.Join(fields, ", ") + " is not UTF-8: encode bytes as base64, and do not cut text inside a character"
}

// maxWrong is how many fields an error names.
const maxWrong = 3

// cleaned is a message with U+FFFD in place of what is not UTF-8, and the paths of the first
// fields that had it.
func cleaned(b []byte, of protoreflect.MessageDescriptor) (clean []byte, wrong []string, err error) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return nil, nil, protowire.ParseError(size)
		}
		tag, value := b[:n], b[n:n+size]
		b = b[n+size:]
		field := of.Fields().ByNumber(number)
		if kind != protowire.BytesType || field == nil {
			clean = append(append(clean, tag...), value...)
			continue
		}
		inner, _ := protowire.ConsumeBytes(value)
		switch {
		case field.Message() != nil:
			var below []string
			if inner, below, err = cleaned(inner, field.Message()); err != nil {
				return nil, nil, err
			}
			for _, path := range below {
				wrong = append(wrong, string(field.Name())+"."+path)
			}
		case field.Kind() == protoreflect.StringKind && !utf8.Valid(inner):
			inner = []byte(strings.ToValidUTF8(string(inner), "\uFFFD"))
			wrong = append(wrong, string(field.Name()))
		}
		wrong = wrong[:min(len(wrong), maxWrong)]
		clean = protowire.AppendBytes(append(clean, tag...), inner)
	}
	return clean, wrong, nil
}
