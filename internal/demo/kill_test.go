package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/shop/invoices"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// rounds is how often a kill test goes through the file: a little by default, more in CI, much in the soak.
func rounds(few, ci, soak int) int {
	switch {
	case os.Getenv("TANDEM_SOAK") != "":
		return soak
	case os.Getenv("TANDEM_KILLS") != "":
		return ci
	}
	return few
}

// Kills of the server and of services: every order ends, all books agree, each order's events are stored once and in
// order, and repeats stay within promise 3.
func TestKillsLoseNothing(t *testing.T) {
	victims := []string{process.Server, "payments", "orders", "inventory", process.Server, "notifications", "accounts"}
	repeat := rounds(2, 10, 90)
	total, every := 40*repeat, 10
	kills := 0
	sum := once(t, Options{Repeat: repeat, Control: func(s *Shop) error {
		for at := every; at < total; at += every {
			if err := s.WaitPlaced(at); err != nil {
				return err
			}
			s.Kill(victims[kills%len(victims)])
			kills++
		}
		return nil
	}})
	if sum.Orders != total || sum.DeadLetters != 0 {
		t.Errorf("%d of %d orders, %d dead letters", sum.Orders, total, sum.DeadLetters)
	}
	// What can be repeated after a kill is what was in flight to the victim: the concurrency of its subscription. For the
	// server that is four of them, and the deliveries of a commit group, which are no more than the customers' orders.
	bound := int64(0)
	for i := range kills {
		switch victims[i%len(victims)] {
		case process.Server:
			bound += 4 * (tandem.DefaultConcurrency + 8)
		case "accounts": // takes no events
		default:
			bound += tandem.DefaultConcurrency
		}
	}
	t.Logf("%d kills, %d repeats, bound %d", kills, sum.Repeats, bound)
	if sum.Repeats > bound {
		t.Errorf("%d repeats after %d kills, at most %d are promised", sum.Repeats, kills, bound)
	}
}

// Payments is away: orders go on being accepted, and what waits is made up for when it is back.
func TestOutageOfPaymentsHoldsNobodyUp(t *testing.T) {
	repeat := rounds(1, 3, 20)
	total := 40 * repeat
	var with Spread
	if os.Getenv("TANDEM_SOAK") != "" { // to compare with, in the same run
		with = once(t, Options{Repeat: repeat}).Request
	}
	sum := once(t, Options{Repeat: repeat, Control: func(s *Shop) error {
		if err := s.WaitPlaced(10); err != nil {
			return err
		}
		s.Stop("payments")
		if err := s.WaitPlaced(total); err != nil {
			return err
		}
		placed, ended := s.Counts()
		t.Logf("payments down: %d orders placed, %d ended", placed, ended)
		if ended > placed-15*repeat {
			t.Errorf("%d of %d orders ended without payments", ended, placed)
		}
		s.Start("payments")
		return nil
	}})
	if sum.Ended != total || sum.Resent != 0 || sum.DeadLetters != 0 {
		t.Errorf("%d of %d ended, %d requests sent again, %d dead letters", sum.Ended, total, sum.Resent, sum.DeadLetters)
	}
	t.Logf("accepting an order: p50 %.1f ms, p99 %.1f ms without payments; %.1f and %.1f with (soak only)", sum.Request.P50, sum.Request.P99, with.P50, with.P99)
}

// Tandem is away: the shop cannot be reached, and goes on where it was when it is back.
func TestOutageOfTheServer(t *testing.T) {
	sum := once(t, Options{Control: func(s *Shop) error {
		if err := s.WaitPlaced(10); err != nil {
			return err
		}
		s.Stop(process.Server)
		s.Kill("orders") // what its outbox holds is in its database
		s.Start(process.Server)
		return nil
	}})
	if sum.Ended != 40 {
		t.Errorf("%d ended", sum.Ended)
	}
}

// A customer's page resumes by Last-Event-ID over a kill of the server: it sees each step once.
func TestResumeOfAnOrdersStream(t *testing.T) {
	o := Options{Once: true, Public: "127.0.0.1:0", API: "127.0.0.1:0"}.withDefaults()
	s, err := startShop(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	s.progress = newProgress(true)
	c := newCrowd(s.Public, 1, s.progress)
	defer c.close()
	v := &invoices.Invoice{Number: "resume", Customer: invoices.Guest, Lines: []invoices.Line{{Code: "85123A", Description: "heart", Quantity: 1, UnitPricePence: 255}}}
	if err := c.logIn(t.Context(), []*invoices.Invoice{v}); err != nil {
		t.Fatal(err)
	}
	s.Stop("payments") // so that the order stays under way
	placed, err := c.order(t.Context(), v, "resume", "resume")
	if err != nil {
		t.Fatal(err)
	}
	last, types := "", []string{}
	read := func(n int) {
		for len(types) < n {
			last = followOrder(t, c, placed.ID, last, func(typ string) bool {
				types = append(types, typ)
				return len(types) < n
			})
		}
	}
	read(2)
	s.Kill(process.Server)
	s.Start("payments")
	read(4)
	if want := strings.Fields(ways[0]); !slices.Equal(types, want) {
		t.Errorf("the page saw %v, want %v", types, want)
	}
}

// followOrder reads an order's stream from after last until each says no or the connection ends, and returns the new
// place, as a browser's EventSource keeps it.
func followOrder(t *testing.T, c *crowd, id, last string, each func(typ string) bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", c.base+"/orders/"+id+"/events?from=earliest", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.tokens[invoices.Guest])
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := c.http.Do(req)
	if err != nil {
		time.Sleep(50 * time.Millisecond) // a browser waits, too, before it connects again
		return last
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		if res.StatusCode < 500 {
			t.Fatalf("the stream: %s", res.Status)
		}
		return last
	}
	id, data, named := "", "", false
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "data":
			data += value
		case "event":
			named = true
		case "":
			if lines.Text() != "" { // a comment
				continue
			}
			if id != "" {
				last = id
			}
			if data != "" && !named {
				var e struct{ Type string }
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatal(fmt.Errorf("%w in %s", err, data))
				}
				if !each(e.Type) {
					return last
				}
			}
			data, named = "", false
		}
	}
	return last
}
