package nudge_test

import (
	"context"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/nudge"
)

// A notice that had room for more would one day carry it.
func TestNoticeHasNoRoomForContent(t *testing.T) {
	var fields []string
	for f := range reflect.TypeFor[nudge.Notice]().Fields() {
		fields = append(fields, f.Name+" "+f.Type.String())
	}
	want := []string{"Authority authority.Name", "Language authority.Language", "ID nudge.ID", "Time time.Time"}
	if !slices.Equal(fields, want) {
		t.Errorf("a notice has the fields %q, want %q", fields, want)
	}
	for _, s := range []string{"", "zopilote-title", "drugs.trafficking", "01890a5d-ac96-774b-bcce-b302099a8057", "mx-fgr-jm-2026-000001",
		"nudge_zopilote", "nudge_drugs.trafficking-abcdefg", "nudge_" + strings.Repeat("a", 26), nudge.NewID().String() + "A"} {
		if id, err := nudge.ParseID(s); err == nil {
			t.Errorf("%q was read as %v", s, id)
		}
	}
	id := nudge.NewID()
	if again, err := nudge.ParseID(id.String()); err != nil || again != id || id == nudge.NewID() {
		t.Errorf("%v, %v", again, err)
	}
}

// The whole conversation, word for word, in each language: what is not here was not said. domain.md 12.
func TestMailSaysNothing(t *testing.T) {
	w := newWorld(t)
	for language, want := range map[string][2]string{
		"es": {"Enlace: un asunto inmediato espera", "Un asunto inmediato espera a jm/constabulary en su nodo de Enlace. Inicie sesión para leerlo.\n\nEste aviso no lleva contenido. No lo responda.\nLlegada: 2026-03-04 05:06:07 UTC\n"},
		"en": {"Enlace: an immediate item is waiting", "An immediate item is waiting for jm/constabulary at its Enlace node. Log in to read it.\n\nThis notice carries no content. Do not reply to it.\nArrived: 2026-03-04 05:06:07 UTC\n"},
		"pt": {"Enlace: um assunto imediato aguarda", "Um assunto imediato aguarda jm/constabulary em seu nó Enlace. Entre no sistema para ler.\n\nEste aviso não traz conteúdo. Não responda.\nChegada: 2026-03-04 05:06:07 UTC\n"},
		"fr": {"Enlace : un élément immédiat attend", "Un élément immédiat attend jm/constabulary sur son nœud Enlace. Connectez-vous pour le lire.\n\nCet avis ne porte aucun contenu. N'y répondez pas.\nArrivée : 2026-03-04 05:06:07 UTC\n"},
		"nl": {"Enlace: an immediate item is waiting", "An immediate item is waiting for jm/constabulary at its Enlace node. Log in to read it.\n\nThis notice carries no content. Do not reply to it.\nArrived: 2026-03-04 05:06:07 UTC\n"},
	} {
		server := newMailServer(t, w.cert, nil)
		sender, targets := w.mustLoad(server.config(""))
		n := notice(t, language)
		if again, err := sender.Send(t.Context(), targets[0].Duty, n); err != nil || !again.IsZero() {
			t.Fatalf("%s: %v, again %v", language, err, again)
		}
		clear, inner, mails, boxes := server.result()
		if clear != "220 mail.desk.example ESMTP\r\nEHLO mx.example\r\n250-mail.desk.example\r\n250-STARTTLS\r\n250 8BITMIME\r\nSTARTTLS\r\n220 go ahead\r\n" {
			t.Errorf("%s: before TLS:\n%s", language, clear)
		}
		if !slices.Equal(boxes, []string{"duty@jm.example", "night@jm.example"}) || len(mails) != 1 {
			t.Fatalf("%s: %d mails to %q", language, len(mails), boxes)
		}
		checkLetter(t, mails[0], want, n)
		head, _, _ := strings.Cut(inner, "DATA\r\n")
		if head != "EHLO mx.example\r\n250-mail.desk.example\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n"+
			"AUTH PLAIN AG51ZGdlcgB0dWNhbi1henVsLXBhc3N3b3Jk\r\n(\x00nudger\x00tucan-azul-password)\r\n235 welcome\r\n"+
			"MAIL FROM:<node@mx.example> BODY=8BITMIME\r\n250 ok\r\nRCPT TO:<duty@jm.example>\r\n250 ok\r\nRCPT TO:<night@jm.example>\r\n250 ok\r\n" {
			t.Errorf("%s: inside TLS:\n%s", language, head)
		}
		// What the same node knows and must not say, in clear or in the letter.
		for _, marker := range []string{password, "nudger", "desk@jm.example", "drugs", "mx/fgr", w.dir} {
			if strings.Contains(clear, marker) || strings.Contains(mails[0], marker) {
				t.Errorf("%s: %q went out", language, marker)
			}
		}
	}
}

func checkLetter(t *testing.T, text string, want [2]string, n nudge.Notice) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(text) {
		if text[i] >= 0x80 {
			t.Fatalf("the letter is not 7-bit: %q", text)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != want[0] {
		t.Errorf("subject %q, %v", subject, err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || strings.ReplaceAll(string(body), "\r\n", "\n") != want[1] {
		t.Errorf("body %q, %v; want %q", body, err, want[1])
	}
	if date, err := m.Header.Date(); err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("date %v, %v", date, err)
	}
	delete(m.Header, "Subject")
	delete(m.Header, "Date")
	if got := map[string][]string(m.Header); !reflect.DeepEqual(got, map[string][]string{
		"From": {"node@mx.example"}, "To": {"duty@jm.example, night@jm.example"},
		"Message-Id": {"<" + n.ID.String() + "@mx.example>"}, "Auto-Submitted": {"auto-generated"}, "Mime-Version": {"1.0"},
		"Content-Type": {"text/plain; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
	}) {
		t.Errorf("headers %q", got)
	}
}

func TestMailLogin(t *testing.T) {
	w := newWorld(t)
	for _, mechanisms := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256 LOGIN", "login"} {
		server := newMailServer(t, w.cert, func(s *mailServer) { s.login = mechanisms })
		sender, targets := w.mustLoad(server.config(""))
		if _, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "es")); err != nil {
			t.Errorf("AUTH %s: %v", mechanisms, err)
		}
		clear, inner, mails, _ := server.result()
		if len(mails) != 1 || strings.Contains(clear, "AUTH") || !strings.Contains(inner, password) {
			t.Errorf("AUTH %s: %d mails; in clear:\n%s", mechanisms, len(mails), clear)
		}
	}
	w.write("smtp-password", "wrong-password", 0o600)
	for _, mechanisms := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		server := newMailServer(t, w.cert, func(s *mailServer) { s.login = mechanisms })
		sender, targets := w.mustLoad(server.config(""))
		again, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "es"))
		code := map[string]string{"CRAM-MD5": "no-login"}[mechanisms]
		if code == "" {
			code = "refused"
		}
		wantFault(t, err, fault.Denied, code)
		_, inner, _, _ := server.result()
		if !again.IsZero() || strings.Contains(inner, "MAIL") || strings.Contains(err.Error(), "AG51ZGdl") || strings.Contains(err.Error(), "wrong-password") {
			t.Errorf("AUTH %s: again %v, error %v, said\n%s", mechanisms, again, err, inner)
		}
	}
}

// Without TLS, or with somebody else's TLS, neither password nor mail leaves.
func TestMailNeedsTLS(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	for name, test := range map[string]struct {
		set  func(*mailServer)
		kind fault.Kind
		code string
	}{
		"no STARTTLS":      {func(s *mailServer) { s.noTLS = true }, fault.Denied, "no-tls"},
		"STARTTLS refused": {func(s *mailServer) { s.answers = map[string]string{"STARTTLS": "454 not now"} }, fault.Retry, ""},
		"a stranger's CA":  {func(s *mailServer) { s.cert = other.cert }, fault.Retry, ""},
	} {
		server := newMailServer(t, w.cert, test.set)
		sender, targets := w.mustLoad(server.config(""))
		again, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "en"))
		wantFault(t, err, test.kind, test.code)
		if again.IsZero() != (test.kind == fault.Denied) {
			t.Errorf("%s: again %v", name, again)
		}
		clear, inner, mails, _ := server.result()
		if len(mails) != 0 || inner != "" || strings.Contains(clear, "AUTH") || strings.Contains(clear, "MAIL") {
			t.Errorf("%s: said\n%s\n%s", name, clear, inner)
		}
	}
}

func TestMailPlainOnLoopback(t *testing.T) {
	w := newWorld(t)
	server := newMailServer(t, w.cert, func(s *mailServer) { s.noTLS = true })
	config := "notify: {smtp: {server: '" + server.addr + "', from: node@mx.example, plain: true}, targets: [{authority: jm/constabulary, mail: [desk@jm.example]}]}"
	sender, targets := w.mustLoad(config)
	if _, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "en")); err != nil {
		t.Error(err)
	}
	if _, _, mails, _ := server.result(); len(mails) != 1 {
		t.Errorf("%d mails", len(mails))
	}
	// A name may come to mean another machine.
	_, _, err := w.load(strings.Replace(config, "127.0.0.1", "localhost", 1))
	if !strings.HasPrefix(fault.As(err).Say, "notify.smtp.plain: ") {
		t.Errorf("plain to a name: %v", err)
	}
}

func TestMailRefusals(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		answers map[string]string
		kind    fault.Kind
		code    string
		again   string
		told    int
	}{
		"one mailbox unknown":      {map[string]string{"duty@jm.example": "550 unknown"}, fault.Denied, "refused", "", 1},
		"one mailbox busy":         {map[string]string{"duty@jm.example": "450 busy"}, fault.Retry, "", "duty@jm.example", 1},
		"one unknown, one busy":    {map[string]string{"duty@jm.example": "550 unknown", "night@jm.example": "450 busy"}, fault.Retry, "", "night@jm.example", 0},
		"both unknown":             {map[string]string{"duty@jm.example": "550 unknown", "night@jm.example": "551 moved"}, fault.Denied, "refused", "", 0},
		"sender refused":           {map[string]string{"MAIL": "553 not you"}, fault.Denied, "refused", "", 0},
		"full":                     {map[string]string{"MAIL": "452 full"}, fault.Retry, "", "duty@jm.example night@jm.example", 0},
		"not now, after the mail":  {map[string]string{"the end": "451 not now"}, fault.Retry, "", "duty@jm.example night@jm.example", 0},
		"spam, says the server":    {map[string]string{"the end": "554 spam"}, fault.Denied, "refused", "", 0},
		"busy one, then not now":   {map[string]string{"duty@jm.example": "450 busy", "the end": "451 not now"}, fault.Retry, "", "duty@jm.example night@jm.example", 0},
		"an answer out of its way": {map[string]string{"QUIT": "500 never"}, 0, "", "", 2},
	} {
		server := newMailServer(t, w.cert, func(s *mailServer) { s.answers = test.answers })
		sender, targets := w.mustLoad(server.config(""))
		again, err := sender.Send(t.Context(), targets[0].Duty, notice(t, "pt"))
		if test.code == "" && test.kind == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else {
			wantFault(t, err, test.kind, test.code)
		}
		var left []string
		for _, box := range again.Mail {
			left = append(left, box.String())
		}
		if _, _, _, boxes := server.result(); strings.Join(left, " ") != test.again || len(boxes) != test.told {
			t.Errorf("%s: again %q, told %q", name, left, boxes)
		}
	}
}

// A mail server that never answers, never stops talking, or is not there costs time or memory within bounds.
func TestMailServerGoneWrong(t *testing.T) {
	w := newWorld(t)
	flood := newMailServer(t, w.cert, func(s *mailServer) { s.flood = true })
	sender, targets := w.mustLoad(flood.config(""))
	again, err := sender.Send(t.Context(), targets[0].Desk, notice(t, "fr"))
	wantFault(t, err, fault.Retry, "")
	if again.IsZero() || !strings.Contains(err.Error(), "says too much") {
		t.Errorf("a flood ended with %v", err)
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flood.addr = silent.Addr().String()
	sender, targets = w.mustLoad(flood.config(""))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err = sender.Send(ctx, targets[0].Desk, notice(t, "fr"))
	wantFault(t, err, fault.Retry, "")
	if time.Since(begun) > 5*time.Second {
		t.Errorf("silence was borne for %v", time.Since(begun))
	}
	silent.Close()
	again, err = sender.Send(t.Context(), targets[0].Desk, notice(t, "fr"))
	wantFault(t, err, fault.Retry, "")
	if again.IsZero() {
		t.Error("a server that is away is not worth another attempt")
	}
}

func TestIncompleteNotice(t *testing.T) {
	w := newWorld(t)
	sender, _ := w.mustLoad("notify: {}")
	for i, spoil := range []func(*nudge.Notice){
		func(n *nudge.Notice) { n.Authority = authority.Name{} },
		func(n *nudge.Notice) { n.ID = nudge.ID{} },
		func(n *nudge.Notice) { n.Time = time.Time{} },
	} {
		n := notice(t, "en")
		spoil(&n)
		if _, err := sender.Send(t.Context(), desk(t, "a@b.example"), n); fault.CodeOf(err) != "incomplete-notice" {
			t.Errorf("%d: %v", i, err)
		}
	}
	again, err := sender.Send(t.Context(), desk(t, "a@b.example"), notice(t, "en"))
	wantFault(t, err, fault.Denied, "no-mail-server")
	if !again.IsZero() {
		t.Error("a missing configuration is not worth another attempt")
	}
}
