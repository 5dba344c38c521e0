package keyring

import "github.com/enlace-network/enlace/internal/fault"

// Setting is the part "keyring.file" of a configuration, and the folder of the data that the keys protect.
type Setting struct {
	// Path is the key file.
	Path string
	// Unlock is as [ParseUnlock] reads it.
	Unlock string
	// OnDataDisk accepts an unlock file that [CheckApart] refuses.
	OnDataDisk bool
	// Data is the folder of the data; it need not exist yet.
	Data string
}

// OpenConfigured opens the ring that a configuration names. prompt may be nil where there is nobody to ask. It reports
// whether the unlock file lies beside the data, which OnDataDisk accepts and a person should hear of. Errors as
// [ParseUnlock], [CheckApart] and [Open].
func OpenConfigured(s Setting, prompt Prompt) (*Ring, bool, error) {
	unlock, err := ParseUnlock(s.Unlock, prompt)
	if err != nil {
		return nil, false, err
	}
	beside, err := s.beside(unlock)
	if err != nil {
		return nil, false, err
	}
	ring, err := Open(s.Path, unlock)
	return ring, beside, err
}

func (s Setting) beside(unlock Unlock) (bool, error) {
	if unlock.Path() == "" {
		return false, nil
	}
	err := CheckApart(unlock.Path(), s.Data)
	if fault.CodeOf(err) == codeBeside && s.OnDataDisk {
		return true, nil
	}
	return false, err
}
