package doctor

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	daemon        = "daemon"
	configuration = "configuration"
)

// Configuration is the finding on a configuration that was read.
func Configuration(path string, err error) Finding {
	if err != nil {
		return Finding{configuration, "", Failing, or(fault.CodeOf(err), "not-read"), fault.As(err).Say, hintOr(err, "correct the file; the daemon does not start with it as it is"), nil}
	}
	return Finding{configuration, "", OK, "read", "it can be read, and every value is one this version knows: " + path, "", nil}
}

// CheckDaemon looks at the operator door of a daemon: dial connects to it, and hangs up.
func CheckDaemon(addr string, dial func(ctx context.Context) error) Check {
	return Check{Component: daemon, Look: func(ctx context.Context, tell func(Finding)) {
		if err := dial(ctx); err != nil {
			tell(Finding{daemon, "", Failing, "no-answer", "the daemon does not answer at " + addr + "; what follows was read from its files",
				"start it (systemctl start enlace-node), or see in its log why it ended (journalctl -u enlace-node)", nil})
			return
		}
		tell(Finding{daemon, "", Unknown, "not-asked", "something answers at " + addr + ", and was not asked; what follows was read from files",
			"log in as an administrator (enlace login) and run enlace doctor again: only the daemon can look at peers and queues", nil})
	}}
}

// CheckCA looks at the newest of a node's own CA certificates, DER.
func CheckCA(own func() [][]byte, now func() time.Time) Check {
	return Check{Component: certificate, Look: func(_ context.Context, tell func(Finding)) {
		var newest *x509.Certificate
		for _, der := range own() {
			if ca, err := x509.ParseCertificate(der); err == nil && (newest == nil || ca.NotAfter.After(newest.NotAfter)) {
				newest = ca
			}
		}
		if newest == nil {
			tell(Finding{certificate, "own", Failing, "no-certificate", "the keyring has no CA: the node cannot make itself a certificate", "restore the keyring from the newest backup", nil})
			return
		}
		tell(Certificates{Name: "own", Clock: now}.ca(newest))
	}}
}

// Resting opens a ledger to be read. Conflict "in-use" where a process has it open.
type Resting func(ctx context.Context) (Books, func() error, error)

// CheckResting looks at the ledger of a node that is stopped, at its evidence log, and at whether it is stopped.
func CheckResting(open Resting) Check {
	return Check{Component: ledgerName, Within: 2 * booksWithin, Look: func(ctx context.Context, tell func(Finding)) {
		books, shut, err := open(ctx)
		if err != nil {
			tell(notOpened(err))
			return
		}
		defer func() { _ = shut() }() // it was only read
		tell(Finding{ledgerName, "", OK, "free", "it opens, and no process has it open", "", nil})
		CheckLedger(books).Look(ctx, tell)
		CheckEvidence(books).Look(ctx, tell)
	}}
}

func notOpened(err error) Finding {
	switch fault.CodeOf(err) {
	case "in-use":
		return Finding{ledgerName, "", Warning, "held", "a process has it open: the daemon runs, or is starting or ending, and does not answer",
			"wait half a minute and run enlace doctor again; if it goes on, see its log (journalctl -u enlace-node) and restart it", nil}
	case "torn", "older":
		return Finding{ledgerName, "", Warning, fault.CodeOf(err), fault.As(err).Say, "start the daemon", nil}
	case "no-ledger":
		return Finding{ledgerName, "", Failing, "no-ledger", fault.As(err).Say, "see whether the data disk is mounted; a node that has worked has a ledger: restore it from the newest backup (enlace node restore)", nil}
	case "locked":
		return Finding{ledgerName, "", Unknown, "locked", fault.As(err).Say, hintOr(err, "see what is found about the unlock key"), nil}
	}
	return booksFault(ledgerName, err)
}

// CheckActive looks at a ledger on a server, which stays there when the daemon stops: who is active on it.
func CheckActive(ask func(ctx context.Context) (string, error)) Check {
	return Check{Component: ledgerName, Look: func(ctx context.Context, tell func(Finding)) {
		holder, err := ask(ctx)
		switch {
		case err != nil:
			tell(booksFault(ledgerName, err))
		case holder != "":
			tell(Finding{ledgerName, "", Warning, "held", "the database answers, and a process is active on it: " + holder, "see whether that process is the one that was asked for, and its log", nil})
		default:
			tell(Finding{ledgerName, "", OK, "free", "the database answers, is set up safely, and no process is active on it", "", nil})
		}
	}}
}
