package demo

import (
	"io"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Options say what is run. The zero value lets customers order from the sample until the context is done.
type Options struct {
	// Data is the directory of the log, the services' databases and the log files. Empty means a temporary one, which
	// is removed at the end; one that exists is gone on with.
	Data string
	// Orders is a file of invoices in the format of examples/shop/README.md. Empty means the sample that ships with
	// the shop.
	Orders string
	// Once places every invoice Repeat times (zero means once), waits until all orders have ended, compares the books
	// and returns.
	Once   bool
	Repeat int

	// Customers is how many order at the same time. Zero means 8 with Once and 2 otherwise.
	Customers int
	// Pause is how long a customer waits between orders without Once. Zero means one second.
	Pause time.Duration
	// Seed picks the stock codes that are scarce and the payments that are declined. Zero means 25.
	Seed uint64
	// Patience is how long Once waits while nothing happens before it gives up. Zero means a minute.
	Patience time.Duration

	// Public and API are the addresses of the server; port 0 picks a free one. Empty means 127.0.0.1:8080 and
	// 127.0.0.1:8090 where these are free, and other ports where not.
	Public, API string

	// Out gets what people read while it runs. Nil discards.
	Out io.Writer
	// Bar, when set, is a terminal on which the progress of Once is drawn.
	Bar io.Writer

	// Command starts a child: the program, its arguments, and then the name of the service. Empty means this binary
	// with the argument "demo-service".
	Command []string

	// Control, when set, is called in a goroutine of its own when everything runs, to stop and kill things; Run waits
	// for it before it compares the books. ctx ends with the run.
	Control func(s *Shop) error
}

// check refuses what cannot be meant. Code: Invalid.
func (o Options) check() error {
	switch {
	case o.Repeat < 0:
		return tandem.Errorf(tandem.CodeInvalid, "%d repeats: at least one is needed", o.Repeat)
	case o.Customers < 0:
		return tandem.Errorf(tandem.CodeInvalid, "%d customers: at least one is needed", o.Customers)
	case o.Pause < 0:
		return tandem.Errorf(tandem.CodeInvalid, "a pause of %s", o.Pause)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Repeat <= 0 {
		o.Repeat = 1
	}
	if o.Customers <= 0 {
		o.Customers = 2
		if o.Once {
			o.Customers = 8
		}
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	if o.Seed == 0 {
		o.Seed = 25
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}
