package keyring

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
)

// CheckApart refuses an unlock file that a thief of the data disk would get along with the data: one that lies under
// the data folder or on the same device (kind Usage, code "unlock-beside-data"). The data folder need not exist yet.
// Whoever accepts that says so with the flag --unlock-on-data-disk, and the caller then does not ask.
func CheckApart(unlockPath, dataDir string) error {
	unlock, err := existing(unlockPath)
	if err != nil {
		return err
	}
	data, err := existing(dataDir)
	if err != nil {
		return err
	}
	inside := unlock.path == data.path || strings.HasPrefix(unlock.path, strings.TrimSuffix(data.path, "/")+string(filepath.Separator))
	if data.whole && inside {
		return beside("the unlock file lies in the folder of the data it protects")
	}
	if device(unlock.info) == device(data.info) {
		return beside("the unlock file lies on the same disk as the data it protects")
	}
	return nil
}

// place is the nearest existing ancestor of a path, links resolved.
type place struct {
	path string
	info os.FileInfo
	// whole is set when the path itself exists.
	whole bool
}

func existing(path string) (place, error) {
	p, err := filepath.Abs(path)
	if err != nil {
		return place{}, fileError(err, "look at folder")
	}
	for at, whole := p, true; ; at, whole = filepath.Dir(at), false {
		resolved, err := filepath.EvalSymlinks(at)
		if err == nil {
			info, err := os.Stat(resolved)
			if err != nil {
				return place{}, fileError(err, "look at folder")
			}
			return place{resolved, info, whole}, nil
		}
		if !os.IsNotExist(err) || at == filepath.Dir(at) {
			return place{}, fileError(err, "look at folder")
		}
	}
}

const codeBeside = "unlock-beside-data"

func beside(say string) error {
	return fault.New(fault.Usage, codeBeside, "check unlock file", say).
		WithHint("keep it on another device, or use systemd:NAME or prompt; --unlock-on-data-disk accepts the risk")
}
