package seal

import (
	"errors"

	"github.com/enlace-network/enlace/internal/fault"
)

// Cover is whose verified signature covers the bytes that an error judges, so who is to blame for them.
type Cover uint8

// The covers.
const (
	// ByNobody: a passing condition, or bytes that anyone on the way may have made. Nothing may be concluded or receipted.
	ByNobody Cover = iota
	// ByPublisher: the node that published the frame put it together like this; its authority did not say it. The fault
	// is final for this number, since there is one frame for each.
	ByPublisher
	// ByAuthority: the sender's own signatures verified and cover the fault. So does whatever is found wrong with an alert
	// that [Opened.Verify] has returned.
	ByAuthority
)

// CoveredBy tells the cover of an error of [Frame.Open] and [Opened.Verify]; any other error is covered by nobody.
func CoveredBy(err error) Cover {
	var c covered
	if errors.As(err, &c) {
		return c.by
	}
	return ByNobody
}

// covered is an error with its cover; kind and code are those of the error inside.
type covered struct {
	error
	by Cover
}

func (c covered) Unwrap() error { return c.error }

// coveredBy marks faults of the bytes. Whatever may pass, or is ours, is no fault of theirs.
func coveredBy(by Cover, err error) error {
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.TooLarge) {
		return covered{err, by}
	}
	return err
}
