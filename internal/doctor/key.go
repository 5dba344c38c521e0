package doctor

import (
	"context"

	"github.com/enlace-network/enlace/internal/fault"
)

const unlockKey = "unlock-key"

// CheckKeyFile looks at the key file and at what unlocks it. Open opens it anew, as the next start will; it reports whether the
// unlock key lies beside the data. Asked is set where a person types the passphrase and nobody is there: then it is not
// opened.
func CheckKeyFile(asked bool, open func() (beside bool, err error)) Check {
	return Check{Component: unlockKey, Look: func(_ context.Context, tell func(Finding)) {
		if asked {
			tell(Finding{unlockKey, "", OK, "asked", "a person types the passphrase at each start; it was not tried now", "", nil})
			return
		}
		beside, err := open()
		switch {
		case err != nil:
			tell(Finding{unlockKey, "", Failing, "does-not-open", "the keyring does not open: " + fault.As(err).Say,
				hintOr(err, "bring the unlock key back to where keyring.file.unlock of node.yaml says; without it the node does not start again"), nil})
		case beside:
			tell(Finding{unlockKey, "", Failing, "beside-data", "the unlock key lies on the disk it protects: whoever takes the disk can open it",
				"keep it off the data disk: another device, systemd credentials or a passphrase; see the keyring section of node.yaml", nil})
		default:
			tell(Finding{unlockKey, "", OK, "opens", "it opens the keyring, and lies apart from the data", "", nil})
		}
	}}
}

// hintOr is the hint of an error, or other where it has none.
func hintOr(err error, other string) string {
	if hint := fault.As(err).Hint; hint != "" {
		return hint
	}
	return other
}
