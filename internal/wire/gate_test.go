package wire

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

type fixed struct {
	net.Conn
	from string
}

func (f fixed) RemoteAddr() net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", f.from)
	if err != nil {
		panic(err)
	}
	return addr
}

func TestAddressIsASite(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.7:99": "192.0.2.7", "[::ffff:192.0.2.7]:99": "192.0.2.7", "[2001:db8:1:2:3::9]:99": "2001:db8:1:2::/64",
	} {
		if got := address(fixed{from: from}); got != want {
			t.Errorf("address(%s) = %s, want %s", from, got, want)
		}
	}
}

// Strangers from everywhere have so many places together, and give them back.
func TestPlacesOfStrangers(t *testing.T) {
	g := Bounded(nil, Limits{Strangers: 3}).(*gate)
	ctx, cancel := context.WithCancel(context.Background())
	for i, from := range strings.Fields("192.0.2.1:1 192.0.2.2:1 192.0.2.3:1 192.0.2.4:1") {
		c := g.enter(fixed{from: from}).(*guest)
		if err := c.borrow(ctx); (err != nil) != (i == 3) {
			t.Errorf("stranger %d: %v; want only the fourth refused", i+1, err)
		}
	}
	cancel()
	for range 2000 {
		time.Sleep(time.Millisecond)
		g.mu.Lock()
		left := g.strange + len(g.strangers)
		g.mu.Unlock()
		if left == 0 {
			return
		}
	}
	t.Error("places are not given back")
}
