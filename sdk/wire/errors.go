package wire

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors that cross the wire, compared with errors.Is on both sides. An error
// that is none of them arrives with its text alone.
var (
	// ErrUnavailable: not now; the same call may work later.
	ErrUnavailable = errors.New("unavailable")
	// ErrInvalid: this call can never work; the text says why.
	ErrInvalid = errors.New("invalid")
	// ErrPrecondition: not in this state, e.g. a second session.
	ErrPrecondition = errors.New("failed precondition")
	// ErrConflict: a state key that was read has changed; run again (P7). Of replies only.
	ErrConflict = errors.New("state has changed since it was read")
)

var statusCodes = map[codes.Code]error{
	codes.Unavailable:        ErrUnavailable,
	codes.InvalidArgument:    ErrInvalid,
	codes.FailedPrecondition: ErrPrecondition,
}

// remote is an error from the other side: its words, and what it is.
type remote struct {
	text string
	is   error // one of the errors above
}

func (e *remote) Error() string { return e.text }
func (e *remote) Unwrap() error { return e.is }

// Status makes err one that gRPC carries to the other side as what it is. A
// plugin's server returns it from its methods.
func Status(err error) error {
	if err == nil {
		return nil
	}
	for code, is := range statusCodes {
		if errors.Is(err, is) {
			return status.Error(code, err.Error())
		}
	}
	return err // gRPC's own, or code Unknown with its text
}

// fromStatus undoes Status.
func fromStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	if is := statusCodes[st.Code()]; is != nil {
		return &remote{text: st.Message(), is: is}
	}
	if st.Code() == codes.Unknown {
		return &remote{text: st.Message()} // the other side's own error, whose text is all that there is
	}
	return err
}

// NewReply answers call id: OK, or err as what it is. An error that is none of
// this package's is UNAVAILABLE: the plugin can do nothing but try later.
func NewReply(id uint64, err error) *Reply {
	r := &Reply{Id: id}
	switch {
	case err == nil:
		return r
	case errors.Is(err, ErrConflict):
		r.Code = Reply_CONFLICT
	case errors.Is(err, ErrInvalid), errors.Is(err, ErrPrecondition):
		r.Code = Reply_INVALID
	default:
		r.Code = Reply_UNAVAILABLE
	}
	r.Error = clean(err.Error())
	return r
}

// Err is the reply's error, nil for OK.
func (r *Reply) Err() error {
	switch r.GetCode() {
	case Reply_OK:
		return nil
	case Reply_INVALID:
		return &remote{text: r.GetError(), is: ErrInvalid}
	case Reply_CONFLICT:
		return &remote{text: r.GetError(), is: ErrConflict}
	case Reply_UNAVAILABLE:
		return &remote{text: r.GetError(), is: ErrUnavailable}
	}
	return fmt.Errorf("reply with unknown code %d: %s", r.GetCode(), r.GetError())
}
