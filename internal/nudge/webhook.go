package nudge

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	hookTime   = 10 * time.Second // for everything: name, connection, TLS, answer
	maxAnswer  = 64 << 10         // bytes of body, and again of header
	signedWith = "v1,"            // HMAC-SHA256, Standard Webhooks, signature scheme
)

// inside are ranges that netip does not call private and that lead into a house, to a translator, or nowhere (IANA
// special-purpose registries). Anything of IPv6 outside 2000::/3 is refused beside them.
var inside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
}

var global6 = netip.MustParsePrefix("2000::/3")

// hook posts webhooks to listed hosts.
type hook struct {
	allow  map[string]bool // by host:port; what is not here is refused
	client *http.Client
}

// newHook trusts roots, or the system's where it is nil.
func newHook(allow map[string]bool, roots *x509.CertPool) hook {
	return hook{allow, &http.Client{
		Timeout: hookTime,
		// A redirect would lead past the list: it counts as a refusal.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy of the environment would connect where it likes
			DialContext:            dialOutside,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxAnswer,
		},
	}}
}

// dialOutside connects to a listed host. An address in digits was listed as that address. A name may mean anything by
// now, so each address it resolves to is judged at the moment of connecting to it, with no second look-up between.
func dialOutside(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: hookTime}
	if _, err := netip.ParseAddrPort(address); err != nil {
		d.Control = refuseInside
	}
	return d.DialContext(ctx, network, address)
}

func refuseInside(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || isInside(at.Addr()) {
		return fault.New(fault.Denied, "private-address", opSend, "the name of the webhook's host leads to an address inside the house").
			WithHint("where that is meant, write the address itself in the webhook and in webhook_allow")
	}
	return nil
}

func isInside(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Zone() != "" || ip.Is6() && !global6.Contains(ip) {
		return true
	}
	for _, p := range inside {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// mayCall is the rule of the allow list.
func (h hook) mayCall(e Endpoint) error {
	if h.allow[e.host] {
		return nil
	}
	return fault.New(fault.Denied, "webhook-not-allowed", opSend, "the webhook's host and port are not in webhook_allow").
		WithHint("add them to notify.webhook_allow in node.yaml")
}

// post makes one attempt. Only an answer of 2xx is acceptance (Standard Webhooks, delivery success and failure).
func (h hook) post(ctx context.Context, to Endpoint, secret Secret, n Notice, now time.Time) error {
	if err := h.mayCall(to); err != nil {
		return err
	}
	request, err := newPost(ctx, to, secret, n, now)
	if err != nil {
		return err
	}
	answer, err := h.client.Do(request)
	if err != nil {
		return unreached(err)
	}
	defer answer.Body.Close()
	// Read what a receiver may say, so that it does not see a broken connection; nothing of it is kept.
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	return judge(answer.StatusCode)
}

// newPost is the signed request. Header names are those of Standard Webhooks, webhook headers.
func newPost(ctx context.Context, to Endpoint, secret Secret, n Notice, now time.Time) (*http.Request, error) {
	if secret.IsZero() {
		return nil, refused(nil, "no-secret", "the webhook has no secret to sign with")
	}
	body, err := n.payload()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opSend, "the notice could not be written")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		return nil, refused(nil, "malformed-webhook", "the webhook is not a URL that can be called")
	}
	at := strconv.FormatInt(now.Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Enlace")
	request.Header.Set("webhook-id", n.ID.String())
	request.Header.Set("webhook-timestamp", at)
	request.Header.Set("webhook-signature", secret.sign(n.ID.String(), at, body))
	return request, nil
}

// sign is the value of webhook-signature (Standard Webhooks, signature scheme). Neither id nor at holds a full stop.
func (s Secret) sign(id, at string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(s.key))
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return signedWith + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// unreached keeps the URL, which may be secret, out of the cause.
func unreached(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	if fault.Is(err, fault.Denied) {
		return fault.As(err)
	}
	return failed(err, "the webhook could not be reached")
}

func judge(status int) error {
	cause := errors.New("status " + strconv.Itoa(status))
	switch {
	case status >= 200 && status < 300:
		return nil
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return failed(cause, "the webhook's receiver cannot take it now")
	case status >= 300 && status < 400:
		return refused(cause, "redirect", "the webhook's receiver points elsewhere, and redirects are not followed")
	case status == http.StatusGone:
		return refused(cause, "gone", "the webhook's receiver wants no more")
	}
	return refused(cause, "refused", "the webhook's receiver refuses the notice")
}
