package benchstream

import (
	"errors"
	"fmt"
	"time"
)

const roleClients = "clients"

// Options say what a load of clients is. Addr, Path and N are required.
type Options struct {
	Addr      string // host:port on loopback
	Path      string // with a query, if any
	N         int    // connections
	WebSocket bool   // instead of server-sent events
	Protocol  string // of WebSocket; empty means tandem.v1.json

	// Verify checks that the events of each client are numbered from First without a gap. Latency measures how long after
	// the time in its data an event came. Without either the load only counts, which costs least.
	Verify  bool
	First   uint64
	Latency bool

	// Slow clients are the last of the N. Each reads SlowBytes a second through a receive buffer of 4 KiB, until Hurry.
	Slow      int
	SlowBytes int

	// Resume connects again, behind the last event, when a connection ends, after the time that the server advised. Without it
	// the end of a connection is an error.
	Resume bool
}

// Report is what a load of clients has seen since it started.
type Report struct {
	Open   int    // connections now
	Events uint64 // of all clients together, repeats counted
	Bytes  uint64 // with everything around the events
	Least  uint64 // events of the client that has fewest; with Verify, the number that it waits for

	// With Verify: of all clients together.
	Missing  uint64
	Repeated uint64

	Gaps    uint64 // messages that tell of a gap
	Ended   uint64 // connections that were lost or that the server ended
	Advised uint64 // of those, where the server said when to come back
	Refused uint64 // attempts that were answered 429 or 503
	Failed  uint64 // attempts without an answer
	Again   []int  // milliseconds from the first end of a connection to each client's next attempt; of Clients.Report alone

	P50, P99, Max time.Duration // with Latency, since Reset
	Samples       uint64

	Wall  time.Duration // since the process started
	Usage Usage         // of the process; of Clients.Report alone

	Err         string // why what was asked for did not come about
	Unsupported bool   // the server answered 501
}

// ErrUnsupported says that the server answered 501.
var ErrUnsupported = errors.New("the server answers 501 to a WebSocket")

// Clients is a load of clients in a process of its own. Not safe for concurrent use.
type Clients struct {
	child *Child
}

// ask is a command to the process of clients.
type ask struct {
	Do   string // open, await, report, reset, hurry
	N    uint64 `json:",omitempty"`
	All  bool   `json:",omitempty"`
	Wait time.Duration
}

// connectWait is how long all clients have to connect.
const connectWait = time.Minute

// Connect starts a process and returns when all clients are connected. Error: ErrUnsupported.
func Connect(opts Options) (*Clients, error) {
	c := &Clients{}
	var err error
	if c.child, err = Start(roleClients, opts, new(Report)); err != nil {
		return nil, err
	}
	if _, err := c.ask(ask{Do: "open", Wait: connectWait}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Opened waits until all clients are connected, which they may have stopped to be with Resume.
func (c *Clients) Opened(wait time.Duration) (Report, error) {
	return c.ask(ask{Do: "open", Wait: wait})
}

// Await waits until every client that is not slow has had n events; with Verify, the event before number n.
func (c *Clients) Await(n uint64, wait time.Duration) (Report, error) {
	return c.ask(ask{Do: "await", N: n, Wait: wait})
}

// AwaitAll is Await for the slow as well.
func (c *Clients) AwaitAll(n uint64, wait time.Duration) (Report, error) {
	return c.ask(ask{Do: "await", N: n, All: true, Wait: wait})
}

// Expect begins an Await before fn is called, and so leaves the command out of the time that fn and the wait take.
func (c *Clients) Expect(n uint64, wait time.Duration, fn func() error) error {
	if err := c.child.tell(ask{Do: "await", N: n, Wait: wait}); err != nil {
		return err
	}
	err := fn()
	_, late := c.reply()
	return errors.Join(err, late)
}

// Hurry lets slow clients read as fast as they can.
func (c *Clients) Hurry() error { _, err := c.ask(ask{Do: "hurry"}); return err }

// Reset forgets the latencies so far.
func (c *Clients) Reset() error { _, err := c.ask(ask{Do: "reset"}); return err }

// Report tells what there is to tell now.
func (c *Clients) Report() (Report, error) { return c.ask(ask{Do: "report"}) }

// Close disconnects all clients and ends the process.
func (c *Clients) Close() error { return c.child.Close() }

func (c *Clients) ask(a ask) (Report, error) {
	if err := c.child.tell(a); err != nil {
		return Report{}, err
	}
	return c.reply()
}

func (c *Clients) reply() (Report, error) {
	var r Report
	if err := c.child.answer(&r); err != nil {
		return r, err
	}
	if r.Unsupported {
		return r, ErrUnsupported
	}
	if r.Err != "" {
		return r, fmt.Errorf("the clients: %s", r.Err)
	}
	return r, nil
}
