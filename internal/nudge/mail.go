package nudge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	mailTime  = 30 * time.Second // for a whole conversation
	maxTalk   = 64 << 10         // bytes a mail server may say in one conversation, TLS included
	maxReason = 200              // characters of its reason that a log may keep
)

// mailer hands mail to one server. RFC 5321, 3207, 4954.
type mailer struct {
	address        string // host:port
	host           string
	from           Mailbox
	user, password string
	plain          bool // no TLS and no login: for a relay on a loopback address alone
	tls            *tls.Config
}

// send makes one attempt and returns the mailboxes worth another.
func (m *mailer) send(ctx context.Context, to []Mailbox, n Notice, now time.Time) ([]Mailbox, error) {
	if m == nil {
		return nil, refused(nil, "no-mail-server", "no mail server is configured")
	}
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	c, err := m.connect(ctx)
	if err != nil {
		return worth(to, err), err
	}
	defer c.Close()
	again, err := m.deliver(c, to, n, now)
	if err == nil {
		_ = c.Quit() // the mail is the server's since it said so after the last byte
	}
	return again, err
}

// connect returns a conversation that is secured and logged in, and breaks off when ctx ends.
func (m *mailer) connect(ctx context.Context) (*smtp.Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.address)
	if err != nil {
		return nil, failed(err, "the mail server could not be reached")
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	c, err := smtp.NewClient(&bounded{conn, maxTalk}, m.host)
	if err != nil {
		conn.Close()
		return nil, answered(err, "the mail server did not greet")
	}
	if err := m.enter(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// enter greets, secures and logs in. Nothing but the greeting goes before TLS.
func (m *mailer) enter(c *smtp.Client) error {
	if err := c.Hello(m.from.domain()); err != nil {
		return answered(err, "the mail server did not take the greeting")
	}
	if !m.plain {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return refused(nil, "no-tls", "the mail server offers no STARTTLS, or someone on the way took the offer out")
		}
		if err := c.StartTLS(m.tls.Clone()); err != nil {
			return answered(err, "the connection to the mail server could not be secured")
		}
	}
	if m.user == "" {
		return nil
	}
	how, err := m.login(c)
	if err != nil {
		return err
	}
	if err := c.Auth(how); err != nil {
		var said *textproto.Error
		if errors.As(err, &said) {
			err = &textproto.Error{Code: said.Code} // what it says may repeat what it was told
		}
		return answered(err, "the mail server did not accept user and password")
	}
	return nil
}

// login chooses the way the server offers: PLAIN, else LOGIN.
func (m *mailer) login(c *smtp.Client) (smtp.Auth, error) {
	_, offered := c.Extension("AUTH")
	for _, mechanism := range strings.Fields(strings.ToUpper(offered)) {
		switch mechanism {
		case "PLAIN":
			return smtp.PlainAuth("", m.user, m.password, m.host), nil
		case "LOGIN":
			return &loginAuth{answers: []string{m.user, m.password}}, nil
		}
	}
	return nil, refused(nil, "no-login", "the mail server offers neither AUTH PLAIN nor AUTH LOGIN")
}

// loginAuth is AUTH LOGIN: the server asks for the name, then for the password.
type loginAuth struct{ answers []string }

func (a *loginAuth) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS {
		return "", nil, errors.New("a password needs TLS")
	}
	return "LOGIN", nil, nil
}

func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if len(a.answers) == 0 {
		return nil, errors.New("the server asks for more than name and password")
	}
	answer := a.answers[0]
	a.answers = a.answers[1:]
	return []byte(answer), nil
}

// deliver is one transaction. A mailbox that is refused does not keep the others from being told.
func (m *mailer) deliver(c *smtp.Client, to []Mailbox, n Notice, now time.Time) ([]Mailbox, error) {
	if err := c.Mail(m.from.String()); err != nil {
		err = answered(err, "the mail server did not take the sender")
		return worth(to, err), err
	}
	taken, again, refusal := recipients(c, to)
	if len(taken) == 0 {
		return again, refusal
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write(m.letter(taken, n, now))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		err = answered(err, "the mail server did not take the mail")
		return append(again, worth(taken, err)...), err
	}
	return again, refusal
}

func recipients(c *smtp.Client, to []Mailbox) (taken, again []Mailbox, refusal error) {
	for _, box := range to {
		err := c.Rcpt(box.String())
		if err == nil {
			taken = append(taken, box)
			continue
		}
		err = answered(err, "the mail server did not take a mailbox")
		again = append(again, worth([]Mailbox{box}, err)...)
		if refusal == nil || fault.Is(err, fault.Retry) {
			refusal = err
		}
	}
	return taken, again, refusal
}

// letter is the mail. RFC 5322, 2045, 3834. Every value in a header comes from a parser that lets no line break through.
func (m *mailer) letter(to []Mailbox, n Notice, now time.Time) []byte {
	subject, body := n.text()
	names := make([]string, len(to))
	for i, box := range to {
		names[i] = box.String()
	}
	var b bytes.Buffer
	for _, header := range [][2]string{
		{"From", m.from.String()},
		{"To", strings.Join(names, ",\r\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"Date", now.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + n.ID.String() + "@" + m.from.domain() + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(body)) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// answered sorts what went wrong by the server's own code: 5xx is for good (RFC 5321 4.2.1), all else may pass.
func answered(err error, say string) error {
	var said *textproto.Error
	if !errors.As(err, &said) {
		return failed(err, say)
	}
	cause := fmt.Errorf("%d %.*s", said.Code, maxReason, said.Msg)
	if said.Code >= 500 {
		return refused(cause, "refused", say)
	}
	return failed(cause, say)
}

// worth is to, where the error may pass.
func worth(to []Mailbox, err error) []Mailbox {
	if fault.Is(err, fault.Retry) {
		return to
	}
	return nil
}

// bounded is a connection on which the other side may say so much and no more: net/smtp reads lines of any length.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the mail server says too much")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
