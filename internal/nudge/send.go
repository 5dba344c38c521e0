package nudge

import (
	"context"
	"errors"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const opSend = "send nudge"

// Sender makes attempts. It is safe for concurrent use, holds no connection between them, and is made by [Load].
type Sender struct {
	mail *mailer // nil where no mail server is configured
	hook hook
	now  func() time.Time
}

// Send makes one attempt at each mailbox and at the webhook of an address, and returns within 45 seconds or when ctx
// ends.
//
// On nil a mail server, and the webhook's receiver, have accepted the notice. Otherwise the error says what went wrong:
// Kind Retry when some of it may pass, Denied when the other side or a rule here refuses for good, Invalid for an
// incomplete notice. again is what is worth another attempt with the same notice; zero when nothing is.
//
// If the machine stops before the caller has noted an accepted attempt, the next one repeats it under the same
// Message-ID and webhook-id.
func (s *Sender) Send(ctx context.Context, to Address, n Notice) (again Address, err error) {
	if err := n.check(); err != nil {
		return Address{}, err
	}
	var errMail, errHook error
	if len(to.Mail) > 0 {
		again.Mail, errMail = s.mail.send(ctx, to.Mail, n, s.now())
	}
	if !to.Webhook.IsZero() {
		errHook = s.hook.post(ctx, to.Webhook, to.Secret, n, s.now())
	}
	if errHook != nil && fault.Is(errHook, fault.Retry) {
		again.Webhook, again.Secret = to.Webhook, to.Secret
	}
	return again, summary(again, errMail, errHook)
}

func summary(again Address, errMail, errHook error) error {
	cause := errors.Join(errMail, errHook)
	switch {
	case cause == nil:
		return nil
	case errMail == nil || errHook == nil:
		return cause
	case !again.IsZero():
		return fault.Wrap(cause, fault.Retry, "", opSend, "neither mail nor webhook got through")
	}
	return fault.Wrap(cause, fault.Denied, "refused", opSend, "mail and webhook were refused")
}

func failed(cause error, say string) error { return fault.Wrap(cause, fault.Retry, "", opSend, say) }

func refused(cause error, code, say string) error {
	return fault.Wrap(cause, fault.Denied, code, opSend, say)
}
