package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

// maxPublicKey bounds a file with one public key line.
const maxPublicKey = 1 << 10

// keyFlags name one off-line key, of a state or a steward.
type keyFlags struct{ path, passphraseFile string }

func (f *keyFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.path, "key", "", "file of the state or steward key that signs")
	fs.StringVar(&f.passphraseFile, "passphrase-file", "", "file whose first line is the key's passphrase (default: ask)")
}

// open asks for the passphrase and opens the key; a Usage error where none was named.
func (f keyFlags) open(ctx context.Context, a *app) (*keyring.OfflineKey, error) {
	if f.path == "" {
		return nil, fault.New(fault.Usage, "no-key", "open key", "this needs a state or steward key").WithHint("add --key FILE")
	}
	text, err := a.secret(ctx, "Passphrase of "+f.path, f.passphraseFile)
	if err != nil {
		return nil, err
	}
	return keyring.OpenOffline(f.path, keyring.NewPassphrase(text))
}

// openIf is open, or nil where no key was named.
func (f keyFlags) openIf(ctx context.Context, a *app) (*keyring.OfflineKey, error) {
	if f.path == "" {
		return nil, nil
	}
	return f.open(ctx, a)
}

// newLock is a passphrase for a file to be made.
type newLock struct {
	file       string
	workFactor int
}

// registerEffort adds the hidden flag that makes tests quick.
func (l *newLock) registerEffort(fs *pflag.FlagSet) {
	fs.IntVar(&l.workFactor, "work-factor", 0, "cost of trying a passphrase, 2^N; for tests")
	_ = fs.MarkHidden("work-factor") // only an unknown flag could fail
}

// ask reads a new passphrase; twice where it is typed, since nobody sees it.
func (l newLock) ask(ctx context.Context, a *app, what string) (keyring.Passphrase, error) {
	text, err := a.secret(ctx, "New passphrase of "+what, l.file)
	if err != nil {
		return keyring.Passphrase{}, err
	}
	if _, terminal := terminalOf(a.streams.In); terminal && l.file == "" {
		again, err := a.secret(ctx, "The same again", "")
		if err != nil {
			return keyring.Passphrase{}, err
		}
		if again != text {
			return keyring.Passphrase{}, fault.New(fault.Usage, "not-the-same", "read passphrase", "the two are not the same")
		}
	}
	p := keyring.NewPassphrase(text)
	if l.workFactor != 0 {
		p = p.WithWorkFactor(l.workFactor)
	}
	return p, nil
}

// keygen makes an off-line key of a steward or a state.
func (a *app) keygen(c *cobra.Command, comment, out string, lock newLock) error {
	passphrase, err := lock.ask(c.Context(), a, out)
	if err != nil {
		return err
	}
	k, err := keyring.CreateOffline(out, comment, passphrase)
	if err != nil {
		return err
	}
	a.note("The private key is in %s, locked; the line to hand out is in %s.pub.", out, out)
	a.note("Keep the file and a copy off every server. Without it and its passphrase the key is lost.")
	return a.printKey(k.Public(), k.Comment())
}

// readPublic reads a file with a public key line.
func readPublic(path string) (authority.PublicKey, string, error) {
	b, err := readSmall(path, maxPublicKey)
	if err != nil {
		return authority.PublicKey{}, "", err
	}
	k, comment, err := keyring.ParsePublicText(string(b))
	if err != nil {
		return k, "", fault.Wrap(err, fault.Usage, "malformed-key", "read "+path, "the file is not the public line of a key").
			WithHint("it is the file that ends in .pub")
	}
	return k, comment, nil
}
