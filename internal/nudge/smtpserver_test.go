package nudge_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// mailServer is a small mail server on loopback: RFC 5321 with STARTTLS, AUTH PLAIN and AUTH LOGIN.
type mailServer struct {
	t    *testing.T
	addr string
	cert tls.Certificate
	// what it does not offer, or answers in place of acceptance, by command or by mailbox
	noTLS, flood bool
	login        string // the value of AUTH; empty = PLAIN LOGIN
	answers      map[string]string

	mu       sync.Mutex
	clear    strings.Builder // both directions before TLS
	inner    strings.Builder // both directions inside TLS, base64 of AUTH decoded beside it
	accepted []string        // mails whose last byte was acknowledged
	boxes    []string        // of all of them
}

func newMailServer(t *testing.T, cert tls.Certificate, set func(*mailServer)) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{t: t, addr: l.Addr().String(), cert: cert}
	if set != nil {
		set(s)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				s.serve(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return s
}

// talk is one conversation, which begins again under TLS.
type talk struct {
	*mailServer
	conn  net.Conn
	in    *bufio.Reader
	tls   bool
	boxes []string
}

func (s *mailServer) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &talk{mailServer: s, conn: conn, in: bufio.NewReader(conn)}
	if s.flood {
		for line := strings.Repeat("x", 4096); ; {
			if _, err := conn.Write([]byte("220-" + line + "\r\n")); err != nil {
				return
			}
		}
	}
	c.say("220 mail.desk.example ESMTP")
	for {
		line, ok := c.hear()
		if !ok || !c.obey(line) {
			return
		}
	}
}

func (c *talk) log(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tls {
		c.inner.WriteString(s)
	} else {
		c.clear.WriteString(s)
	}
}

func (c *talk) say(line string) {
	c.log(line + "\r\n")
	_, _ = c.conn.Write([]byte(line + "\r\n"))
}

func (c *talk) hear() (string, bool) {
	line, err := c.in.ReadString('\n')
	c.log(line)
	return strings.TrimRight(line, "\r\n"), err == nil
}

// planned answers as the test wants, where it wants.
func (c *talk) planned(key string) bool {
	answer, ok := c.answers[key]
	if ok {
		c.say(answer)
	}
	return ok
}

func (c *talk) obey(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	if c.planned(verb) {
		return true
	}
	switch verb {
	case "EHLO":
		c.greet()
	case "STARTTLS":
		c.say("220 go ahead")
		secured := tls.Server(c.conn, &tls.Config{Certificates: []tls.Certificate{c.cert}})
		if secured.Handshake() != nil {
			return false
		}
		c.conn, c.in, c.tls = secured, bufio.NewReader(secured), true
	case "AUTH":
		c.auth(rest)
	case "MAIL":
		c.say("250 ok")
	case "RCPT":
		box := strings.TrimSuffix(strings.TrimPrefix(rest, "TO:<"), ">")
		if !c.planned(box) {
			c.boxes = append(c.boxes, box)
			c.say("250 ok")
		}
	case "DATA":
		return c.data()
	case "QUIT":
		c.say("221 bye")
		return false
	default:
		c.say("500 what?")
	}
	return true
}

func (c *talk) greet() {
	c.say("250-mail.desk.example")
	if c.tls {
		mechanisms := c.login
		if mechanisms == "" {
			mechanisms = "PLAIN LOGIN"
		}
		c.say("250-AUTH " + mechanisms)
	} else if !c.noTLS {
		c.say("250-STARTTLS")
	}
	c.say("250 8BITMIME")
}

func (c *talk) auth(rest string) {
	decode := func(s string) string {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return "not base64"
		}
		c.log("(" + string(b) + ")\r\n")
		return string(b)
	}
	good := false
	switch mechanism, initial, _ := strings.Cut(rest, " "); mechanism {
	case "PLAIN":
		good = decode(initial) == "\x00nudger\x00"+password
	case "LOGIN":
		c.say("334 " + base64.StdEncoding.EncodeToString([]byte("Username:")))
		user, _ := c.hear()
		c.say("334 " + base64.StdEncoding.EncodeToString([]byte("Password:")))
		pass, _ := c.hear()
		good = decode(user) == "nudger" && decode(pass) == password
	}
	if good {
		c.say("235 welcome")
	} else {
		c.say("535 " + rest + " is wrong") // a careless server repeats what it heard
	}
}

func (c *talk) data() bool {
	c.say("354 go ahead")
	var mail strings.Builder
	for {
		line, ok := c.hear()
		if !ok {
			return false
		}
		if line == "." {
			break
		}
		mail.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
	if c.planned("the end") {
		return true
	}
	c.mu.Lock()
	c.accepted = append(c.accepted, mail.String())
	c.mailServer.boxes = append(c.mailServer.boxes, c.boxes...)
	c.mu.Unlock()
	c.say("250 taken")
	return true
}

// result is what came: conversations before and inside TLS, mails, mailboxes.
func (s *mailServer) result() (clear, inner string, mails, boxes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clear.String(), s.inner.String(), s.accepted, s.boxes
}

func (s *mailServer) config(more string) string {
	return fmt.Sprintf(`
notify:
  ca_file: ca.pem
  smtp:
    server: %s
    from: node@mx.example
    user: nudger
    password_file: smtp-password
  targets:
    - authority: jm/constabulary
      mail: [desk@jm.example]
      duty: {mail: [duty@jm.example, night@jm.example]}
%s`, s.addr, more)
}
