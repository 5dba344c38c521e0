package sqlite

import (
	"testing"

	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/ledgertest"
)

func TestLedger(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T, dir string) ledger.Ledger { return openAt(t, testConfig(t, dir)) })
}
