package sqlite

import (
	"testing"

	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/records"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/people/peopletest"
)

func TestPeople(t *testing.T) {
	peopletest.Run(t, func(t *testing.T, dir string) peopletest.Fixture {
		l := openAt(t, testConfig(t, dir))
		return peopletest.Fixture{Store: l.People(), Close: l.Close, Events: func() ([]people.Event, error) { return peopleEvents(t, l) }}
	})
}

// peopleEvents reads back what room people has appended.
func peopleEvents(t *testing.T, l *Ledger) ([]people.Event, error) {
	var out []people.Event
	err := l.View(t.Context(), func(r ledger.Reader) error {
		events, err := r.Events(1, 0)
		for _, e := range events {
			p, err := records.ParsePeople(e)
			if err != nil {
				return err
			}
			out = append(out, p)
		}
		return err
	})
	return out, err
}
