package benchstream

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// load is the state of all clients of a process. It does no input or output of its own: a loop, which depends on the system,
// does, and calls it from one goroutine at a time.
type load struct {
	opts  Options
	out   *json.Encoder
	conns []*conn
	begin time.Time

	now      int64 // Monotonic when the bytes that are being read came
	lateness Histogram
	r        Report // without what report and full fill in
	again    []int  // Report.Again
	firstEnd int64  // Monotonic, zero as long as no connection has ended
	hurried  bool
	keep     *[]byte // gets a copy of the next message that is an event, as it was on the wire

	asked    *ask // a command whose answer waits
	behind   int  // clients that asked.N is not reached by
	deadline int64
}

func newLoad(opts Options, out *json.Encoder) *load {
	if opts.Protocol == "" {
		opts.Protocol = "tandem.v1.json"
	}
	l := &load{opts: opts, out: out, begin: time.Now(), conns: make([]*conn, opts.N)}
	for i := range l.conns {
		l.conns[i] = &conn{l: l, fd: -1, slow: i >= opts.N-opts.Slow, due: 1, retry: time.Second}
		if opts.Verify {
			l.conns[i].next = opts.First
		}
	}
	return l
}

// runClients is the role of a process of clients.
func runClients(options []byte, in io.Reader, out *json.Encoder) error {
	var opts Options
	if err := json.Unmarshal(options, &opts); err != nil {
		return err
	}
	if have, want := Files(opts.N+100), opts.N+100; have < want {
		return fmt.Errorf("%d clients need %d open files, and the limit is %d", opts.N, want, have)
	}
	l := newLoad(opts, out)
	if err := out.Encode(Report{}); err != nil {
		return err
	}
	return l.loop(in)
}

// command takes one line of input.
func (l *load) command(line []byte) error {
	a := &ask{}
	if err := json.Unmarshal(line, a); err != nil {
		return err
	}
	switch a.Do {
	case "reset":
		l.lateness = Histogram{}
	case "hurry":
		l.hurried = true
	case "open", "await":
		l.asked, l.deadline, l.behind = a, Monotonic()+int64(a.Wait), 0
		for _, c := range l.conns {
			if (a.All || !c.slow) && c.next < a.N {
				l.behind++
			}
		}
		l.settle()
		return nil
	}
	return l.out.Encode(l.full())
}

// settle answers the command that waits, if it can be.
func (l *load) settle() {
	if l.asked == nil {
		return
	}
	done := l.behind == 0
	if l.asked.Do == "open" {
		done = l.r.Open == len(l.conns)
	}
	late := !done && Monotonic() >= l.deadline
	if !done && !late && l.r.Err == "" {
		return
	}
	r := l.report()
	if late && r.Err == "" {
		r.Err = fmt.Sprintf("after %s %d of %d are connected, %d are behind %d, the least at %d, %d events missing",
			l.asked.Wait, r.Open, len(l.conns), l.behind, l.asked.N, r.Least, r.Missing)
	}
	l.asked = nil
	_ = l.out.Encode(r) // a parent that is gone ends the input as well
}

// full is all there is to report.
func (l *load) full() Report {
	r := l.report()
	r.Again, r.Usage = l.again, Self(false)
	return r
}

// report costs little.
func (l *load) report() Report {
	r := l.r
	r.P50, r.P99, r.Max, r.Samples = l.lateness.Quantile(.5), l.lateness.Quantile(.99), l.lateness.Max(), l.lateness.Count()
	r.Wall = time.Since(l.begin)
	for i, c := range l.conns {
		if i == 0 || c.next < r.Least {
			r.Least = c.next
		}
	}
	return r
}

// fail ends what is waited for. The first reason is kept.
func (l *load) fail(format string, args ...any) {
	if l.r.Err == "" {
		l.r.Err = fmt.Sprintf(format, args...)
	}
}

// timed reports whether the loop must come back on its own.
func (l *load) timed() bool {
	return l.asked != nil || l.r.Open < len(l.conns) || (l.opts.Slow > 0 && !l.hurried)
}

// event counts an event of c that came with cursor.
func (l *load) event(c *conn, data, cursor []byte) {
	l.r.Events++
	before := c.next
	c.next++
	if l.opts.Verify {
		n, ok := number(data, seqName, seqDigits)
		if !ok {
			l.fail("an event without a number: %.300q", data)
		}
		switch seq := uint64(n - seqBase); {
		case seq > before:
			l.r.Missing += seq - before
			c.next = seq + 1
		case seq < before:
			l.r.Repeated++
			c.next = before
		}
	}
	if l.opts.Latency {
		if at, ok := number(data, atName, atDigits); ok {
			l.lateness.Add(time.Duration(l.now - (at - atBase)))
		}
	}
	if l.opts.Resume && len(cursor) > 0 {
		c.cursor = append(c.cursor[:0], cursor...)
	}
	if a := l.asked; a != nil && (a.All || !c.slow) && before < a.N && c.next >= a.N {
		l.behind--
	}
}

// opened is called when a client has its answer.
func (l *load) opened(c *conn) {
	l.r.Open++
	c.stage = reading
	c.told = false
}

// lost is called when an attempt failed or a connection ended, and sets when the client tries again.
func (l *load) lost(c *conn, err error) {
	was := c.stage
	c.stage, c.part, c.chunks = idle, nil, nil
	switch {
	case was == reading:
		l.r.Open--
		l.r.Ended++
		if !l.opts.Resume {
			l.fail("a connection ended: %v", err)
		}
		if l.firstEnd == 0 {
			l.firstEnd = Monotonic()
		}
		c.ended = true
		if c.told {
			l.r.Advised++
		} else {
			c.retry = spread(c.retry)
		}
	case c.refused:
		l.r.Refused++
	default:
		l.r.Failed++
		c.retry = spread(200 * time.Millisecond)
		if !l.opts.Resume {
			l.fail("connecting to %s: %v", l.opts.Addr, err)
		}
	}
	c.refused = false
	c.due = Monotonic() + int64(c.retry)
}

// trying is called before each attempt.
func (l *load) trying(c *conn) {
	c.due = 0
	if c.ended {
		l.again = append(l.again, int((Monotonic()-l.firstEnd)/1e6))
	}
	c.ended = false
}

func spread(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }
