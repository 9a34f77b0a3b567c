package main

import (
	"time"

	"github.com/tandem-hybrid/tandem/internal/demo"
)

type demoCmd struct {
	Orders    string        `placeholder:"FILE" help:"Invoices to place as orders (default: a sample that ships with the shop)."`
	Once      bool          `help:"Place every invoice, wait until all orders have ended, compare the books and exit."`
	Repeat    int           `default:"1" placeholder:"N" help:"With --once, place each invoice N times."`
	Customers int           `placeholder:"N" help:"Customers that order at the same time (default: 2, with --once 8)."`
	Pause     time.Duration `default:"1s" help:"Wait of a customer between orders, without --once."`
	Seed      uint64        `default:"25" help:"Picks what is scarce and which payments are declined."`
	Data      string        `placeholder:"DIR" help:"Keep data and log files here (default: a temporary directory, removed at the end)."`
	Public    string        `placeholder:"ADDR" help:"Public listener (default: ${public} if it is free)."`
	API       string        `name:"api" placeholder:"ADDR" help:"API listener (default: ${api} if it is free)."`
	output
}

func (c *demoCmd) Help() string {
	return `Starts a shop of five services and Tandem in the middle, and lets customers order; Ctrl-C ends it and leaves nothing behind. With --once the exit status is 0 only if every order ended and all books agree.

Examples:
  tandem demo
  tandem demo --once
  tandem demo --once --orders orders.csv --repeat 3 --json`
}

func (c *demoCmd) Run(a *app) error {
	o := demo.Options{Data: c.Data, Orders: c.Orders, Once: c.Once, Repeat: c.Repeat, Customers: c.Customers, Pause: c.Pause, Seed: c.Seed,
		Public: c.Public, API: c.API, Out: a.stdout}
	if c.JSON {
		o.Out = a.stderr // stdout is for the summary
	}
	if f, ok := terminal(a.stderr); ok {
		o.Bar = f
	}
	sum, err := demo.Run(a.ctx, o)
	if sum.Orders > 0 {
		if c.JSON {
			if err := a.printJSON(sum); err != nil {
				return err
			}
		} else {
			a.printf("%s\n", sum)
		}
	}
	return err
}

type demoServiceCmd struct {
	Name string `arg:"" help:"Child to be."`
}

func (c *demoServiceCmd) Run(a *app) error { return demo.Child(a.ctx, c.Name) }
