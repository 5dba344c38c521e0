package operator

import (
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/message"
)

// TestReadDigest: an approver who names a digest approves that content and no other.
func TestReadDigest(t *testing.T) {
	if d, err := readDigest(""); err != nil || d != (message.Digest{}) {
		t.Errorf("no digest: %v, %v", d, err)
	}
	if d, err := readDigest(strings.Repeat("ab", 32)); err != nil || d[0] != 0xab {
		t.Errorf("a digest: %v, %v", d, err)
	}
	for _, bad := range []string{strings.Repeat("0", 64), "ab", strings.Repeat("AB", 32), "zz"} {
		if d, err := readDigest(bad); err == nil {
			t.Errorf("%q read as %v", bad, d)
		}
	}
}
