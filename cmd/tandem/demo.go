package main

import (
	"time"

	"github.com/tandem-hybrid/tandem/internal/demo"
)

// demoCmd is the examples that can be started.
type demoCmd struct {
	Shop  demoShopCmd  `cmd:"" default:"withargs" help:"Five services and customers who order (the default)."`
	Fleet demoFleetCmd `cmd:"" help:"Vehicles that send their positions, and a live map."`
}

func (c *demoCmd) Help() string {
	return `Starts an example with Tandem in the middle; Ctrl-C ends it and leaves nothing behind. With --once it ends by itself, and the exit status is 0 only if all counts agree.

Examples:
  tandem demo
  tandem demo --once
  tandem demo fleet --speed 20
  tandem demo shop --help`
}

type demoShopCmd struct {
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

func (c *demoShopCmd) Help() string {
	return `Starts a shop of five services and Tandem in the middle, and lets customers order; Ctrl-C ends it and leaves nothing behind. With --once the exit status is 0 only if every order ended and all books agree.

Examples:
  tandem demo shop
  tandem demo shop --once
  tandem demo shop --once --orders orders.csv --repeat 3 --json
  TANDEM_ENGINE=kafka://127.0.0.1:9092/demo tandem demo shop --once`
}

func (c *demoShopCmd) Run(a *app) error {
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

type demoFleetCmd struct {
	Positions string  `placeholder:"FILE" help:"Positions to send (default: they are made up)."`
	Vehicles  int     `placeholder:"N" help:"How many vehicles are made up (default: 60)."`
	Once      bool    `help:"Send every position once, compare what was stored and seen with it, and exit."`
	Speed     float64 `placeholder:"N" help:"How much faster than real time (default: 10, with --once as fast as receipts come)."`
	Data      string  `placeholder:"DIR" help:"Keep data and log files here (default: a temporary directory, removed at the end)."`
	Public    string  `placeholder:"ADDR" help:"Public listener (default: ${public} if it is free)."`
	API       string  `name:"api" placeholder:"ADDR" help:"API listener (default: ${api} if it is free)."`
	output
}

func (c *demoFleetCmd) Help() string {
	return `Starts a fleet of vehicles, each with a WebSocket over which it sends its positions, a map that shows them, and Tandem in the middle; Ctrl-C ends it and leaves nothing behind. With --once the exit status is 0 only if every position got a receipt and is stored in order, a reader saw each once, and a slow one the last of each vehicle.

Examples:
  tandem demo fleet
  tandem demo fleet --once
  tandem demo fleet --positions positions.csv --speed 20`
}

func (c *demoFleetCmd) Run(a *app) error {
	o := demo.FleetOptions{Data: c.Data, Positions: c.Positions, Vehicles: c.Vehicles, Once: c.Once, Speed: c.Speed, Public: c.Public, API: c.API, Out: a.stdout}
	if c.JSON {
		o.Out = a.stderr // stdout is for the summary
	}
	if f, ok := terminal(a.stderr); ok {
		o.Bar = f
	}
	sum, err := demo.RunFleet(a.ctx, o)
	if sum.Receipts > 0 {
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
