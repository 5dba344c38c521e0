package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/registry"
)

// hubTime bounds one exchange with the hub where --timeout says nothing: a whole log may come.
const hubTime = 2 * time.Minute

// sourceFlags say where the directory is read from: the hub, or a file at hand.
type sourceFlags struct{ hub, network, log string }

func (f *sourceFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.hub, "hub", "", "address of the directory hub, host:port")
	registerNetwork(fs, &f.network)
	fs.StringVar(&f.log, "log", "", "statement file to read the directory from instead: the genesis first, then what follows it")
}

func (f sourceFlags) isSet() bool { return f.hub != "" || f.log != "" }

// bounded gives a call to the hub an end.
func (a *app) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout > 0 {
		return context.WithTimeout(ctx, a.timeout)
	}
	return context.WithTimeout(ctx, hubTime)
}

// hub connects to the hub of the network with that fingerprint, as the holder of a key.
func (a *app) hub(ctx context.Context, addr, fingerprint string, key *keyring.OfflineKey) (*registry.Client, error) {
	if addr == "" {
		return nil, fault.New(fault.Usage, "no-hub", "call hub", "no address of the directory hub was given").WithHint("add --hub HOST:PORT")
	}
	return registry.Connect(ctx, addr, fingerprint, a.clock, clientTLS(key.Source(a.clock)))
}

func clientTLS(source *keyring.Source) registry.TLS {
	return func(verify func(tls.ConnectionState) error) *tls.Config { return source.ClientTLS(verify) }
}

// read is the directory as the source has it. The key may be nil for a file; the hub tells only who holds one.
func (f sourceFlags) read(ctx context.Context, a *app, key *keyring.OfflineKey) (*directory.Snapshot, error) {
	switch {
	case f.log != "":
		return f.readLog()
	case f.hub == "":
		return nil, fault.New(fault.Usage, "no-directory", "read directory", "nothing says where to read the directory").
			WithHint("add --hub HOST:PORT --network FINGERPRINT, or --log FILE")
	case f.network == "":
		return nil, fault.New(fault.Usage, "no-network", "read directory", "the hub must be held against the network's fingerprint").
			WithHint("add --network FINGERPRINT, as the Secretariat publishes it")
	case key == nil:
		return nil, fault.New(fault.Usage, "no-key", "read directory", "the hub shows the directory to members only").
			WithHint("add --key FILE, a state or steward key in force")
	}
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	client, err := a.hub(ctx, f.hub, f.network, key)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Fetch(ctx, f.network)
}

func (f sourceFlags) readLog() (*directory.Snapshot, error) {
	log, err := fold(f.log)
	if err != nil {
		return nil, err
	}
	s := log.snapshot
	if f.network != "" && s.NetworkID() != f.network {
		return nil, fault.New(fault.Denied, "wrong-genesis", "read "+f.log, "the file is of another network than the fingerprint names")
	}
	return s, nil
}

// submit hands the statements of a bundle to the hub, one after the other, as they must be logged. What was logged
// before an error stays logged; to hand in the same again is harmless.
func (a *app) submit(ctx context.Context, addr string, key *keyring.OfflineKey, b directory.Bundle) ([]submitted, error) {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	client, err := a.hub(ctx, addr, b.Statements[0].Network(), key)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var done []submitted
	for i, st := range b.Statements {
		position, err := client.Propose(ctx, st.Signed(), b.CardsOf(st)...)
		if fault.CodeOf(err) == codeUnsigned {
			return done, a.leave(ctx, client, b, i, err)
		}
		if err != nil {
			a.note("%s about %s was not taken; %d before it were.", st.Kind(), st.Subject(), len(done))
			return done, err
		}
		// If the program stops here the statement is in the log; submitted again it has the same position.
		done = append(done, submitted{string(st.Kind()), st.Subject().String(), position, st.Hash().String()})
	}
	return done, nil
}

// leave puts what is not signed by all into the tray, with all that follows it and may depend on it.
func (a *app) leave(ctx context.Context, client *registry.Client, b directory.Bundle, from int, why error) error {
	if err := deposit(ctx, client, tail(b, from), ""); err != nil {
		return why // the tray's reason would hide what is missing
	}
	return fault.Wrap(why, fault.Retry, "in-tray", "submit", fmt.Sprintf("signatures are missing (%s); %d statements are in the hub's tray for who has yet to sign", fault.As(why).Say, len(b.Statements)-from)).
		WithHint("enlace statement ls --hub HOST:PORT shows who; they sign with: enlace statement sign --tray")
}

// submitted is a statement in the log.
type submitted struct {
	Kind     string `json:"kind"`
	Subject  string `json:"subject"`
	Position uint64 `json:"position"`
	Hash     string `json:"hash"`
}
