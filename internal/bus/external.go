package bus

import (
	"bytes"
	"strings"
	"text/template"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

// ExternalOptions are what an external server is set up from. Keys and Network are required.
type ExternalOptions struct {
	Keys    *keyring.Ring
	Network string
	// Listen is host:port; default :4222.
	Listen string
	// Data is the server's folder; default "nats".
	Data string
	// Certificate and Key are paths of PEM files at the server; defaults server.pem and server.key. No client shows a
	// certificate: users prove themselves by token and nonce.
	Certificate, Key string
	// MaxPayload is the largest message; 0 = 2 MiB.
	MaxPayload int
}

// External is what an external NATS server needs to serve this network, by file name: operator.jwt, the tokens of the
// two accounts, and nats-server.conf, to be completed by a cluster section where there are several. No private key is
// in it. `nats-server -c nats-server.conf` then runs a server that takes everything else from the hub.
func External(o ExternalOptions) (map[string][]byte, error) {
	i, err := newIssuer(o.Keys)
	if err != nil {
		return nil, err
	}
	operator, err := i.sign(i.operator, i.operatorClaims(o.Network))
	if err != nil {
		return nil, err
	}
	system, err := i.systemToken()
	if err != nil {
		return nil, err
	}
	account, err := i.accountToken(nil)
	if err != nil {
		return nil, err
	}
	conf, err := o.filled().configure(i, system)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"operator.jwt": []byte(operator), "system-account.jwt": []byte(system), "traffic-account.jwt": []byte(account),
		"nats-server.conf": conf}, nil
}

func (o ExternalOptions) filled() ExternalOptions {
	for field, value := range map[*string]string{&o.Listen: ":4222", &o.Data: "nats", &o.Certificate: "server.pem", &o.Key: "server.key"} {
		if *field == "" {
			*field = value
		}
	}
	if strings.HasPrefix(o.Listen, ":") {
		o.Listen = "0.0.0.0" + o.Listen
	}
	if o.MaxPayload <= 0 {
		o.MaxPayload = defaultPayload
	}
	return o
}

// configure writes nats-server.conf. A string of JSON is one of it too.
func (o ExternalOptions) configure(i issuer, system string) ([]byte, error) {
	t, err := template.New("nats-server.conf").Parse(externalText)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opStart, "the configuration of the bus cannot be written")
	}
	var text bytes.Buffer
	err = t.Execute(&text, map[string]any{"O": o, "System": i.system, "SystemToken": system})
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opStart, "the configuration of the bus cannot be written")
	}
	return text.Bytes(), nil
}

const externalText = `# A NATS server for an Enlace network: nats-server -c nats-server.conf, in the folder of this file.
# It holds no private key of the network; accounts and rights come from the hub.

server_name: enlace-bus
listen: {{printf "%q" .O.Listen}}
max_payload: {{.O.MaxPayload}}
max_pending: 268435456

tls {
  cert_file: {{printf "%q" .O.Certificate}}
  key_file: {{printf "%q" .O.Key}}
  min_version: "1.3"
  timeout: 10
}

# No limit here: each publisher has its own, which the hub sets.
jetstream {
  store_dir: {{printf "%q" .O.Data}}
  max_file_store: 1TB
}

operator: "operator.jwt"
system_account: {{.System}}
resolver {
  type: full
  dir: {{printf "%q" (print .O.Data "/accounts")}}
  allow_delete: false
  interval: "1m"
}
# What the server knows before the hub reaches it.
resolver_preload {
  {{.System}}: {{.SystemToken}}
}
`
